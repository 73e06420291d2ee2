"""deploy/seccomp.json: each call that it opens is needed, shown by taking it away; nothing else is open."""

import copy
import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import engine

# What bubblewrap, or the daemon for it, says when the call is refused. docs/deployment.md lists it.
NEEDED_FOR = {
    "clone": "user namespaces are forbidden",
    "unshare": "bwrap: unshare user ns: Operation not permitted",
    "mount": "bwrap: Failed to make / slave: Operation not permitted",
    "umount2": "bwrap: unmount old root: Operation not permitted",
    "pivot_root": "bwrap: pivot_root: Operation not permitted",
    "sethostname": "bwrap: Can't set hostname to sandbox: Operation not permitted",
}


def setUpModule():
    engine.need_image()


def profile():
    return json.loads(engine.PROFILE.read_text())


def is_for_bubblewrap(rule):
    return rule["comment"].startswith("bubblewrap: ")


def opened():
    return {name for rule in profile()["syscalls"] if is_for_bubblewrap(rule) for name in rule["names"]}


def without(call):
    """The profile as it would be if bubblewrap did not need that call; threads go on being allowed."""
    closed = copy.deepcopy(profile())
    for rule in closed["syscalls"]:
        if is_for_bubblewrap(rule):
            rule["names"] = [name for name in rule["names"] if name != call]
    closed["syscalls"] = [rule for rule in closed["syscalls"] if rule["names"]]
    return closed


class Opened(unittest.TestCase):
    def test_the_six_calls_are_all_that_is_opened(self):
        self.assertEqual(opened(), set(NEEDED_FOR))

    def test_with_all_of_them_every_protection_holds_in_both_kinds_of_container(self):
        for flags, proc in (([], "parts of /proc are masked"), ([engine.UNMASKED], "/proc is private")):
            starts, words = engine.doctor(engine.seccomp(), *flags)
            self.assertTrue(starts, words)
            self.assertIn("the system call filter hold inside (self test)", words)
            self.assertIn(proc, words)

    def test_without_any_one_of_them_there_is_no_sandbox_and_the_words_tell_which(self):
        for call, complaint in NEEDED_FOR.items():
            for flags in ([], [engine.UNMASKED]):
                with self.subTest(call=call, flags=flags), tempfile.TemporaryDirectory() as directory:
                    closed = Path(directory) / "seccomp.json"
                    closed.write_text(json.dumps(without(call)))
                    # Not `doctor`, which says it in words of its own: tests/container/test_doctor.py.
                    served = engine.docker("run", "--rm", "--network=none", *engine.LEAST, engine.seccomp(closed), *flags, engine.IMAGE)
                    words = served.stdout + served.stderr
                    self.assertNotEqual(served.returncode, 0, words)
                    self.assertIn(complaint, words)

    def test_with_dockers_own_profile_there_is_no_sandbox(self):
        starts, words = engine.doctor()
        self.assertFalse(starts, words)
        self.assertIn("--security-opt seccomp=", words)


class Closed(unittest.TestCase):
    """From the container, outside of any sandbox: what an attacker would have who took over the daemon."""

    def try_it(self, *command):
        flags = [*engine.LEAST, "--network=none", engine.seccomp(), f"--entrypoint={command[0]}"]
        return engine.docker("run", "--rm", *flags, engine.IMAGE, *command[1:])

    def test_a_user_namespace_can_be_made_and_that_is_what_is_opened(self):
        done = self.try_it("unshare", "--user", "true")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_unshare_makes_no_other_namespace(self):
        for flags in (["--user", "--net"], ["--user", "--mount"], ["--user", "--pid"], ["--net"]):
            done = self.try_it("unshare", *flags, "true")
            self.assertIn("unshare failed: Operation not permitted", done.stderr, flags)

    def test_other_doors_to_the_kernel_are_closed(self):
        code = (
            "import ctypes, errno, platform, sys\n"
            "numbers = {'x86_64': dict(ptrace=101, keyctl=250, bpf=321, setns=308, io_uring_setup=425, userfaultfd=323, open_tree=428),\n"
            "           'aarch64': dict(ptrace=117, keyctl=219, bpf=280, setns=268, io_uring_setup=425, userfaultfd=282, open_tree=428)}\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            "for name, number in numbers[platform.machine()].items():\n"
            "    libc.syscall(number, 0, 0, 0, 0, 0)\n"
            "    print(name, errno.errorcode.get(ctypes.get_errno()))\n"
        )
        done = self.try_it("python3", "-c", code)
        answers = dict(line.split() for line in done.stdout.splitlines())
        self.assertEqual(len(answers), 7, done.stderr)
        for name, answer in answers.items():
            self.assertIn(answer, ("EPERM", "ENOSYS"), name)


if __name__ == "__main__":
    unittest.main()
