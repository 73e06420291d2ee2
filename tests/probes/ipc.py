"""Makes System V and POSIX objects and lists those that are there. Asked: {"key": number, "name": "...", "make": bool}."""

import ctypes
import errno
import json
import os
import sys

asked = json.load(sys.stdin)
libc = ctypes.CDLL(None, use_errno=True)
IPC_CREAT = 0o1000


def call(name, *arguments):
    result = getattr(libc, name)(*arguments)
    return {"errno": errno.errorcode[ctypes.get_errno()]} if result == -1 else {"id": result}


flags = 0o666 | (IPC_CREAT if asked["make"] else 0)
mode = os.O_RDWR | (os.O_CREAT if asked["make"] else 0)
key, name = asked["key"], asked["name"].encode()
print(
    json.dumps(
        {
            "shm": call("shmget", key, 4096, flags),
            "sem": call("semget", key, 1, flags),
            "msg": call("msgget", key, flags),
            "mq": call("mq_open", name, mode, 0o666, None),
            "shm_open": call("shm_open", name, mode, 0o666),
            "listed": sum(len(open(f"/proc/sysvipc/{kind}").readlines()) - 1 for kind in ("shm", "sem", "msg")),
            "dev_shm": sorted(os.listdir("/dev/shm")),
        }
    )
)
if asked.get("remove"):
    for shell in (f"ipcrm -M {key}", f"ipcrm -S {key}", f"ipcrm -Q {key}"):
        os.system(f"{shell} 2>/dev/null")
    libc.mq_unlink(name)
    libc.shm_unlink(name)
