"""Tries every way to change directories and what is in them. Asked: {"directories": [...]}."""

import errno
import json
import os
import sys

answers = {}


def attempt(what, action):
    try:
        action()
        answers[what] = {}
    except OSError as error:
        answers[what] = {"errno": errno.errorcode[error.errno]}


def some_file(directory):
    with os.scandir(directory) as entries:
        return next((entry.path for entry in entries if entry.is_file(follow_symlinks=False)), None)


for directory in json.load(sys.stdin)["directories"]:
    new = f"{directory}/sandbox-executor-probe"
    attempt(f"create {new}", lambda: os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL)))
    attempt(f"mkdir {new}.d", lambda: os.mkdir(f"{new}.d"))
    attempt(f"symlink {new}.l", lambda: os.symlink("/", f"{new}.l"))
    attempt(f"chmod {directory}", lambda: os.chmod(directory, 0o777))
    attempt(f"utime {directory}", lambda: os.utime(directory, (0, 0)))
    attempt(f"setxattr {directory}", lambda: os.setxattr(directory, "user.probe", b"x"))
    file = some_file(directory)
    if file is not None:
        attempt(f"append to {file}", lambda: os.close(os.open(file, os.O_WRONLY | os.O_APPEND)))
        attempt(f"truncate {file}", lambda: os.truncate(file, os.path.getsize(file)))
        attempt(f"chmod {file}", lambda: os.chmod(file, 0o777))
        attempt(f"rename {file}", lambda: os.rename(file, file + "-moved"))

json.dump(answers, sys.stdout)
