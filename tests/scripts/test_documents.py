"""What the pages name is there: settings, endpoints, metrics, log events, error codes, commands, targets of make, files, types, headings.

Four pages are tables of the code, and unit tests hold them to it in both directions (`TABLES`). Here the other pages are held to those
tables, to openapi/, to the Makefile and to the tree, so that a page cannot speak of what was renamed or never built. Whether a
sentence is true is for those who read it, and for the tests that a page names. Standard library only.
"""

import re
import subprocess
import unittest
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

# The page → the test that compares it with the code, row by row.
TABLES = {
    "configuration.md": "executor/src/config/tests.rs",
    "errors.md": "executor/src/http/problem_tests.rs",
    "log-events.md": "executor/src/telemetry/events.rs",
    "metrics.md": "executor/src/telemetry/metrics/tests.rs",
    "seccomp.md": "crates/sandbox/src/seccomp/tests/document.rs",
}
# Told in words, and compared here. The cases of isolation.md are compared by scripts/escape, the runbooks of operations.md tried by
# tests/runbooks, the flags and findings of deployment.md by tests/container.
PROSE = ["operations.md", "architecture.md", "isolation.md", "deployment.md", "performance.md"]

# Words of the kernel, of containers and of other programs, as the pages write them. Nothing of ours is here.
FOREIGN_CAPITALS = re.compile(r"(RLIMIT|CLONE|CAP|SYS)_\w+|(DAC_OVERRIDE)")
FOREIGN_WORDS = {"oom_score_adj", "io_uring", "security_opt"}


def text(path):
    return (ROOT / path).read_text()


def pages():
    """Everything that somebody reads: what was decided once is not held to what is now called otherwise."""
    found = [*ROOT.glob("*.md"), *DOCS.glob("*.md"), ROOT / "fuzz" / "README.md"]
    return sorted(page for page in found if page.name != "CHANGELOG.md")


def fences(page):
    return re.findall(r"^[ ]*```(\w*)\n(.*?)^[ ]*```$", page.read_text(), re.M | re.S)


def without_fences(page):
    return re.sub(r"^[ ]*```.*?^[ ]*```$", "", page.read_text(), flags=re.M | re.S)


def code(page):
    """What is written as code in a sentence, in one line or two."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", without_fences(page))]


def everything(page):
    return code(page) + [block for _, block in fences(page)]


def first_cells(page):
    return set(re.findall(r"^\| `([^`]+)` \|", text(f"docs/{page}"), re.M))


def anchor(heading):
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@cache
def tree():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    names = listed.stdout.splitlines() if listed.returncode == 0 else []
    # In an archive without its history.
    return names or [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()]


@cache
def endpoints():
    """(method, path) of both APIs; a HEAD for each GET."""
    found = set()
    for document in ("openapi/executor-api.yaml", "openapi/control-plane-callbacks.yaml"):
        path = None
        for line in text(document).splitlines():
            if line.startswith("  /"):
                path = line.strip().rstrip(":")
            elif path and (method := re.fullmatch(r"    (get|post|put|delete):", line)):
                found.add((method[1].upper(), path))
            elif line and not line.startswith(" "):
                path = None
    return found | {("HEAD", path) for method, path in found if method == "GET"}


@cache
def series():
    found = set()
    for name, kind in re.findall(r"^\| `((?:sandbox_executor|process)_\w+)` \| (\w+) \|", text("docs/metrics.md"), re.M):
        found |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else set()
        found.add(name)
    return found


@cache
def vocabulary():
    """Words with an underscore that we use: fields and words of both APIs, of the log, of labels; system calls; lints."""
    sources = ["openapi/executor-api.yaml", "openapi/control-plane-callbacks.yaml", "docs/log-events.md", "docs/metrics.md"]
    sources += ["deploy/seccomp.json", "docs/seccomp.md", "Cargo.toml"]
    return {word for source in sources for word in re.findall(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+", text(source))}


class Documents(unittest.TestCase):
    def hold(self, pattern, is_there, of=None, where=everything):
        """Asks `is_there` about each match of `pattern` in what is written as code."""
        count = 0
        for page in of if of is not None else self.pages:
            for span in where(page):
                for match in re.finditer(pattern, span):
                    count += 1
                    with self.subTest(page=page.name, found=match.group(0), within=span[:100]):
                        self.assertTrue(is_there(match), "there is no such thing")
        self.assertTrue(count, f"nothing looks like {pattern}")

    @classmethod
    def setUpClass(cls):
        cls.pages = pages()

    def test_each_page_is_compared_by_something(self):
        self.assertEqual({page.name for page in DOCS.glob("*.md")}, {*TABLES, *PROSE})
        for page, test in TABLES.items():
            self.assertIn(f"docs/{page}", text(test))

    def test_every_link_leads_to_a_file_and_a_heading(self):
        for page in [*self.pages, ROOT / "CHANGELOG.md", *(DOCS / "decisions").glob("*.md")]:
            # Markdown breaks lines within a link's text, and never within its address.
            for target in re.findall(r"\]\(([^)\s]+)\)", without_fences(page)):
                if re.match(r"\w+:", target):
                    continue
                with self.subTest(page=page.name, target=target):
                    path, _, fragment = target.partition("#")
                    there = (page.parent / path).resolve() if path else page
                    self.assertTrue(there.exists(), there)
                    if fragment:
                        headings = re.findall(r"^#+ (.*)$", without_fences(there), re.M)
                        self.assertIn(fragment, {anchor(heading) for heading in headings})

    def test_every_setting_is_one(self):
        settings = first_cells("configuration.md")
        elsewhere = " ".join(map(text, ["Makefile", "Dockerfile", "scripts/image", ".ci/run"]))
        elsewhere += " ".join(path.read_text() for path in sorted((ROOT / "tests" / "harness").glob("*.rs")))

        def is_there(match):
            name = match.group(0)
            ours = name in settings or re.search(rf"\b{name}\b", elsewhere)
            return ours or FOREIGN_CAPITALS.fullmatch(name)

        # seccomp.md is full of the kernel's, and compared with the filter itself.
        of = [page for page in self.pages if page.name != "seccomp.md"]
        self.hold(r"(?<![\w/.-])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", is_there, of)

    def test_every_flag_of_ours_is_one(self):
        flags = set(re.findall(r"^\| `[A-Z_]+` \| `--([\w-]+)`", text("docs/configuration.md"), re.M))
        own = " ".join(path.read_text() for path in sorted((ROOT / "executor" / "src" / "cli").rglob("*.rs")))

        def is_there(match):
            used = re.findall(r"--([a-z][\w-]*)", match.group(0))
            return all(flag in flags or re.search(rf'"{flag}"', own) for flag in used)

        self.hold(r"(?m)^sandbox-executor [a-z][^|`#\n]*?--[^|`#\n]*", is_there)

    def test_every_command_is_one(self):
        cli = text("executor/src/cli/mod.rs")
        commands = set(re.findall(r'Some\(\("(\w+)"', cli))
        below = set(re.findall(r'with_directory\("(\w+)"\)', text("executor/src/cli/outbox.rs")))
        self.assertTrue(commands and below)

        def is_there(match):
            return match[1] in commands and (match[1] != "outbox" or match[2] in below | {None})

        self.hold(r"(?m)^sandbox-executor ([a-z]+)(?: ([a-z]+)\b)?", is_there)

    def test_every_endpoint_is_one(self):
        paths = {path for _, path in endpoints()}

        def template(path):
            return re.sub(r"\{id\}|exec_\w+", "{execution_id}", path)

        self.hold(
            r"\b(GET|POST|PUT|DELETE|HEAD) (/[\w{}/.-]+)",
            lambda match: (match[1], template(match[2])) in endpoints(),
            where=code,
        )
        first = "|".join(sorted({path.split("/")[1].split(".")[0] for path in paths}))
        self.hold(rf"^/(?:{first})[\w{{}}/.-]*$", lambda match: template(match.group(0)) in paths, where=code)

    def test_every_metric_is_one(self):
        self.hold(r"\bsandbox_executor_[a-z_]+\b", lambda match: match.group(0) in series())
        conventional = r"\bprocess_(?:cpu|resident|virtual|open|max|threads|start|heap)\w*"
        self.hold(conventional, lambda match: match.group(0) in series())

    def test_every_error_code_is_one(self):
        codes = first_cells("errors.md")
        self.hold(r"\bExecutor\.[A-Z]\w+", lambda match: match.group(0) in codes)

    def test_every_alert_is_one(self):
        alerts = set(re.findall(r"- alert: (\w+)", text("deploy/prometheus/alerts.yaml")))
        self.hold(r"^Executor[A-Z]\w+$", lambda match: match.group(0) in alerts)

    def test_every_word_of_ours_is_one(self):
        """An event, a field, a cause, a crate: what has an underscore and is nobody else's."""
        names = {part for name in tree() for part in Path(name).with_suffix("").parts}
        known = vocabulary() | series() | FOREIGN_WORDS | names
        prose = [DOCS / page for page in PROSE]
        word = r"^[a-z][a-z0-9]*(?:_[a-z0-9]+)+$"
        self.hold(word, lambda match: match.group(0) in known, prose, code)

    def test_every_target_of_make_is_one(self):
        targets = set(re.findall(r"^([a-z][a-z-]*):", text("Makefile"), re.M))
        command = r"(?:^|(?<=[\s;]))make ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)*)(?=$|[\s;|&#)])"
        self.hold(command, lambda match: set(match[1].split()) <= targets)

    def test_every_file_is_one(self):
        top = "|".join(sorted({re.escape(name.split("/")[0]) for name in tree() if "/" in name}))
        # Made by what the page says to do, or to be put in.
        made = re.compile(r"bench/results\b|fuzz/(artifacts|corpus)\b|.*/TARGET\b|target/")

        def is_there(match):
            name = match.group(0).removesuffix("/")
            # `sandbox/src/plan.rs` is short for what is in a crate.
            return made.match(name) or any((ROOT / start / name).exists() for start in ("", "crates"))

        self.hold(rf"(?<![\w/.~-])(?:{top})/[\w./-]*[\w/]", is_there)
        names = {Path(path).name for path in tree()}
        bare = r"^[\w-]+\.(?:rs|py|toml|yaml|yml|json|md|js|sh)$"
        self.hold(bare, lambda match: match.group(0) in names, where=code)

    def test_every_type_that_the_architecture_names_is_one(self):
        sources = "\n".join(text(name) for name in tree() if name.endswith(".rs"))

        def is_there(match):
            return re.search(rf"\b(?:struct|enum) {match[1]}\b", sources)

        architecture = [DOCS / "architecture.md"]
        self.hold(r"^(?:protocol::)?([A-Z][a-z]+(?:[A-Z][a-z]+)*)$", is_there, architecture, code)


if __name__ == "__main__":
    unittest.main()
