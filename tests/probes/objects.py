"""Makes kernel objects of several kinds, up to a bound or until it is stopped."""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import sys
import tempfile

libc = ctypes.CDLL(None, use_errno=True)


def many(count, make):
    """How many could be made, and what stopped it."""
    kept = []
    try:
        while len(kept) < count:
            kept.append(make(len(kept)))
    except OSError as error:
        return {"made": len(kept), "errno": errno.errorcode[error.errno]}, kept
    return {"made": len(kept)}, kept


def timer(_):
    made = ctypes.c_void_p()
    if libc.timer_create(1, None, ctypes.byref(made)) == -1:
        raise OSError(ctypes.get_errno(), "timer_create")
    return made


def close(kept):
    for fd in kept:
        os.close(fd)


answers = {}
answers["files"], kept = many(1500, lambda _: os.open("/dev/null", os.O_RDONLY))
close(kept)
answers["epolls"], kept = many(1500, lambda _: os.pipe()[0])
answers["timers"], _ = many(6000, timer)
# Every other page has another protection, so that the kernel cannot make one region of them.
answers["maps"], maps = many(5000, lambda i: mmap.mmap(-1, 4096, prot=mmap.PROT_READ if i % 2 else mmap.PROT_WRITE))
maps.clear()
close(kept)
with tempfile.TemporaryFile() as file:
    answers["locks"], _ = many(5000, lambda i: fcntl.lockf(file, fcntl.LOCK_EX, 1, 2 * i) or i)
json.dump(answers, sys.stdout)
