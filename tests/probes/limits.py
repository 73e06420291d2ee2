"""Prints its limits and habits, and tries to lift every limit."""

import errno
import json
import locale
import os
import resource
import sys
import time

NAMES = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))
limits, raised = {}, {}
for name in NAMES:
    which = getattr(resource, name)
    soft, hard = resource.getrlimit(which)
    limits[name] = [soft, hard]
    if hard == resource.RLIM_INFINITY:
        continue
    if soft != hard:
        resource.setrlimit(which, (hard, hard))
        raised[name + " to hard"] = {}
    try:
        resource.setrlimit(which, (hard + 1, hard + 1))
        raised[name] = {}
    except (OSError, ValueError) as error:
        # Python turns EPERM into a ValueError here.
        raised[name] = {"errno": errno.errorcode[error.errno] if getattr(error, "errno", None) else str(error)}
    try:
        resource.prlimit(0, which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        raised[name + " prlimit"] = {}
    except (OSError, ValueError) as error:
        raised[name + " prlimit"] = {"errno": str(error)}

umask = os.umask(0)
os.umask(umask)
with open("/proc/self/oom_score_adj") as file:
    oom_score = int(file.read())
with open("/proc/self/status") as file:
    signals = {line.split(":")[0]: line.split()[1] for line in file if line.startswith(("SigBlk", "SigIgn"))}
json.dump(
    {
        "limits": limits,
        "raised": raised,
        "habits": {
            "umask": umask,
            "nice": os.getpriority(os.PRIO_PROCESS, 0),
            "oom_score_adj": oom_score,
            "cwd": os.getcwd(),
            "groups": sorted(set(os.getgroups())),
            "time_zone": time.tzname,
            "encoding": locale.getpreferredencoding(),
            "file_system_encoding": sys.getfilesystemencoding(),
            "blocked_signals": signals["SigBlk"],
        },
    },
    sys.stdout,
)
