"""deploy/seccomp.json, as far as it can be judged without an engine; tests/container shows that it works."""

import json
import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ALLOW = "SCMP_ACT_ALLOW"

# Allowed inside by the daemon's own filter, refused to an ordinary container by Docker: the stricter of the two decides.
REFUSED_OUTSIDE = {"get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node", "uprobe"}
OPENED_FOR_BUBBLEWRAP = {"unshare", "mount", "umount2", "pivot_root", "sethostname"}


def profile():
    return json.loads((ROOT / "deploy" / "seccomp.json").read_text())


def allowed():
    return [name for rule in profile()["syscalls"] if rule["action"] == ALLOW for name in rule["names"]]


def allowed_inside():
    """What docs/seccomp.md, which is written from the policy itself, lists as allowed: in every run, or with a cgroup."""
    policy = (ROOT / "docs" / "seccomp.md").read_text().partition("## The policy")[2]
    names = set()
    for section in re.split(r"\n### ", policy)[1:]:
        if section.startswith("Allowed"):
            for row in section.splitlines():
                if row.startswith("|"):
                    names |= set(re.findall(r"`(\w+)`", row.rsplit("|", 2)[1]))
    return names


class Profile(unittest.TestCase):
    def test_it_has_only_fields_that_docker_podman_and_kubernetes_all_read(self):
        """Kubernetes reads the form of the OCI runtime specification, which has none of Docker's conditions."""
        self.assertEqual(set(profile()), {"defaultAction", "architectures", "syscalls"})
        for rule in profile()["syscalls"]:
            self.assertLessEqual(set(rule), {"comment", "names", "action", "args", "errnoRet"}, rule)

    def test_no_call_is_listed_twice_without_a_condition(self):
        plain = [name for rule in profile()["syscalls"] if rule["action"] == ALLOW and "args" not in rule for name in rule["names"]]
        self.assertEqual(sorted(plain), sorted(set(plain)))

    def test_what_sandboxes_may_call_and_what_bubblewrap_needs_is_all_there_is(self):
        inside = allowed_inside()
        self.assertIn("memfd_create", inside)
        self.assertIn("read", inside)
        self.assertEqual(set(allowed()), inside - REFUSED_OUTSIDE | OPENED_FOR_BUBBLEWRAP)


if __name__ == "__main__":
    unittest.main()
