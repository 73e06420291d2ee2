"""Each setting that is wrong has a finding of its own, with the flag that helps on each platform; docs/deployment.md lists them.

AppArmor and SELinux are not tried: they take a host that has them. What bubblewrap says there is in the unit tests of
crates/sandbox/src/bwrap/stderr.rs.
"""

import json
import re
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import engine

SECCOMP = {
    "docker": "--security-opt seccomp=deploy/seccomp.json",
    "compose": "security_opt: [seccomp:./deploy/seccomp.json]",
    "kubernetes": "securityContext.seccompProfile: {type: Localhost, localhostProfile: sandbox-executor.json}",
}
UNMASK = {
    "docker": "--security-opt systempaths=unconfined",
    "compose": "security_opt: [systempaths=unconfined] (Compose 2.15 or later)",
    "kubernetes": "hostUsers: false, and securityContext.procMount: Unmasked",
}
WORKSPACE = {
    "docker": "--tmpfs /workspace:exec,size=256m,uid=1000,gid=1000,mode=0755",
    "compose": 'tmpfs: ["/workspace:exec,size=256m,uid=1000,gid=1000,mode=0755"]',
    "kubernetes": "volumes: [{name: workspace, emptyDir: {}}], volumeMounts: [{name: workspace, mountPath: /workspace}]",
}
STATE = {
    "docker": "--tmpfs /var/lib/sandbox-executor:exec,size=512m,uid=1000,gid=1000,mode=0700",
    "compose": 'tmpfs: ["/var/lib/sandbox-executor:exec,size=512m,uid=1000,gid=1000,mode=0700"]',
    "kubernetes": "volumes: [{name: state, emptyDir: {}}], volumeMounts: [{name: state, mountPath: /var/lib/sandbox-executor}]",
}
ORDINARY_USER = {
    "docker": "--user 1000:1000 (the image's own user is 1000:1000: leave --user out)",
    "compose": 'user: "1000:1000"',
    "kubernetes": "securityContext: {runAsNonRoot: true, runAsUser: 1000, runAsGroup: 1000}",
}
# As engine.BARE, but for root, which is of use only with some of its capabilities.
WRITABLE = ["--security-opt=no-new-privileges", engine.WORKSPACE, engine.STATE]


def setUpModule():
    engine.need_image()


def findings(said):
    """[(mark, what, {platform: line})]"""
    found = []
    for line in said.splitlines():
        if first := re.fullmatch(r" *(ok|reduced|missing|unknown)  (\S.*)", line):
            found.append((first[1], first[2], {}))
        elif below := re.fullmatch(r" {12}([^:]+): (.*)", line):
            found[-1][2].setdefault(below[1], below[2])
    return found


class Doctor(unittest.TestCase):
    def finding(self, mark, words, helps, said):
        """There is one such finding, and it names what helps."""
        found = [fixes for marked, what, fixes in findings(said) if marked == mark and words in what]
        self.assertEqual(len(found), 1, said)
        self.assertEqual(found[0], {**found[0], **helps}, said)

    def refused(self, words, helps, *flags):
        """One thing is missing, and all the rest is there."""
        starts, said = engine.doctor(*flags, start=engine.BARE)
        self.assertFalse(starts, said)
        self.assertIn("serve would not start here", said)
        self.finding("missing", words, helps, said)
        self.assertEqual([mark for mark, _, _ in findings(said)].count("missing"), 1, said)
        return said

    def starts_with_less(self, words, helps, *flags, start):
        starts, said = engine.doctor(*flags, start=start)
        self.assertTrue(starts, said)
        self.finding("reduced", words, helps, said)
        return said

    def test_as_it_is_documented_nothing_of_the_container_is_wrong(self):
        starts, said = engine.doctor(engine.seccomp(), engine.UNMASKED)
        self.assertTrue(starts, said)
        # Docker 20 gives no cgroup to an ordinary user.
        reduced = [what for mark, what, _ in findings(said) if mark != "ok" and "the memory of runs" not in what]
        self.assertEqual(reduced, [], said)

    def test_dockers_own_profile(self):
        self.refused("user namespaces are forbidden in this container, by its seccomp profile", SECCOMP,
                     engine.WORKSPACE, engine.STATE)

    def test_a_profile_that_opens_only_some_of_the_calls(self):
        profile = json.loads(engine.PROFILE.read_text())
        for call in ("unshare", "mount", "umount2", "pivot_root", "sethostname"):
            with self.subTest(call=call), tempfile.TemporaryDirectory() as directory:
                rules = [{**rule, "names": [name for name in rule["names"] if name != call]} for rule in profile["syscalls"]]
                half_open = Path(directory) / "seccomp.json"
                half_open.write_text(json.dumps({**profile, "syscalls": [rule for rule in rules if rule["names"]]}))
                self.refused(f"the container's seccomp profile forbids {call}; it opens only some of the calls", SECCOMP,
                             engine.seccomp(half_open), engine.WORKSPACE, engine.STATE)

    def test_masked_paths_are_said_and_do_not_stop_it(self):
        self.starts_with_less("parts of /proc are masked in this container", UNMASK, engine.seccomp(), start=engine.LEAST)

    def test_a_read_only_proc_sys_is_said_too(self):
        self.starts_with_less("/proc/sys/user is read-only", UNMASK, engine.seccomp(), start=engine.LEAST)

    def test_masked_paths_stop_it_where_less_is_not_enough(self):
        self.refused("ISOLATION_MINIMUM is full", {**UNMASK, "or accept it": "ISOLATION_MINIMUM=shared-proc"},
                     engine.seccomp(), engine.WORKSPACE, engine.STATE, "--env=ISOLATION_MINIMUM=full")

    def test_no_workspace(self):
        said = self.refused("the workspace /workspace is read-only", WORKSPACE, engine.seccomp(), engine.STATE)
        self.assertIn("kubernetes: securityContext.fsGroup: 1000, of the pod", said)

    def test_a_workspace_that_belongs_to_root(self):
        self.refused("the workspace /workspace is not writable for the daemon's user", WORKSPACE, engine.seccomp(), engine.STATE,
                     "--tmpfs=/workspace:mode=0755")

    def test_a_workspace_that_forbids_programs(self):
        noexec = "--tmpfs=/workspace:size=64m,uid=1000,gid=1000,mode=0755"
        said = self.starts_with_less("the workspace /workspace is mounted noexec", WORKSPACE, noexec, engine.STATE, engine.seccomp(),
                                     start=engine.BARE)
        self.assertIn("the workspace /workspace is writable", said)

    def test_no_place_for_sessions(self):
        self.refused("/var/lib/sandbox-executor/sessions for sessions cannot be made or used", STATE, engine.seccomp(),
                     engine.WORKSPACE)

    def test_no_place_for_results_that_wait(self):
        sessions = "--tmpfs=/var/lib/sandbox-executor/sessions:exec,size=64m,uid=1000,gid=1000,mode=0700"
        results = "--env=RESULTS_DIR=/var/lib/elsewhere"
        peer = ["--env=CONTROL_PLANE_URL=http://127.0.0.1:1", "--env=INTERNAL_API_TOKEN=of-no-use"]
        self.starts_with_less("RESULTS_DIR is /var/lib/elsewhere, which cannot be used", {}, engine.WORKSPACE, sessions, results, *peer,
                              engine.seccomp(), start=engine.BARE)

    def test_nothing_but_the_image(self):
        """Everything that is wrong is said at once."""
        starts, said = engine.doctor(start=engine.BARE)
        self.assertFalse(starts, said)
        self.finding("missing", "the workspace /workspace is read-only", WORKSPACE, said)
        self.finding("missing", "user namespaces are forbidden in this container", SECCOMP, said)

    def test_root_without_the_capabilities_of_root(self):
        said = self.refused("started as root, but without the capabilities that becoming user 1000 takes (CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_SETGID, CAP_SETUID)", ORDINARY_USER,
                            engine.seccomp(), engine.WORKSPACE, engine.STATE, "--user=0")
        self.assertNotIn("cannot prepare", said)

    def test_root_works_and_is_said_to_gain_nothing(self):
        self.starts_with_less("started as root, which gains nothing here: it serves as user 1000", ORDINARY_USER, engine.seccomp(),
                              "--user=0", start=WRITABLE)

    def test_root_works_with_exactly_the_capabilities_that_are_named(self):
        needed = ["CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID"]
        for lacking in [None, *needed]:
            flags = [f"--cap-add={name}" for name in needed if name != lacking]
            starts, said = engine.doctor(*flags, engine.seccomp(), "--user=0", "--cap-drop=ALL", start=WRITABLE)
            self.assertEqual(starts, lacking is None, said)
            if lacking is not None:
                self.finding("missing", f"becoming user 1000 takes (CAP_{lacking})", ORDINARY_USER, said)

    def test_too_few_processes(self):
        # Which limit bubblewrap meets, and not the daemon before it, hangs on how many threads that has.
        heard = [engine.doctor(engine.seccomp(), f"--pids-limit={limit}")[1] for limit in range(4, 10)]
        for said in heard:
            self.assertNotIn("user namespaces are forbidden", said)
            self.assertNotIn("apt-get install", said)
        self.assertTrue(any("this container may have no more processes" in said for said in heard), heard)
        self.assertTrue(any("docker: --pids-limit 512" in said for said in heard), heard)

    def test_another_user_works_where_the_mounts_are_its_own(self):
        mounts = [flag.replace("=1000", "=2000") for flag in (engine.WORKSPACE, engine.STATE)]
        starts, said = engine.doctor(*mounts, engine.seccomp(), "--user=2000:2000", start=engine.BARE)
        self.assertTrue(starts, said)

    def test_another_users_mounts_are_named_with_its_number(self):
        self.refused("the workspace /workspace is not writable", {"docker": "--tmpfs /workspace:exec,size=256m,uid=2000,gid=2000,mode=0755"},
                     engine.seccomp(), engine.WORKSPACE, engine.STATE.replace("=1000", "=2000"), "--user=2000:2000")


if __name__ == "__main__":
    unittest.main()
