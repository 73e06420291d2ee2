"""Reads what the kernel tells about itself, the machine and its mounts. Asked: {"files": [...]}."""

import errno
import json
import os
import sys


def read(path):
    try:
        # The kernel's log would have us wait for its next line.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return {"text": file.read(1 << 20).decode(errors="replace")}
    except OSError as error:
        return {"errno": errno.errorcode[error.errno]}


json.dump({path: read(path) for path in json.load(sys.stdin)["files"]}, sys.stdout)
