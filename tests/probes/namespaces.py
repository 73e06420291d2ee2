"""Prints which namespaces it is in."""

import json
import os
import sys

NAMES = ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup")
# So that the test can hold two of them side by side: says where it is, then waits for its input to end or for a file.
json.dump({name: os.readlink(f"/proc/self/ns/{name}") for name in NAMES}, sys.stdout)
