"""The licences of everything that a binary has in it, in one text file: what each package ships, equal texts once."""

import re

NAMES = re.compile(r"(licen[sc]e|copying|copyright|notice|unlicense)", re.IGNORECASE)
# By name a licence, and code by its ending.
CODE = {".c", ".h", ".json", ".py", ".rs", ".sh", ".toml"}


class Missing(Exception):
    pass


def texts(package):
    """Of a package's own sources and of those it carries, like zstd in zstd-sys. Sorted by path."""
    named = (path for path in sorted(package.directory.rglob("*")) if NAMES.match(path.name) and path.suffix not in CODE)
    files = [path for path in named if path.is_file()]
    if not files:
        raise Missing(f"{package.name} {package.version} ({package.license}) ships no licence text")
    return [path.read_text(encoding="utf-8", errors="replace").strip() for path in files]


def document(version, packages, others):
    """`others`: (name, text) of what no package of cargo is."""
    used_by = {}
    for package in packages:
        if package.linked and not package.ours and package.directory:
            for text in texts(package):
                used_by.setdefault(text, []).append(f"{package.name} {package.version}")
    for name, text in others:
        used_by.setdefault(text.strip(), []).append(name)
    listed = [f"  {package.name} {package.version}: {package.license}" for package in packages if package.linked and not package.ours]
    parts = ["\n".join([f"What sandbox-executor {version} has in it, and under which licence:", "", *listed])]
    for text, users in used_by.items():
        parts.append("\n".join([f"Of {', '.join(dict.fromkeys(users))}:", "", text]))
    return f"\n\n{'=' * 80}\n\n".join(parts) + "\n"
