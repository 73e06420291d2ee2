"""scripts/escape: what it makes of the output of cargo, and that it never takes silence for a success."""

import importlib.machinery
import importlib.util
import sys
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

sys.dont_write_bytecode = True
sys.path.insert(0, str(SCRIPTS))
loader = importlib.machinery.SourceFileLoader("escape", str(SCRIPTS / "escape"))
escape = importlib.util.module_from_spec(importlib.util.spec_from_loader("escape", loader))
sys.modules["escape"] = escape
loader.exec_module(escape)

LOG = """\
    Finished `test` profile [unoptimized + debuginfo] target(s) in 0.10s
     Running unittests src/lib.rs (target/debug/deps/sandbox-0123456789abcdef)

running 2 tests
test one::tests::same_name ... ok
test two::tests::same_name ... FAILED
     Running tests/self_test.rs (/elsewhere/debug/deps/self_test-0123456789abcdef)
test a missing net namespace is noticed ... ok
test a missing ipc namespace is noticed ... ok
     Running api/main.rs (target/debug/deps/api-0123456789abcdef)

running 4 tests
not run: hosts::skipped: mounting takes root
test hosts::skipped ... ok
test hosts::shown ... ok
test hosts::broken ... FAILED
test hosts::left_out ... ignored, too slow
test hosts::alone ... not run: main: mounting takes root
ok
   Doc-tests linux
test crates/linux/src/lib.rs - shown (line 3) ... ok
"""


class Verdicts(unittest.TestCase):
    def verdict(self, path, function, log=LOG):
        return escape.verdict(escape.Test(path, function), escape.verdicts(log))

    def test_each_word_of_cargo_has_a_meaning(self):
        for function, expected in {
            "shown": "contained",
            "broken": "FAILED",
            "left_out": "ignored",
            "skipped": "not run: mounting takes root",
            "alone": "not run: mounting takes root",
            "never_heard_of": "not run",
        }.items():
            self.assertEqual(self.verdict("tests/api/hosts.rs", function), expected)

    def test_a_program_that_did_not_run_has_shown_nothing(self):
        self.assertEqual(self.verdict("tests/isolation/network.rs", "shown"), "not run")
        self.assertEqual(self.verdict("tests/api/hosts.rs", "shown", log=""), "not run")

    def test_of_two_tests_with_one_name_the_one_in_the_file_counts(self):
        self.assertEqual(self.verdict("crates/sandbox/src/one.rs", "same_name"), "contained")
        self.assertEqual(self.verdict("crates/sandbox/src/two/tests.rs", "same_name"), "FAILED")
        with self.assertRaises(escape.Failure):
            self.verdict("crates/sandbox/src/three.rs", "same_name")

    def test_a_program_without_a_harness_counts_as_a_whole(self):
        path = "crates/sandbox/tests/self_test.rs"
        self.assertEqual(self.verdict(path, "main"), "contained")
        broken = LOG.replace("ipc namespace is noticed ... ok", "ipc namespace is noticed ... FAILED")
        self.assertEqual(self.verdict(path, "main", broken), "FAILED")
        silent = LOG.replace("test a missing", "not run: there is no")
        self.assertTrue(self.verdict(path, "main", silent).startswith("not run"))

    def test_what_a_nameless_thread_could_not_do_is_not_lost(self):
        said = LOG.replace("not run: hosts::skipped:", "not run: main:")
        self.assertEqual(escape.verdicts(said)["api"][""], "not run: mounting takes root")

    def test_one_that_does_not_hold_is_enough(self):
        self.assertEqual(escape.result(["contained", "contained"]), "contained")
        self.assertEqual(escape.result(["contained", "FAILED", "not run: why"]), "FAILED")
        self.assertEqual(escape.result(["contained", "not run: why"]), "not run")
        self.assertEqual(escape.result([]), "no test")


class Document(unittest.TestCase):
    def test_what_is_marked_and_what_is_written_down_are_the_same(self):
        found, wrong = escape.marks()
        table = escape.rows()
        self.assertEqual(wrong, [])
        self.assertGreater(len(found), 100)
        missing = {case: tests for case, tests in found.items() if case != "NW-01"}
        said = escape.check(table, missing, [])
        self.assertIn("NW-01 is in isolation.md and no test has its mark", said)
        said = escape.check([row for row in table if row.case != "NW-01"], found, [])
        self.assertTrue(any(sentence.startswith("NW-01 is marked in ") for sentence in said), said)


if __name__ == "__main__":
    unittest.main()
