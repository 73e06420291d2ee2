"""The conformance and escape suites, inside the container: the tests start the daemon there themselves, as the image's user.

Each is a program that cargo builds on the host. In the container it has what the image has: no root, no cgroup, no network, no
tools; what takes those says "not run".
"""

import json
import shutil
import subprocess
import unittest

from engine import BARE, IMAGE, ROOT, UNMASKED, docker, need_image, not_run, seccomp

DEADLINE_SECONDS = 600

# What these want to find is not so in a container; the first two are claims about its surroundings, the others need a control
# that the container's own profile does not allow.
NOT_HERE = {
    "isolation": {
        "filesystem::secret_places_are_absent_in_every_language": "the daemon's program lies in /usr, which is visible inside",
        "interpreters::habits_of_the_daemons_environment_do_not_reach_programs": "Docker gives the daemon a group, which no unprivileged user can lay down",
        "system_calls::no_other_door_leads_into_the_kernel": "the profile kills x32 calls before the sandbox's own filter answers them",
        "system_calls::refused_calls_do_not_reach_the_kernel": "outside, too, the profile refuses ptrace",
    },
    "outcomes": {},
}


def setUpModule():
    need_image()
    if not shutil.which("cargo"):
        not_run("there is no cargo to build the suites with")


def built(suite):
    """The suite's program."""
    command = ["cargo", "test", "--no-run", "--package=conformance", f"--test={suite}", "--message-format=json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    [program] = [each["executable"] for each in messages if each.get("target", {}).get("name") == suite and each.get("executable")]
    return program


class Suites(unittest.TestCase):
    def run_inside(self, suite, *flags):
        skipped = NOT_HERE[suite]
        for name, reason in skipped.items():
            print(f"not run in a container: {name}: {reason}", flush=True)
        options = [option for name in skipped for option in ("--skip", name)]
        done = docker(
            "run", "--rm", "--init", "--network=none", *BARE, seccomp(), *flags,
            # On a disk, as the directories of a daemon may be: what lies in a tmpfs counts as memory.
            "--mount=type=volume,dst=/tmp",
            f"--volume={built(suite)}:/suite:ro", f"--volume={ROOT}:{ROOT}:ro", f"--workdir={ROOT}/tests",
            "--env=EXECUTOR_BINARY=/usr/local/bin/sandbox-executor", "--entrypoint=/suite", IMAGE,
            "--quiet", "--test-threads=2", "--exact", *options,
            deadline_seconds=DEADLINE_SECONDS,
        )
        self.assertEqual(done.returncode, 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}")
        print(f"{suite} {flags}: {done.stdout.strip().splitlines()[-1]}", flush=True)

    def test_outcomes_where_proc_is_masked(self):
        self.run_inside("outcomes")

    def test_outcomes_where_proc_is_private(self):
        self.run_inside("outcomes", UNMASKED)

    def test_escapes_where_proc_is_masked(self):
        self.run_inside("isolation")

    def test_escapes_where_proc_is_private(self):
        self.run_inside("isolation", UNMASKED)
