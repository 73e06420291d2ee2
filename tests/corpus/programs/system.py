"""What the standard library asks of the kernel beyond files: maps, watches, signals, clocks, limits, terminals."""

import ctypes
import fcntl
import json
import locale
import mmap
import os
import pty
import resource
import select
import signal
import socket
import struct
import sys
import tempfile
import time
import zoneinfo
from datetime import datetime

seen = {}

with tempfile.TemporaryDirectory() as directory, tempfile.NamedTemporaryFile() as named, tempfile.TemporaryFile() as hidden:
    hidden.write(b"hidden")
    hidden.seek(0)
    seen["temporary"] = [os.path.dirname(directory), os.path.dirname(named.name), hidden.read().decode()]
    os.symlink("target", f"{directory}/link")
    os.link(named.name, f"{directory}/hard")
    seen["links"] = [os.readlink(f"{directory}/link"), os.stat(named.name).st_nlink]

with open("mapped", "w+b") as file:
    file.truncate(1 << 20)
    with mmap.mmap(file.fileno(), 0) as mapped:
        mapped[-5:] = b"hello"
        mapped.flush()
    file.seek(-5, os.SEEK_END)
    seen["mapped"] = file.read().decode()
anonymous = mmap.mmap(-1, 1 << 16)
child = os.fork()
if child == 0:
    anonymous[:5] = b"child"
    os._exit(7)
seen["forked"] = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), anonymous[:5].decode()]

ours, theirs = socket.socketpair()
with open("mapped", "rb") as file, theirs:
    size, sent = 1 << 20, 0
    theirs.setblocking(False)
    received = b""
    while sent < size or len(received) < size:
        if sent < size:
            try:
                sent += os.sendfile(theirs.fileno(), file.fileno(), sent, size - sent)
            except BlockingIOError:
                pass
        received += ours.recv(1 << 16)
    seen["sendfile"] = [len(received), received[-5:].decode()]
with open("mapped", "rb") as file, open("copied", "wb") as copy:
    os.copy_file_range(file.fileno(), copy.fileno(), 1 << 20)
    seen["copied"] = os.stat("copied").st_size
fcntl.lockf(os.open("copied", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)

libc = ctypes.CDLL(None, use_errno=True)
watch = libc.inotify_init1(os.O_CLOEXEC)
libc.inotify_add_watch(watch, b".", 0x100)
open("watched", "w").close()
ready, _, _ = select.select([watch], [], [], 30)
event = os.read(watch, 4096)
seen["inotify"] = event[16:16 + struct.unpack_from("iIII", event)[3]].rstrip(b"\0").decode()

poll = select.epoll()
poll.register(ours, select.EPOLLIN)
seen["epoll"] = len(poll.poll(30))

caught = []
signal.signal(signal.SIGALRM, lambda number, _: caught.append(signal.Signals(number).name))
signal.signal(signal.SIGUSR2, lambda number, _: caught.append(signal.Signals(number).name))
signal.setitimer(signal.ITIMER_REAL, 0.01)
while not caught:
    time.sleep(0.01)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
os.kill(os.getpid(), signal.SIGUSR2)
seen["pending"] = signal.SIGUSR2 in signal.sigpending()
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
seen["signals"] = caught

spawned = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 5"], {}, setsigmask=[])
watched = os.pidfd_open(spawned)
select.select([watched], [], [], 30)
seen["spawned"] = os.waitstatus_to_exitcode(os.waitpid(spawned, 0)[1])

terminal, other = pty.openpty()
os.write(other, b"typed\n")
seen["terminal"] = [os.isatty(other), os.read(terminal, 100).decode()]
counter = os.eventfd(3)
seen["eventfd"] = os.eventfd_read(counter)

locale.setlocale(locale.LC_ALL, "")
seen["encoding"] = locale.getpreferredencoding()
seen["collated"] = sorted("bAaB", key=locale.strxfrm)
noon = datetime(2024, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("Asia/Kolkata"))
seen["zone"] = noon.astimezone(zoneinfo.ZoneInfo("America/New_York")).isoformat()
seen["clocks"] = [
    time.clock_gettime(getattr(time, f"CLOCK_{name}")) > 0
    for name in ("REALTIME", "MONOTONIC", "BOOTTIME", "PROCESS_CPUTIME_ID", "THREAD_CPUTIME_ID")
]
seen["random"] = len(os.getrandom(16) + os.urandom(16))

resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
seen["limit"] = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
usage = resource.getrusage(resource.RUSAGE_SELF)
seen["usage"] = usage.ru_maxrss > 1000 and usage.ru_utime > 0
seen["page"] = resource.getpagesize() == mmap.PAGESIZE
seen["interfaces"] = [name for _, name in socket.if_nameindex()]
seen["host"] = socket.gethostname()
seen["cpus"] = os.cpu_count() >= len(os.sched_getaffinity(0)) >= 1
seen["nice"] = os.nice(0) >= 0
os.sched_yield()
os.sched_setaffinity(0, os.sched_getaffinity(0))
seen["load"] = len(os.getloadavg())
seen["space"] = os.statvfs("/tmp").f_bavail > 0

with open("/proc/self/status") as status:
    fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
seen["status"] = [fields["Name"].startswith("python3"), fields["Uid"].split(), int(fields["VmRSS"].split()[0]) > 1000]
seen["proc"] = [
    len(os.listdir("/proc/self/fd")) > 3,
    os.path.basename(os.readlink("/proc/self/exe")).startswith("python3"),
    len(open("/proc/self/stat").read().split()) >= 52,
    "[stack]" in open("/proc/self/maps").read(),
    "MemTotal" in open("/proc/meminfo").read(),
    "processor" in open("/proc/cpuinfo").read(),
    open("/proc/self/cmdline", "rb").read().startswith(sys.executable.encode()),
]
print(json.dumps(seen))
