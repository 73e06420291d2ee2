"""The fork server: one interpreter that has booted, and makes a sandbox of a copy of itself whenever it is asked to.

    control socket ── eight descriptors ──► clone into new namespaces ──► the sandbox's init ──► the program's process
                   ◄── a pidfd of init ──        │                         filter; waits          mounts, limits, filter;
                                                 └─ goes on serving                               runner.main()

It runs inside bubblewrap and never runs user code, so a sandbox is as untouched as a new one. What is a sandbox's own (where its
workspace is, its limits) is read by the copy, never by the server: what the server has never known it can't pass on to the next.

What a sandbox is made of is decided by the daemon (`plan.rs`); this carries the order out, step by step, or says which step
failed. The copy's memory is the server's: the same addresses and hash seed in every sandbox of one server, which is why the
daemon replaces it now and then. Random states are made anew.

The first process of the new pid namespace stays: it waits for the program and says how it ended. It is what launcher and init are
in other sandboxes, and like them is hidden from the program, holds back all signals, and is under the same filter.
"""

import ctypes
import fcntl
import os
import resource
import sys

import _signal
import _socket

# The runner is beside this file, and is all of that directory that may be imported.
sys.path.insert(0, "/sbx")
import runner  # noqa: E402

sys.path.pop(0)
sys.path_importer_cache.pop("/sbx", None)
runner.boot_path = list(sys.path)

# From sched.h, mount.h, prctl.h, capability.h and pidfd.h; the same on all processors.
CLONE_PIDFD = 0x1000
NAMESPACES = 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC = 2, 4, 8, 4096, 16384
MNT_DETACH = 2
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 4, 22, 24, 47, 4
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522
SIOCSIFFLAGS, IFF_UP_AND_RUNNING = 0x8914, 0x41
SYS_CLONE = {"x86_64": 56, "aarch64": 220}

# What the root of every sandbox is built at.
ROOT = "/sandbox"
# Where the copy finds what it was sent, in the order in which it is sent.
ORDER, GATE, STDIN, STDOUT, STDERR, JOB, REPORT, VERDICT = range(8)
HIGH = 32
# A program may stop itself, and a child of it have it go on, as often as it likes. The daemon hears of so many.
MOST_STOPS = 100

with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
    last_capability = int(file.read())

# It keeps the interpreter's lock, as os.fork() does: the copy has only this thread.
libc = ctypes.PyDLL(None, use_errno=True)
interpreter = ctypes.pythonapi


def call(name, *arguments):
    result = getattr(libc, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def mount(source, target, kind, flags, options=None):
    text = [part and part.encode() for part in (source, target, kind, options)]
    call("mount", *text[:3], ctypes.c_ulong(flags), text[3])


def write_file(path, text):
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


class Failed(Exception):
    """A step that could not be taken."""


class step:
    """Names what is being done, for whoever has to say why it failed."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        pass

    def __exit__(self, kind, error, _traceback):
        if kind is not None and not issubclass(kind, Failed):
            raise Failed(self.name, str(error) or kind.__name__) from None


# The server --------------------------------------------------------------------------------------------------------


class Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def read_filter(names):
    """The programs of the filter, as the kernel takes them, and the memory they lie in."""
    programs = []
    for name in names:
        with open(name, "rb") as file:
            code = ctypes.create_string_buffer(file.read())
        programs.append((Program((len(code) - 1) // 8, ctypes.addressof(code)), code))
    return programs


def preload(names):
    for name in names:
        with step(f"import of {name}"):
            __import__(name)
    # A fork has libraries end their threads (OpenBLAS); others' threads stay, and would be missing in every copy.
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise Failed("preloading", f"{threads - 1} threads run after it; leave out the module that starts them")


def reap(*_):
    """Whoever has ended was a sandbox's init: the daemon has seen it."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def fork_into_namespaces():
    """0 in the copy, and its pidfd here. The C library's fork() can't make namespaces."""
    pidfd = ctypes.c_int(-1)
    interpreter.PyOS_BeforeFork()
    flags = ctypes.c_ulong(NAMESPACES | CLONE_PIDFD | _signal.SIGCHLD)
    pid = libc.syscall(SYS_CLONE[os.uname().machine], flags, None, ctypes.byref(pidfd), None, None)
    number = ctypes.get_errno()
    if pid == 0:
        interpreter.PyOS_AfterFork_Child()
        return 0
    interpreter.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(number, os.strerror(number))
    return pidfd.value


def serve(control):
    """Makes a sandbox for every message. Comes back only in a copy, with what it was sent; the server ends here."""
    room = _socket.CMSG_SPACE(4 * 16)
    while True:
        message, rights, _flags, _address = control.recvmsg(64, room, _socket.MSG_CMSG_CLOEXEC)
        if not message:
            raise SystemExit(0)
        sent = [
            int.from_bytes(data[at : at + 4], sys.byteorder)
            for _level, _kind, data in rights
            for at in range(0, len(data), 4)
        ]
        # A child is born where its parent is: in the cgroups of the first half of the rest. The second half leads back.
        cgroups = sent[VERDICT + 1 :]
        enter, leave = cgroups[: len(cgroups) // 2], cgroups[len(cgroups) // 2 :]
        answer, pidfd = b"ok", -1
        try:
            for tasks in enter:
                os.write(tasks, b"0")
            pidfd = fork_into_namespaces()
        except OSError as error:
            answer = str(error).encode()
        if pidfd == 0:
            return sent
        for tasks in leave:
            try:
                os.write(tasks, b"0")
            except OSError:
                pass  # The next child's cgroups take it away.
        for fd in sent:
            os.close(fd)
        if pidfd < 0:
            control.send(answer)
        else:
            control.sendmsg([answer], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, pidfd.to_bytes(4, sys.byteorder))])
            os.close(pidfd)


# The sandbox's init ------------------------------------------------------------------------------------------------


def become_init(sent, filter_programs):
    """Stays as the first process of the new namespaces. Comes back only in its child, which is to be the program.

    Every page that a copy writes to is copied: so whatever can be left to the child is, and this does little.
    """
    child = 0
    try:
        with step("descriptors"):
            keep_only(sent)
        with step("OOM score"):
            write_file("/proc/self/oom_score_adj", "1000")
        with step("user namespace"):
            write_file("/proc/self/uid_map", "1000 1000 1")
            write_file("/proc/self/gid_map", "1000 1000 1")
        with step("session"):
            os.setsid()
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, _signal.valid_signals())
        with step("memory"):
            call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)
        with step("cgroup"):
            # Everything from here on counts as the run's.
            if os.read(HIGH + GATE, 1) != b"1":
                raise OSError("the daemon does not want it any more")
        with step("fork"):
            child = os.fork()
        if child == 0:
            return
        drop_rights(filter_programs)
    except Failed as failed:
        give_up(failed)
    os.closerange(0, 3)
    os.closerange(HIGH, HIGH + VERDICT)
    stops = 0
    while True:
        # As often as the launcher does elsewhere.
        changed, status, usage = os.wait4(-1, os.WUNTRACED if stops < MOST_STOPS else 0)
        if changed == child and not os.WIFSTOPPED(status):
            break
        if changed == child:
            stops += 1
            say_verdict(b'{"Stopped":{%s}}' % spent(usage, usage))
    end = b'"Signaled":%d' % os.WTERMSIG(status) if os.WIFSIGNALED(status) else b'"Exited":%d' % os.WEXITSTATUS(status)
    spent_by_all = spent(usage, resource.getrusage(resource.RUSAGE_CHILDREN))
    say_verdict(b'{"Ended":{"end":{%s},"spent":{%s}}}' % (end, spent_by_all))
    os._exit(0)


def spent(usage, blocks):
    return b'"cpu_us":%d,"max_resident":%d,"blocks_read":%d,"blocks_written":%d' % (
        int((usage.ru_utime + usage.ru_stime) * 1e6),
        usage.ru_maxrss * 1024,
        blocks.ru_inblock,
        blocks.ru_oublock,
    )


def keep_only(sent):
    """Nothing else is open afterwards, and what was sent has the numbers that follow HIGH."""
    kept = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH) for fd in sent[: VERDICT + 1]]
    if kept != list(range(HIGH, HIGH + len(kept))):
        raise OSError("descriptors are not where they should be")
    os.closerange(0, HIGH)
    os.closerange(HIGH + len(kept), 1 << 20)
    for standard, fd in enumerate((STDIN, STDOUT, STDERR)):
        os.dup2(HIGH + fd, standard, inheritable=True)
        os.close(HIGH + fd)


def drop_rights(filter_programs):
    with step("capabilities"):
        call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        for capability in range(last_capability + 1):
            call("prctl", PR_CAPBSET_DROP, capability, 0, 0, 0)
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        call("capset", header, (ctypes.c_uint32 * 6)())
    with step("system call filter"):
        for program, _code in filter_programs:
            call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)


def to_json(text):
    return runner.encode_json(text).encode()


def give_up(failed):
    """Says which step could not be taken, and ends this process."""
    name, why = failed.args
    say_verdict(b'{"Failed":{"stage":%s,"error":%s}}' % (to_json(name), to_json(why)))
    os._exit(1)


def say_verdict(line):
    """The first that is said of an end counts."""
    try:
        os.write(HIGH + VERDICT, line + b"\n")
    except OSError:
        pass  # The daemon is gone; then nobody is left to be told.


# The program's process ---------------------------------------------------------------------------------------------


def become_program(filter_programs):
    """Builds the sandbox, and then gives up the right to."""
    try:
        with step("order"):
            with open(HIGH + ORDER, "rb") as file:
                order = runner.parse_json(file.read().decode(), 0)[0]
        build(order)
        hold(order)
        drop_rights(filter_programs)
        with step("start"):
            begin(order)
    except Failed as failed:
        give_up(failed)


def build(order):
    if order["disable_user_namespaces"]:
        with step("user namespaces"):
            write_file("/proc/sys/user/max_user_namespaces", "0")
    with step("root"):
        # Mounts that came along can't be taken apart; a copy of them all can become the root.
        mount(ROOT, ROOT, None, MS_BIND | MS_REC)
    with step("/proc"):
        mount("proc", ROOT + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        for name in ("sys", "sysrq-trigger", "irq", "bus"):
            if os.access(f"{ROOT}/proc/{name}", os.W_OK):
                raise OSError(f"/proc/{name} can be written")
    for place, size in order["tmpfs"]:
        with step(place):
            mount("tmpfs", ROOT + place, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=1777,size={size}")
    with step("/dev/pts"):
        options = "newinstance,ptmxmode=0666,mode=620"
        mount("devpts", ROOT + "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, options)
    with step("workspace"):
        mount(order["workspace"], ROOT + "/workspace", None, MS_BIND)
    with step("change of root"):
        os.chdir(ROOT)
        call("pivot_root", b".", b".")
        call("umount2", b".", MNT_DETACH)
        os.chdir("/workspace")
    with step("loopback"):
        any_socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
        request = b"lo".ljust(16, b"\0") + IFF_UP_AND_RUNNING.to_bytes(2, sys.byteorder) + bytes(22)
        fcntl.ioctl(any_socket.fileno(), SIOCSIFFLAGS, request)
        any_socket.close()


def hold(order):
    for number, value in order["rlimits"]:
        with step(f"resource limit {number}"):
            value = value if (hard := resource.getrlimit(number)[1]) == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (value, value))
    os.umask(0o022)


def begin(order):
    os.setpgid(0, 0)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)
    os.close(HIGH + GATE)
    if order["instead"]:
        # The self test: a program of ours, which says by itself how it ends.
        for fd in (JOB, REPORT, VERDICT):
            os.set_inheritable(HIGH + fd, True)
        os.execv(order["instead"][0], order["instead"])
    os.close(HIGH + VERDICT)
    renew_random_states()
    # As if this process had been started with the runner.
    started_with = len(sys.argv)
    sys.argv = [runner.__file__, str(HIGH + JOB), str(HIGH + REPORT)]
    sys.orig_argv[-started_with:] = sys.argv
    runner.finalize = finalize


def finalize():
    """What the C library's exit() does, but for the end."""
    getattr(libc, "__cxa_finalize")(None)
    libc.fflush(None)


def renew_random_states():
    """`random` does so by itself. What these keep is not a function of the process's number alone."""
    if "_ssl" in sys.modules:
        sys.modules["_ssl"].RAND_add(os.urandom(64), 64.0)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def main():
    control_fd, report_fd = int(sys.argv[-2]), int(sys.argv[-1])
    names = sys.argv[1:-2]
    control = _socket.socket(fileno=control_fd)
    runner.runner_pid, runner.report_fd = os.getpid(), report_fd
    filter_programs = read_filter(name for name in names if name.startswith("/"))
    try:
        preload([name for name in names if not name.startswith("/")])
    except Failed as error:
        runner.say(": ".join(error.args) + "\n")
        raise SystemExit(1) from None
    _signal.signal(_signal.SIGCHLD, reap)
    runner.gc.collect()
    # The collector would write to every object, and each copy get pages of its own.
    runner.gc.freeze()
    runner.send(b'{"type":"ready"}')
    os.close(report_fd)
    become_init(serve(control), filter_programs)
    become_program(filter_programs)


if __name__ == "__main__":
    main()
    # Here, and not in there: what is on the stack of the program's process is nobody's business.
    runner.main()
