"""Looks at /dev: what is in it, what can be made, how much can be written. Asked: {"devices": [...], "mknod": [...],
"fill": [...]}."""

import errno
import json
import os
import stat
import sys

asked = json.load(sys.stdin)
MIB = bytes(1 << 20)


def attempt(action):
    try:
        return action() or {}
    except OSError as error:
        return {"errno": errno.errorcode[error.errno]}


def fill(path):
    """How many MiB fit, up to 256, and what stopped it."""
    written = 0
    try:
        with open(path, "wb", buffering=0) as file:
            while written < 256:
                count = file.write(MIB)
                if count < len(MIB):
                    break
                written += 1
        return {"mib": written}
    except OSError as error:
        return {"mib": written, "errno": errno.errorcode[error.errno]}
    finally:
        try:
            os.unlink(path)
        except OSError:
            pass


def touch(path):
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))


device = os.makedev(1, 3)
json.dump(
    {
        "names": sorted(os.listdir("/dev")),
        "open": {path: attempt(lambda: touch(path)) for path in asked["devices"]},
        "mknod": {where: attempt(lambda: os.mknod(where, stat.S_IFCHR | 0o666, device)) for where in asked["mknod"]},
        "fill": {path: fill(path) for path in asked["fill"]},
    },
    sys.stdout,
)
