"""Asks which pages of files are in the page cache, after having asked the kernel to drop them. Asked: {"files": [...]}."""

import ctypes
import json
import mmap
import os
import sys

asked = json.load(sys.stdin)
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def pages(path):
    file = os.open(path, os.O_RDONLY)
    size = os.fstat(file).st_size
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file, 0)
    count = -(-size // mmap.PAGESIZE)
    present = ctypes.create_string_buffer(count)
    failed = libc.mincore(address, size, present)
    libc.munmap(address, size)
    os.close(file)
    return {"pages": count, "present": None if failed else sum(byte & 1 for byte in present.raw[:count])}


json.dump({path: pages(path) for path in asked["files"]}, sys.stdout)
