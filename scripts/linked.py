"""What went into a binary: the packages that the compiler was given for it, and what it links besides them.

Asked of the build itself, not of the manifests: those know every optional and every test dependency of the workspace.
"""

import json
import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    # An SPDX expression.
    license: str
    # `cargo`, or `generic` for what comes with the toolchain.
    kind: str
    # Where its sources lie; None for what comes with the toolchain.
    directory: Path | None
    checksum: str | None
    # In the binary; otherwise it ran on the machine that built it.
    linked: bool
    # One of the project's own.
    ours: bool
    dependencies: tuple = ()

    @property
    def purl(self):
        return f"pkg:{self.kind}/{self.name}@{self.version}"


def packages(messages, metadata, lock, triple):
    """Of `cargo build --message-format=json`, of `cargo metadata`, of Cargo.lock. Sorted by name."""
    linked, compiled = set(), set()
    for message in messages:
        if message.get("reason") != "compiler-artifact":
            continue
        compiled.add(message["package_id"])
        # With --target, what is for the target lies apart from what runs while building.
        if any(f"/{triple}/" in name for name in message["filenames"]):
            linked.add(message["package_id"])
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in tomllib.loads(lock)["package"]}
    described = {package["id"]: package for package in metadata["packages"]}
    purls = {id: f"pkg:cargo/{package['name']}@{package['version']}" for id, package in described.items()}
    edges = {node["id"]: node["dependencies"] for node in metadata["resolve"]["nodes"]}
    found = []
    for id in compiled:
        package = described[id]
        found.append(Package(
            name=package["name"],
            version=package["version"],
            # Older manifests write "MIT/Apache-2.0".
            license=(package["license"] or "").replace("/", " OR "),
            kind="cargo",
            directory=Path(package["manifest_path"]).parent,
            checksum=checksums.get((package["name"], package["version"])),
            linked=id in linked,
            ours=package["source"] is None,
            dependencies=tuple(sorted(purls[other] for other in edges[id] if other in compiled)),
        ))
    return sorted(found, key=lambda package: (package.name, package.version))


def of_the_toolchain(triple):
    """Rust's standard library, and the C library and the unwinder that come with it for this target."""
    def ask(*arguments):
        return subprocess.run(["rustc", *arguments], check=True, capture_output=True, text=True).stdout

    version = ask("-vV")
    rust, llvm = (re.search(rf"^{name}: (\S+)$", version, re.MULTILINE)[1] for name in ("release", "LLVM version"))
    libc = Path(ask("--print", "target-libdir", "--target", triple).strip()) / "self-contained" / "libc.a"
    musl = set(re.findall(rb"\0(\d+\.\d+\.\d+)\0", libc.read_bytes()))
    if len(musl) != 1:
        raise SystemExit(f"release: which musl is in {libc} cannot be told: {sorted(musl)}")

    def part(name, version, license):
        return Package(name, version, license, "generic", None, None, linked=True, ours=False)

    return [
        part("rust-std", rust, "MIT OR Apache-2.0"),
        part("musl", musl.pop().decode(), "MIT"),
        part("llvm-libunwind", llvm, "Apache-2.0 WITH LLVM-exception"),
    ]


def metadata(triple):
    command = ["cargo", "metadata", "--format-version=1", "--locked", f"--filter-platform={triple}"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
