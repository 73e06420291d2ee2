"""The Python runner: boots inside a sandbox, runs one job, and says on a private pipe what came of it.

The frames it speaks are described in channel.md. It runs one program, once, and its sandbox dies with it.

It must never run anything of a job before `ready`, write to the program's stdout, or read its stdin. User code may
replace whatever it can reach (`json.dumps`, `sys.stdout`, `os.write`), so everything used after it is captured here,
at boot. That keeps honest programs from breaking their own result; it does not protect against hostile ones, which
share this process and can forge any frame. The daemon treats every frame as a claim.

It is one long file because a sandbox mounts one file and compiles it at every boot.
"""

import atexit
import gc
import os
import sys
import time

# The C code behind `json`. The module itself pulls in `re` and `enum`, a third of the whole boot.
from _json import encode_basestring, make_encoder, make_scanner
from _signal import SIGSTOP
from math import isfinite

# Events and results may be nested this deep. CPython's own limit of 1,000 is too low, and the C code behind `json`
# needs about 100 bytes of an 8 MiB stack for each level.
MAX_NESTING = 20_000

HOW_TO_DEFINE = "define handler(event) or handler(event, context)"

write, getpid, fstat, kill, leave, now = os.write, os.getpid, os.fstat, os.kill, os._exit, time.time
builtin_excepthook = sys.__excepthook__
boot_path, modules = list(sys.path), sys.modules
original_argv = getattr(sys, "orig_argv", [])  # Python has it since 3.10.
runner_pid = -1
out, err = sys.stdout, sys.stderr
report_fd = -1
report_pipe = None
code_dir = last_boot_module = None

# In a copy of a fork server, which does not end the interpreter: what the C library does at the end of a process.
finalize = None
# There, too: whether no job comes for a while.
has_time = None

# Freed when an allocation was refused, so that there is room to say so. Untouched zero pages cost nothing at boot.
reserve = [bytes(1 << 20)]


class Refusal(Exception):
    """What the program was asked to do is impossible, and `sentence` tells its author why."""

    def __init__(self, kind, sentence):
        self.kind, self.sentence = kind, sentence


class Context:
    """The second argument of a handler."""

    __slots__ = ("execution_id", "deadline_ms")
    __module__ = "sandbox"

    def __init__(self, execution_id, deadline_ms):
        self.execution_id, self.deadline_ms = execution_id, deadline_ms

    def get_remaining_time_in_millis(self):
        return max(0, self.deadline_ms - int(now() * 1000))


class Syntax:
    """What the parser wants to know: JSON as the daemon has checked it, nothing turned into anything else."""

    strict, object_hook, object_pairs_hook, parse_float, parse_int, memo = True, None, None, float, int, {}
    parse_constant = float


def encode_json(value):
    """Strict JSON. ValueError for NaN, infinities and circles, TypeError for what is no JSON, as in `json.dumps`."""
    if isinstance(value, str):
        return encode_basestring(value)
    encode = make_encoder({}, not_json, encode_basestring, None, ":", ",", False, False, False)
    return "".join(encode(value, 0))


def not_json(value):
    raise TypeError(f"{type(value).__name__} is not JSON")


parse_json = make_scanner(Syntax)


class Nesting:
    """Raises the recursion limit for as long as deep JSON is parsed or written."""

    def __enter__(self):
        self.before = sys.getrecursionlimit()
        sys.setrecursionlimit(max(self.before, MAX_NESTING))

    def __exit__(self, *_):
        sys.setrecursionlimit(self.before)


# The two ends of the channel ---------------------------------------------------------------------------------------


def write_all(fd, data):
    count = write(fd, data)
    while count < len(data):
        data = memoryview(data)[count:]
        count = write(fd, data)


def send(payload):
    """Whether it could be said."""
    # A child that user code forked also arrives here when it returns; only the runner itself may speak.
    if getpid() != runner_pid:
        return False
    try:
        write_all(report_fd, len(payload).to_bytes(4, "big") + payload)
    except OSError:
        return False  # The program closed the pipe. The daemon sees how the process ends.
    return True


def send_error(kind, limit=None):
    send(b'{"type":"error","kind":"%s"%s}' % (kind.encode(), b',"limit":"%s"' % limit.encode() if limit else b""))


def read_exactly(fd, size):
    buffer = bytearray(size)
    view = memoryview(buffer)
    while view:
        count = os.readv(fd, [view])
        if count == 0:
            raise SystemExit(0)  # The daemon has no job for this sandbox any more.
        view = view[count:]
    return buffer


def receive_job(job_fd):
    frame = read_exactly(job_fd, int.from_bytes(read_exactly(job_fd, 4), "big"))
    os.close(job_fd)
    # The daemon has bounded the frame, so a long integer costs no more than the same program could spend itself.
    digits = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        with Nesting():
            return parse_json(str(frame, "utf-8"), 0)[0]
    except RecursionError:
        raise Refusal("input", "the event is nested too deeply") from None
    finally:
        sys.set_int_max_str_digits(digits)


# Before the program ------------------------------------------------------------------------------------------------


def write_input_file(path, content, encoding):
    try:
        if encoding == "base64":
            from binascii import a2b_base64

            content = a2b_base64(content)
        else:
            content = content.encode()
        if os.path.dirname(path):
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
            except FileExistsError:
                pass  # A parent is a file; opening says so better: "Not a directory".
        write_file(path, content)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Refusal("input", f"cannot write input file '{path}': {reason}") from None


def write_file(path, content):
    # A FIFO that an earlier run left here must fail, not block for ever: O_NONBLOCK.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        write_all(fd, content)
    finally:
        os.close(fd)


def prepare(job):
    """Environment, input files and the program's own file. Returns the path of the last."""
    for name, value in job["env"].items():
        os.environ[name] = value
    if "TZ" in job["env"]:
        time.tzset()
    for file in job["files"]:
        write_input_file(file["path"], file["content"], file.get("encoding", "utf8"))
    path = os.path.join(code_dir, "main.py")
    try:
        write_file(path, job["code"].encode())
    except OSError as error:
        raise Refusal("input", f"cannot write the program to {path}: {error.strerror}") from None
    sys.argv = [path]
    original_argv[-3:] = sys.argv
    # The workspace comes first only now that the runner has what it needs from the standard library. The code's own
    # folder is for children that multiprocessing spawns: they import the program by name.
    sys.path[:] = [os.getcwd(), *boot_path, code_dir]
    return path


# The program -------------------------------------------------------------------------------------------------------


def standard_module(name):
    """Imports from the standard library even where the workspace has a file of that name."""
    path, sys.path = sys.path, list(boot_path)
    try:
        return __import__(name)
    finally:
        sys.path = path


def run_module(source, path, name):
    """Runs the program in a module of its own. Under a handler its name is not `__main__`, as where functions are
    imported by their platform, so its `if __name__ == "__main__":` block is left alone."""
    module = type(sys)(name)
    module.__file__ = path
    module.__builtins__ = sys.modules["builtins"]
    sys.modules[name] = sys.modules["__main__"] = module
    exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    return module


def takes_context(handler):
    """Whether handler(event, context) can be called, or only handler(event)."""
    if type(handler) is type(takes_context) and not handler.__dict__:
        code = handler.__code__
        most = code.co_argcount if not code.co_flags & 0x04 else 2 + code.co_argcount  # 0x04: has *args
        required = code.co_argcount - len(handler.__defaults__ or ())
        keywords = code.co_kwonlyargcount - len(handler.__kwdefaults__ or ())
    else:
        try:
            parameters = standard_module("inspect").signature(handler).parameters.values()
        except (ValueError, TypeError):
            return False  # Some builtins cannot say what they take.
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        most = len(positional) + 2 * any(p.kind is p.VAR_POSITIONAL for p in parameters)
        required = sum(p.default is p.empty for p in positional)
        keywords = sum(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters)
    if most == 0 or required > 2 or keywords > 0:
        takes = f"needs {keywords} keyword argument(s)" if keywords > 0 else f"takes {required} argument(s)"
        raise Refusal("exception", f"TypeError: handler {takes}; {HOW_TO_DEFINE}")
    return most >= 2


async def settle(awaitable):
    return await awaitable


def call_handler(module, event, context):
    handler = getattr(module, "handler", None)
    if handler is None:
        raise Refusal("no_handler", f'no handler: {HOW_TO_DEFINE}, or send "mode": "script"')
    if not callable(handler):
        raise Refusal("no_handler", f"handler is not callable, it is {a_type(handler)}: {HOW_TO_DEFINE}")
    value = handler(event, context) if takes_context(handler) else handler(event)
    if hasattr(type(value), "__await__"):
        value = standard_module("asyncio").run(settle(value))
    return value


# What it returned --------------------------------------------------------------------------------------------------


def a_type(value):
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def plain(value, path, parents):
    """A copy of `value` with null for NaN and the infinities; refuses what JSON cannot say, naming where it is.
    `path` is (path of the parent, key), so that nothing is formatted until something is wrong."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, int):
        try:
            int.__repr__(value)
        except ValueError:
            refuse(path, f"is an integer of more than {sys.get_int_max_str_digits()} digits")
        return value
    if not isinstance(value, (dict, list, tuple)):
        refuse(path, f"is {a_type(value)}")
    if id(value) in parents:
        refuse(path, "refers to itself")
    parents.add(id(value))
    if isinstance(value, dict):
        copy = {}
        for key, item in value.items():
            if not (key is None or isinstance(key, (str, int, float))):
                refuse(path, f"has a key that is {a_type(key)}: {key!r}")
            if isinstance(key, float) and not isfinite(key):
                refuse(path, f"has the key {key!r}")
            copy[key] = plain(item, (path, key), parents)
    else:
        copy = []
        for index, item in enumerate(value):
            copy.append(plain(item, (path, index), parents))
    parents.discard(id(value))
    return copy


def refuse(path, what):
    keys = []
    while path:
        path, key = path
        keys.append(f"[{encode_json(key) if isinstance(key, str) else repr(key)}]")
    where = "value" + ("".join(reversed(keys)) if len(keys) <= 20 else "".join(keys[:-21:-1]) + "[…]")
    raise Refusal("result", f"return value is not JSON: {where} {what}")


def to_json(value, max_bytes):
    try:
        with Nesting():
            try:
                text = encode_json(value)
            except (TypeError, ValueError):
                text = encode_json(plain(value, None, set()))
    except RecursionError:
        raise Refusal("result", "return value is not JSON: value is nested too deeply") from None
    try:
        data = text.encode()
    except UnicodeEncodeError:  # Lone surrogates are not Unicode text; UTF-16 joins the pairs and replaces the rest.
        data = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
    if len(data) > max_bytes:
        raise Refusal("result", f"return value is too large: {len(data)} bytes as JSON, at most {max_bytes} are kept")
    return data


# What went wrong ---------------------------------------------------------------------------------------------------

# User code is entered from these functions: whatever is above them in a traceback is the runner's own business.
ENTRIES = {function.__code__ for function in (run_module, takes_context, call_handler, settle, plain, encode_json, to_json)}
FORKS = {"fork", "forkpty", "fork_exec", "_fork_exec", "posix_spawn", "posix_spawnp"}


class Buffer(list):
    """What the builtin traceback printer needs of a file."""

    write, flush = list.append, staticmethod(lambda: None)


def frames_of(error):
    tb = error.__traceback__
    while tb is not None:
        yield tb
        tb = tb.tb_next


def limit_behind(error):
    """The limit, if `error` is how one shows itself inside the sandbox."""
    if isinstance(error, MemoryError) or isinstance(error, OSError) and error.errno == 12:  # ENOMEM
        return "memory"
    if isinstance(error, OSError) and error.errno == 27:  # EFBIG
        return "file_size"
    if isinstance(error, RuntimeError) and "can't start new thread" in error.args:
        return "processes"
    if isinstance(error, BlockingIOError):
        # EAGAIN is also what a non-blocking socket says; a refused fork comes from code that forks.
        names = [tb.tb_frame.f_code.co_names for tb in frames_of(error)]
        if names and not FORKS.isdisjoint(names[-1]):
            return "processes"
    return None


def show(error):
    """Prints what CPython would print, to the real stderr, whatever has become of sys.stderr."""
    own = [tb for tb in frames_of(error) if tb.tb_frame.f_code in ENTRIES]
    error.__traceback__ = own[-1].tb_next if own else error.__traceback__
    text, kept = Buffer(), getattr(sys, "stderr", None)
    if getattr(sys, "excepthook", builtin_excepthook) is not builtin_excepthook:
        try:
            return sys.excepthook(type(error), error, error.__traceback__)
        except BaseException:
            pass  # The program's own hook is broken: the builtin one still works.
    sys.stderr = text
    try:
        builtin_excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stderr = kept
    say("".join(text))


def say(text):
    try:
        write_all(2, text.encode("utf-8", "backslashreplace"))
    except OSError:
        pass  # The program closed its stderr.


def flush_streams():
    for stream in (out, err):
        try:
            stream.flush()
        except Exception:
            pass  # Closed, replaced, or its reader is gone.


def report_exception(error):
    limit = limit_behind(error)
    if limit == "memory":
        reserve.clear()
        for tb in frames_of(error):
            try:
                tb.tb_frame.clear()  # Lets go of the locals that used the memory up.
            except RuntimeError:
                pass  # The runner's own frames are still running.
    flush_streams()
    try:
        show(error)
    except BaseException:
        say(f"{type(error).__name__}\n")
    send_error("exception", limit)


def end(may_rest):
    """The end of a program that has come to its end, as the interpreter would make it, but for what was there before the program: in
    a copy of a fork server, destroying that would copy all of it first."""
    if finalize is None or len(sys._current_frames()) > 1:
        return
    if "threading" in modules:
        modules["threading"]._shutdown()
    atexit._run_exitfuncs()
    # Files that nobody closed are written, and what has a finalizer is finalized: in the order that a collection before has made,
    # a file's buffer before the file.
    gc.collect()
    for name in names_since_boot():
        module = modules.get(name)
        if isinstance(module, type(sys)) and str(vars(module).get("__file__")).startswith(("/workspace/", "/code/")):
            vars(modules.pop(name)).clear()
    gc.collect()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # Closed, replaced, or its reader is gone.
    finalize()
    if may_rest:
        rest()
    leave(0)


def names_since_boot():
    """Of modules. Not of all that are there: a copy of a fork server would get pages of its own by looking."""
    names = ["__main__"]
    for name in reversed(modules):
        if name == last_boot_module:
            break
        names.append(name)
    return names


def rest():
    """Says that only the end is left, and stops. Comes back where nobody hears it, and in a child of the program."""
    try:
        is_heard = which_file(report_fd) == report_pipe
    except OSError:
        is_heard = False  # The program closed the pipe.
    if is_heard and send(b'{"type":"exit","code":0}'):
        kill(runner_pid, SIGSTOP)


def which_file(fd):
    status = fstat(fd)
    return status.st_dev, status.st_ino


def boot():
    """What needs neither a job nor the channel to the daemon. A fork server does it once for all its copies."""
    global last_boot_module, code_dir
    code_dir = os.environ.pop("SANDBOX_CODE_DIR", "/code")
    out.reconfigure(line_buffering=True)  # What was printed survives a kill.
    rehearse()
    last_boot_module = next(reversed(modules))
    # What is there already need not be collected again: the interpreter ends in a third of the time.
    gc.freeze()


def rehearse():
    """Goes the way of a job once, with a program that does nothing. What is done for the first time is slow (the first `compile` alone
    makes a hundred types), and in a copy of a fork server so is what is written to first: now nobody waits for that."""
    before = sys.modules["__main__"]
    source = b"def handler(event):\n    return event\n"
    write_file(os.devnull, source)
    job, _ = parse_json('{"event":{},"execution_id":"","deadline_ms":0}', 0)
    module = run_module(source, os.devnull, "main")
    to_json(call_handler(module, job["event"], Context(job["execution_id"], job["deadline_ms"])), 2)
    del sys.modules["main"]
    sys.modules["__main__"] = before
    flush_streams()


def main(job_fd, to_report):
    global report_fd, report_pipe, runner_pid
    runner_pid, report_fd, report_pipe = getpid(), to_report, which_file(to_report)
    send(b'{"type":"ready"}')
    if has_time is not None and has_time():
        rehearse()
    try:
        job = receive_job(job_fd)
        path = prepare(job)
        send(b'{"type":"started"}')
        if job["mode"] == "script":
            run_module(job["code"].encode(), path, "__main__")
        else:
            module = run_module(job["code"].encode(), path, "main")
            if job["mode"] == "handler" or callable(getattr(module, "handler", None)):
                context = Context(job["execution_id"], job["deadline_ms"])
                value = call_handler(module, job["event"], context)
                send(b'{"type":"result","value":%s}' % to_json(value, job["max_result_bytes"]))
        flush_streams()
        end(job.get("may_rest"))
        return
    except Refusal as refusal:
        flush_streams()
        say(refusal.sentence + "\n")
        send_error(refusal.kind)
    except Exception as error:
        report_exception(error)
    except SystemExit:
        raise
    except BaseException as error:  # KeyboardInterrupt and the like
        report_exception(error)
    raise SystemExit(1)


if __name__ == "__main__":
    boot()
    channel = int(sys.argv[-2]), int(sys.argv[-1])
    # A copy's are not.
    for fd in channel:
        os.set_inheritable(fd, False)
    main(*channel)
