"""scripts/release: a binary that is linked in any other way is noticed, and the papers say what is in it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import elf
import licenses
import linked
import sbom

TRIPLE = "x86_64-unknown-linux-musl"
GOOD = ["-static-pie", "-fPIE", "-Wl,-z,relro,-z,now", "-s"]
RELRO = elf.Segment(elf.GNU_RELRO, 4, 0x1000, 0x2100, 0x1F00, 0x1F00)
PROGRAM = elf.Program(elf.DYN, elf.X86_64, [elf.Segment(elf.LOAD, 4, 0, 0, 0x1000, 0x1000), RELRO])
PROTECTED = """\
7f0000000000-7f0000001000 r--p 00000000 fe:00 1    /a/program
7f0000002000-7f0000004000 r--p 00001000 fe:00 1    /a/program
7f0000004000-7f0000005000 rw-p 00003000 fe:00 1    /a/program
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0    [stack]
"""


class Linking(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        reason = None if shutil.which("cc") and os.uname().machine == "x86_64" else "it takes cc and an x86_64 machine"
        if reason and os.environ.get("EXECUTOR_TESTS_MUST_RUN") == "1":
            raise AssertionError(f"not run: {reason}")
        if reason:
            print(f"not run: {reason}", flush=True)
            raise unittest.SkipTest(reason)

    def problems(self, *flags):
        with tempfile.TemporaryDirectory() as directory:
            program = Path(directory) / "program"
            subprocess.run(["cc", *flags, "-x", "c", "-", "-o", program], input="int main(void) { return 0; }", text=True, check=True,
                           stderr=subprocess.DEVNULL)
            return elf.problems(elf.read(program.read_bytes()))

    def test_what_is_linked_as_a_release_has_no_problem(self):
        self.assertEqual(self.problems(*GOOD), [])

    def test_each_protection_that_is_left_out_is_named(self):
        for flags, words in {
            ("-static", "-no-pie", "-Wl,-z,relro,-z,now", "-s"): "position independent",
            ("-pie", "-fPIE", "-Wl,-z,relro,-z,now", "-s"): "shared libraries",
            (*GOOD, "-Wl,-z,norelro"): "PT_GNU_RELRO",
            (*GOOD, "-Wl,-z,lazy"): "BIND_NOW",
            (*GOOD, "-Wl,-z,execstack"): "stack is executable",
            (*GOOD, "-Wl,-rpath,/opt/lib"): "RPATH",
            (*GOOD[:-1],): "not stripped",
        }.items():
            with self.subTest(words=words):
                self.assertTrue(any(words in problem for problem in self.problems(*flags)), flags)

    def test_what_is_no_program_is_no_program(self):
        for data in (b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(100)):
            self.assertRaises(elf.NotElf, elf.read, data)


class Running(unittest.TestCase):
    def test_pages_that_were_made_read_only_are_protected(self):
        self.assertEqual(elf.unprotected(PROGRAM, PROTECTED, "/a/program"), [])

    def test_one_that_stayed_writable_is_told(self):
        writable = PROTECTED.replace("7f0000002000-7f0000004000 r--p", "7f0000002000-7f0000004000 rw-p")
        self.assertEqual(len(elf.unprotected(PROGRAM, writable, "/a/program")), 1)


class Papers(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.write("library/LICENSE-MIT", "MIT, of library\n")
        self.write("library/src/license.rs", "// no licence\n")
        self.write("library/carried/COPYING", "zlib, of what it carries\n")
        lock = "".join(f'[[package]]\nname = "{name}"\nversion = "1.0.0"\nchecksum = "{name[0] * 64}"\n' for name in ("library", "macro", "unused"))
        self.packages = linked.packages(self.messages(), self.metadata(), f'[[package]]\nname = "executor"\nversion = "0.1.0"\n{lock}', TRIPLE)

    def write(self, name, text):
        path = Path(self.directory.name) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    @staticmethod
    def messages():
        def artifact(name, *files):
            return {"reason": "compiler-artifact", "package_id": name, "filenames": list(files)}

        return [
            artifact("executor", f"/t/{TRIPLE}/release/sandbox-executor"),
            artifact("library", "/t/release/deps/liblibrary-1.rlib"),
            artifact("library", f"/t/{TRIPLE}/release/deps/liblibrary-2.rlib"),
            artifact("macro", "/t/release/deps/libmacro.so"),
            {"reason": "build-script-executed", "package_id": "unused"},
        ]

    def metadata(self):
        def package(name, version, license, source):
            return {"id": name, "name": name, "version": version, "license": license, "source": source,
                    "manifest_path": f"{self.directory.name}/{name}/Cargo.toml"}

        return {
            "packages": [
                package("executor", "0.1.0", "Apache-2.0", None),
                package("library", "1.0.0", "MIT/Zlib", "registry"),
                package("macro", "1.0.0", "MIT", "registry"),
                package("unused", "1.0.0", "GPL-3.0", "registry"),
            ],
            "resolve": {"nodes": [
                {"id": "executor", "dependencies": ["library", "macro", "unused"]},
                {"id": "library", "dependencies": ["macro"]},
                {"id": "macro", "dependencies": []},
            ]},
        }

    def test_only_what_was_compiled_is_listed_and_what_only_built_it_is_told_apart(self):
        self.assertEqual([(package.name, package.linked) for package in self.packages],
                         [("executor", True), ("library", True), ("macro", False)])

    def test_the_bill_of_materials_names_version_licence_and_checksum(self):
        bill = json.loads(sbom.document("0.1.0", "ab", "2026-01-01T00:00:00Z", self.packages))
        components = {component["name"]: component for component in bill["components"]}
        self.assertEqual(components["library"]["purl"], "pkg:cargo/library@1.0.0")
        self.assertEqual(components["library"]["licenses"], [{"expression": "MIT OR Zlib"}])
        self.assertEqual(components["library"]["hashes"], [{"alg": "SHA-256", "content": "l" * 64}])
        self.assertEqual((components["library"]["scope"], components["macro"]["scope"]), ("required", "excluded"))
        depends = {entry["ref"]: entry["dependsOn"] for entry in bill["dependencies"]}
        self.assertEqual(depends["pkg:cargo/executor@0.1.0"], ["pkg:cargo/library@1.0.0", "pkg:cargo/macro@1.0.0"])
        self.assertEqual(depends["pkg:generic/sandbox-executor@0.1.0"], ["pkg:cargo/executor@0.1.0"])
        known = {bill["metadata"]["component"]["bom-ref"], *(component["bom-ref"] for component in bill["components"])}
        self.assertLessEqual({ref for refs in depends.values() for ref in refs}, known)

    def test_the_same_input_gives_the_same_bytes(self):
        first, second = (sbom.document("0.1.0", "ab", "2026-01-01T00:00:00Z", self.packages) for _ in range(2))
        self.assertEqual(first, second)

    def test_the_licences_are_those_of_what_is_linked_and_of_what_it_carries(self):
        text = licenses.document("0.1.0", self.packages, [("musl", "MIT, of musl")])
        for part in ("library 1.0.0: MIT OR Zlib", "Of library 1.0.0:\n\nMIT, of library", "zlib, of what it carries", "Of musl:\n\nMIT, of musl"):
            self.assertIn(part, text)
        for part in ("no licence", "macro", "GPL"):
            self.assertNotIn(part, text)

    def test_a_package_without_a_licence_text_is_an_error(self):
        (Path(self.directory.name) / "library/LICENSE-MIT").unlink()
        (Path(self.directory.name) / "library/carried/COPYING").unlink()
        self.assertRaisesRegex(licenses.Missing, "library 1.0.0", licenses.document, "0.1.0", self.packages, [])


if __name__ == "__main__":
    unittest.main()
