"""Each setting that is wrong has words of its own, which docs/deployment.md lists."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import engine


def setUpModule():
    engine.need_image()


class Doctor(unittest.TestCase):
    def refused(self, words, *flags):
        starts, said = engine.doctor(*flags, start=engine.BARE)
        self.assertFalse(starts, said)
        self.assertIn(words, said)

    def test_no_workspace(self):
        self.refused("the workspace /workspace is read-only", engine.seccomp(), engine.STATE)

    def test_a_workspace_that_belongs_to_root(self):
        self.refused("the workspace /workspace is not writable for the daemon's user", engine.seccomp(), engine.STATE,
                     "--tmpfs=/workspace:mode=0755")

    def test_no_place_for_sessions(self):
        self.refused("/var/lib/sandbox-executor/sessions for sessions cannot be made or used", engine.seccomp(), engine.WORKSPACE)

    def test_no_profile(self):
        self.refused("user namespaces are forbidden in this container", engine.WORKSPACE, engine.STATE)

    def test_masked_paths_are_said_and_do_not_stop_it(self):
        starts, said = engine.doctor(engine.seccomp())
        self.assertTrue(starts, said)
        self.assertIn("docker: --security-opt systempaths=unconfined", said)

    def test_masked_paths_stop_it_where_less_is_not_enough(self):
        self.refused("ISOLATION_MINIMUM is full", engine.seccomp(), engine.WORKSPACE, engine.STATE, "--env=ISOLATION_MINIMUM=full")

    def test_root_without_the_capabilities_of_root(self):
        self.refused("cannot prepare /var/lib/sandbox-executor/sessions for user 1000", engine.seccomp(), engine.WORKSPACE, engine.STATE,
                     "--user=0")

    def test_another_user_works_where_the_mounts_are_its_own(self):
        mounts = [flag.replace("=1000", "=2000") for flag in (engine.WORKSPACE, engine.STATE)]
        starts, said = engine.doctor(*mounts, engine.seccomp(), "--user=2000:2000", start=engine.BARE)
        self.assertTrue(starts, said)


if __name__ == "__main__":
    unittest.main()
