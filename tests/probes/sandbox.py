"""What a Python program can see of its sandbox, as far as it must not depend on how the sandbox was made."""

import json
import os
import resource
import signal
import socket
import sys


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError as error:
        return type(error).__name__


def status(process, names):
    lines = (line.split(":", 1) for line in read(f"/proc/{process}/status").splitlines())
    return {name: value.split() for name, value in lines if name.startswith(names)}


def mounts():
    """By place: how, what kind, with which options. What is mounted there is a path of the host, and not the same."""
    for line in read("/proc/self/mountinfo").splitlines():
        before, after = (part.split() for part in line.split(" - "))
        options = [option for option in after[2].split(",") if not option.startswith("mode=")]
        # A later one covers an earlier one.
        yield before[4], [before[5], after[0], options]


def entries(directory):
    for name in sorted(os.listdir(directory)):
        # The kernel makes this one anew with its own owner.
        if os.path.join(directory, name) != "/dev/pts":
            found = os.lstat(os.path.join(directory, name))
            yield [name, oct(found.st_mode), found.st_uid, found.st_gid]


def descriptors():
    for number in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{number}").split(":")[0]
        except OSError:
            pass  # The one that lists.


seen = {
    "status": status("self", ("Cap", "Seccomp", "Sig", "Shd", "NoNewPrivs", "Uid", "Gid", "Groups", "Umask", "Threads")),
    "init": status("1", ("Cap", "Seccomp", "NoNewPrivs", "Uid", "Gid")),
    "mounts": dict(mounts()),
    "entries": {
        directory: list(entries(directory))
        for directory in ("/", "/dev", "/dev/shm", "/tmp", "/etc", "/sbx", "/code", "/var", "/workspace") if os.path.isdir(directory)
    },
    "processes": len([name for name in os.listdir("/proc") if name.isdigit() and read(f"/proc/{name}/comm") != "launch\n"]),
    "kernel": [read("/proc/self/oom_score_adj"), read("/proc/self/setgroups"), read("/proc/self/autogroup") != ""],
    "writable": [path for path in ("/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/sys/user/max_user_namespaces")
                 if os.access(path, os.W_OK)],
    "descriptors": sorted(descriptors()),
    "limits": {name: resource.getrlimit(getattr(resource, name))
               for name in dir(resource) if name.startswith("RLIMIT_") and name != "RLIMIT_NPROC"},
    "environment": dict(os.environ),
    "network": [line.split(":")[0].strip() for line in read("/proc/net/dev").splitlines()[2:]],
    "host name": socket.gethostname(),
    "process": [os.nice(0), os.getpgid(0) == os.getpid(), os.getsid(0) == 1, os.getcwd()],
    "signals": [str(signal.getsignal(number)) for number in range(1, 32)],
    "python": [sys.path, str(sys.flags), sys.argv, sys.orig_argv, __name__, sorted(vars(sys.modules["__main__"]))[:8],
               sys.stdin.encoding, sys.stdout.line_buffering, sys.stdout.errors, sys.stderr.errors],
}
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
    seen["loopback"] = "answers"
print(json.dumps(seen))
