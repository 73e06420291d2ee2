"""The fork server: one interpreter that has booted, and makes a sandbox of a copy of itself whenever it is asked to.

    control socket ── flags, descriptors ──► clone into new namespaces ──► the sandbox's init ──► the program's process
                   ◄── a pidfd of init ──────┘                             builds, fork           limits; runner.main()

It runs inside bubblewrap and never runs user code, so a sandbox is as untouched as a new one. What is a sandbox's own (where its
workspace is, its limits) is read by the copy, never by the server: what the server has never known it can't pass on to the next.

Between the boot and a copy that only has to run its job everything is done by a library, `forker.so`: Python writes wherever it
reads, and every page that a copy writes to has to be copied. The server does not come back from there; a copy does, built, limited,
and under the filter.

The copy's memory is the server's: the same addresses and hash seed in every sandbox of one server, which is why the
daemon replaces it now and then. Random states are made anew.
"""

import ctypes
import os
import sys

# The runner is beside this file, and is all of that directory that may be imported.
sys.path.insert(0, "/sbx")
import runner  # noqa: E402

sys.path.pop(0)
sys.path_importer_cache.pop("/sbx", None)
runner.boot_path = list(sys.path)

# Where a copy has the ends of its channel to the daemon.
JOB, REPORT = 37, 38

A_WHILE_MS = 100

# It keeps the interpreter's lock, as os.fork() does: the copy has only this thread.
libc = ctypes.PyDLL(None)
forker = ctypes.PyDLL("/sbx/forker.so")
# Looked up here: a copy would have to copy what that writes to.
poll = libc["poll"]
run_exit_handlers, flush_streams, after_fork = libc["__cxa_finalize"], libc["fflush"], libc["PyOS_AfterFork_Child"]


class Awaited(ctypes.Structure):
    """struct pollfd"""

    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("happened", ctypes.c_short))


POLLIN = 1
a_job = ctypes.byref(Awaited(JOB, POLLIN))


class Failed(Exception):
    """A step that could not be taken."""


def preload(names):
    for name in names:
        try:
            __import__(name)
        except BaseException as error:
            raise Failed(f"import of {name}: {str(error) or type(error).__name__}") from None
    # A fork has libraries end their threads (OpenBLAS); others' threads stay, and would be missing in every copy.
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise Failed(f"preloading: {threads - 1} threads run after it; leave out the module that starts them")


def finalize():
    """What the C library's exit() does, but for the end."""
    run_exit_handlers(None)
    flush_streams(None)


def has_time():
    """Whether no job comes for a while. Where they come one after the other, a rehearsal would only cost what it saves."""
    return poll(a_job, 1, A_WHILE_MS) == 0


def renew_random_states():
    """`random` does so by itself. What these keep is not a function of the process's number alone."""
    if "_ssl" in sys.modules:
        sys.modules["_ssl"].RAND_add(os.urandom(64), 64.0)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def pretend():
    """What a program sees is what it would see had this process been started with the runner."""
    started_with = len(sys.argv)
    sys.argv = [runner.__file__, str(JOB), str(REPORT)]
    runner.original_argv[-started_with:] = sys.argv
    runner.finalize, runner.has_time = finalize, has_time


def main():
    control_fd, report_fd = int(sys.argv[-2]), int(sys.argv[-1])
    runner.runner_pid, runner.report_fd = os.getpid(), report_fd
    try:
        preload(sys.argv[1:-2])
    except Failed as failed:
        runner.say(f"{failed}\n")
        raise SystemExit(1) from None
    pretend()
    runner.gc.collect()
    # After it the collector leaves alone what is there: it would write to every object, and each copy get pages of its own.
    runner.boot()
    runner.send(b'{"type":"ready"}')
    os.close(report_fd)
    libc.PyOS_BeforeFork()
    forker.serve(control_fd)
    # From here on this is a copy.
    after_fork()
    renew_random_states()


if __name__ == "__main__":
    main()
    # Here, and not in there: what is on the stack of the program's process is nobody's business.
    runner.main(JOB, REPORT)
