"""Prints its environment, as the kernel shows it and as the language does."""

import json
import os
import sys

with open("/proc/self/environ", errors="replace") as file:
    kernels = file.read()
json.dump({"environment": dict(os.environ), "environ": kernels}, sys.stdout)
