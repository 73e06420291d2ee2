"""What the Python runner promises: see contract.md and channel.md."""

import json
import os
import resource
import subprocess
import unittest

from harness import PYTHON, RunnerTest, read_frames, without_processes

MANY = 1 << 20


def address_space(limit):
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


class Handlers(RunnerTest):
    command = PYTHON

    def test_whatever_can_be_called_with_an_event_is_a_handler(self):
        for code in [
            "def handler(event): return event",
            "def handler(event, context): return event",
            "def handler(event, context=None): return event",
            "def handler(event, a=1, b=2, c=3): return event",
            "def handler(*args): return args[0] if len(args) == 2 else None",
            "def handler(event, *, option=1): return event",
            "async def handler(event): return event",
            "import asyncio\nasync def handler(event, context):\n    await asyncio.sleep(0.01)\n    return event",
            "handler = lambda event: event",
            "import functools\nhandler = functools.partial(lambda a, event: event, 1)",
            "class H:\n    def __call__(self, event): return event\nhandler = H()",
            "class H:\n    async def __call__(self, event, context): return event\nhandler = H()",
            "class H:\n    def run(self, event): return event\nhandler = H().run",
            "class handler(dict):\n    def __init__(self, event): super().__init__(event)",
            "import copy\nhandler = copy.copy",
            "handler = dict",
            (
                "import functools\ndef inner(event): return event\n"
                "@functools.wraps(inner)\ndef handler(*args, **kwargs): return inner(*args, **kwargs)"
            ),
        ]:
            with self.subTest(code=code):
                self.returns({"a": [1, None]}, code, {"a": [1, None]})

    def test_the_context_knows_the_execution_and_its_deadline(self):
        code = (
            "import time\ndef handler(event, context):\n    left = context.get_remaining_time_in_millis()\n"
            "    real = context.deadline_ms - time.time() * 1000\n"
            "    return [context.execution_id, type(left).__name__, abs(left - real) < 1000]"
        )
        self.returns(["exec_test", "int", True], code)

    def test_a_deadline_that_has_passed_leaves_no_time(self):
        self.returns(0, "def handler(e, c): return c.get_remaining_time_in_millis()", deadline_ms=1)

    def test_a_missing_handler_says_what_to_define(self):
        self.fails("no_handler", "x = 1", said=["define handler(event)", '"mode": "script"'])
        self.fails("no_handler", "handler = 5", said=["it is an int", "define handler(event)"])

    def test_a_handler_that_cannot_take_an_event_says_what_to_define(self):
        for code in [
            "def handler(): pass",
            "def handler(a, b, c): pass",
            "def handler(event, *, key): pass",
            "class H:\n    def __call__(self): pass\nhandler = H()",
        ]:
            with self.subTest(code=code):
                self.fails("exception", code, said=["TypeError: handler ", "define handler(event)"])

    def test_auto_mode_calls_a_handler_where_there_is_one(self):
        self.returns(1, "def handler(event): return 1", mode="auto")
        self.is_script("handler = 5", mode="auto")

    def test_script_mode_never_calls_a_handler(self):
        self.is_script("def handler(event): raise Exception", mode="script")


class Results(RunnerTest):
    command = PYTHON

    def test_falsy_return_values_survive(self):
        for value in ["0", "''", "[]", "{}", "False", "None", "0.0"]:
            with self.subTest(value=value):
                self.returns(eval(value), f"def handler(e): return {value}")

    def test_json_values_arrive_as_they_are(self):
        for value, code in [
            (10**400, "10**400"),
            (2**53 + 1, "2**53 + 1"),
            ([None, 1, {"x": None}], "[float('nan'), 1, {'x': float('-inf')}]"),
            ([1, 2], "(1, 2)"),
            ({"0": 1, "true": 2, "null": 3, "1.5": 4}, "{0: 1, True: 2, None: 3, 1.5: 4}"),
            ({"1": None}, "{1: float('nan')}"),
            ("😀\u0000\u2028e\u0301", r"'😀\0\u2028e\u0301'"),
            ("a\ufffdb", r"'a\ud800b'"),
            ({"\ufffd": ["😀", None]}, r"{'\udfff': ['\ud83d\ude00', float('nan')]}"),
        ]:
            with self.subTest(code=code):
                self.returns(value, f"def handler(e): return {code}")

    def test_subclasses_of_json_types_are_those_types(self):
        self.returns(
            [2, "s", 1],
            "import enum\nclass E(enum.IntEnum): A = 2\nclass S(str): pass\n"
            "class L(list): pass\ndef handler(e): return L([E.A, S('s'), True + 0])",
        )

    def test_what_json_cannot_say_is_named_with_its_place(self):
        for said, code in [
            ("value is a set", "return {1}"),
            ('value["a"][2] is a set', "return {'a': [1, 2, {3}]}"),
            ('value["a"][0] is a datetime.datetime', "import datetime\n    return {'a': (datetime.datetime.now(),)}"),
            ("value is a decimal.Decimal", "import decimal\n    return decimal.Decimal(1)"),
            ("value[0] is a bytes", "return [b'x']"),
            ("value[1] is a main.Thing", "return [1, Thing()]"),
            ('value["k"] has a key that is a tuple: (1, 2)', "return {'k': {(1, 2): 3}}"),
            ("value has the key nan", "return {float('nan'): 3}"),
            ("value is a generator", "return (x for x in [])"),
            ("value is an async_generator", "async def g():\n        yield 1\n    return g()"),
            ("value[1.5] is a function", "return {1.5: handler}"),
            ('value["a"][0] refers to itself', "a = {}\n    a['a'] = [a]\n    return a"),
            ("value is nested too deeply", "a = []\n    for _ in range(100_000): a = [a]\n    return a"),
            ("value[0] is an integer of more than 4300 digits", "return [10**5000]"),
            ("value[0][0][0]", "a = {1}\n    for _ in range(1000): a = [a]\n    return a"),
        ]:
            with self.subTest(said=said):
                code = f"class Thing: pass\ndef handler(e):\n    {code}"
                run = self.fails("result", code, said=f"return value is not JSON: {said}")
                self.assertLess(len(run.stderr), 300)

    def test_equal_objects_side_by_side_are_not_a_circle(self):
        self.returns([[1], [1], None], "a = [1]\ndef handler(e): return [a, a, float('nan')]")

    def test_a_result_that_is_too_large_is_refused_with_both_sizes(self):
        code = "def handler(e): return 'x' * 100"
        self.returns("x" * 100, code, max_result_bytes=102)
        self.fails("result", code, max_result_bytes=101, said=["102 bytes", "at most 101"])

    def test_an_object_that_raises_while_it_is_written_is_an_exception(self):
        code = "class D(dict):\n    def items(self): raise KeyError('hostile')\ndef handler(e): return D(a=1)"
        self.fails("exception", code, said=["main.py", "KeyError: 'hostile'"])

    def test_only_the_runner_reports_not_the_children_it_forks(self):
        code = "import os\ndef handler(e):\n    pid = os.fork()\n    if pid: os.waitpid(pid, 0)\n    return bool(pid)"
        self.returns(True, code)

    def test_the_result_arrives_before_what_the_program_leaves_running(self):
        run = self.returns(
            1,
            "import atexit, time, threading\natexit.register(print, 'exit')\ndef handler(e):\n"
            "    threading.Timer(0.1, print, ['late']).start()\n    return 1",
        )
        self.assertEqual(run.stdout, "late\nexit\n")


class Events(RunnerTest):
    command = PYTHON

    def test_events_arrive_unharmed(self):
        for raw in ["null", "0", "{}", "1" * 20, "9" * 5000, '{"b":1,"a":2}', '{"__proto__":1,"é":"😀"}']:
            with self.subTest(raw=raw[:20]):
                code = (
                    f"import json, sys\nsys.set_int_max_str_digits(0)\ndef handler(e): assert e == json.loads({raw!r})"
                )
                self.returns(None, code, raw_event=raw)

    def test_a_duplicate_key_keeps_its_last_value_and_a_huge_float_is_infinite(self):
        self.returns(
            [2, True], "def handler(e): return [e['a'], e['b'] == float('inf')]", raw_event='{"a":1,"a":2,"b":1e400}'
        )

    def test_an_event_may_be_nested_a_thousand_deep_and_be_returned(self):
        deep = "[" * 1000 + "]" * 1000
        run = self.run_job(
            "import sys\nlimit = sys.getrecursionlimit()\ndef handler(e): return [limit, e]", raw_event=deep
        )
        self.assertEqual(run.frames[-1].decode(), '{"type":"result","value":[1000,' + deep + "]}")

    def test_an_event_that_is_nested_too_deeply_is_refused(self):
        run = self.run_job("def handler(e): pass", raw_event="[" * 100_000 + "]" * 100_000)
        self.assertIn("the event is nested too deeply", run.stderr)
        self.assertEqual((run.types, run.exit_code), (["ready", "error"], 1))

    def test_a_frame_of_sixteen_mebibytes_is_read_whole(self):
        self.returns(16 << 20, "def handler(e): return len(e)", "x" * (16 << 20))

    def test_stdin_is_the_programs_own(self):
        self.returns("line\nmore", "import sys\ndef handler(e): return sys.stdin.read()", stdin=b"line\nmore")


class Source(RunnerTest):
    command = PYTHON

    def test_the_source_behaves_as_if_saved_to_a_file(self):
        for name, code in {
            "future": "from __future__ import annotations\ndef handler(e: Nope): return 1",
            "bom": "\ufeffdef handler(e): return 1",
            "crlf": "def handler(e):\r\n    return 1\r\n",
            "cookie": "# -*- coding: latin-1 -*-\ndef handler(e): return len('é') - 1",
            "shebang": "#!/usr/bin/env python3\ndef handler(e): return 1",
            "quotes": "'''doc \"\"\" {0} %s {x}'''\ndef handler(e): return 1",
            "tabs and no newline": "def handler(e):\n\treturn \\\n\t1",
            "one MiB": "def handler(e): return 1\n" + "#" * (MANY - 30),
            "a name the runner uses": (
                "json = None; print = None; event = 2; result = 3; main = 4\ndef handler(e): return 1"
            ),
        }.items():
            with self.subTest(name):
                self.returns(1, code)

    def test_a_nul_in_the_source_is_a_clean_failure(self):
        run = self.fails("exception", "x = '\0'", said="null bytes")
        self.assertNotIn("Traceback", run.stderr)

    def test_a_syntax_error_looks_like_cpythons_own(self):
        run = self.fails("exception", "x = 1\ny = (\n")
        self.assertEqual(
            run.stderr,
            f"  File \"{run.code_path('main.py')}\", line 2\n    y = (\n        ^\nSyntaxError: '(' was never closed\n",
        )

    def test_a_traceback_shows_the_programs_frames_only(self):
        for code, last in [
            ("def handler(e):\n    return 1 / 0", "line 2, in handler\n    return 1 / 0\n           ~~^~~"),
            ("async def handler(e):\n    return 1 / 0", "line 2, in handler\n    return 1 / 0\n           ~~^~~"),
            ("x = 1\n1 / 0", "line 2, in <module>\n    1 / 0\n    ~~^~~"),
        ]:
            with self.subTest(code=code):
                run = self.fails("exception", code)
                self.assertEqual(
                    run.stderr,
                    f"Traceback (most recent call last):\n  File \"{run.code_path('main.py')}\", {last}\n"
                    "ZeroDivisionError: division by zero\n",
                )

    def test_causes_and_contexts_are_printed(self):
        code = "def handler(e):\n    try: 1 / 0\n    except ArithmeticError as a: raise KeyError('k') from a"
        self.fails("exception", code, said=["ZeroDivisionError", "direct cause", "KeyError: 'k'"])

    def test_a_traceback_survives_whatever_became_of_stderr(self):
        for code in [
            "sys.stderr = None",
            "sys.stderr.close()",
            "del sys.stderr",
            "sys.excepthook = None",
            "sys.stderr = open('/dev/full', 'w')",
        ]:
            with self.subTest(code=code):
                self.fails(
                    "exception",
                    f"import sys\n{code}\nraise ValueError('\\ud800 seen')",
                    mode="script",
                    said="ValueError: \\ud800 seen",
                )

    def test_a_program_may_print_its_exceptions_itself(self):
        code = "import sys\nsys.excepthook = lambda *a: print('mine', a[1], file=sys.stderr)\nraise ValueError('x')"
        self.assertEqual(self.fails("exception", code).stderr, "mine x\n")

    def test_every_kind_of_exception_is_a_failure(self):
        for raised in [
            "KeyboardInterrupt",
            "GeneratorExit",
            "BaseException('x')",
            "type('Mine', (BaseException,), {})",
        ]:
            with self.subTest(raised):
                self.fails("exception", f"def handler(e): raise {raised}", said="in handler")

    def test_an_exception_that_cannot_be_printed_still_fails(self):
        self.fails("exception", "class E(Exception):\n    def __str__(self): raise E\nraise E", said="E")


class Modules(RunnerTest):
    command = PYTHON

    def test_a_script_is_main(self):
        run = self.is_script(
            "import sys, os\nif __name__ == '__main__': print(sys.argv == [__file__], sorted(globals()))"
        )
        self.assertEqual(
            run.stdout,
            "True ['__builtins__', '__doc__', '__file__', '__loader__', '__name__', '__package__', "
            "'__spec__', 'os', 'sys']\n",
        )

    def test_a_handlers_module_is_imported_not_run(self):
        self.returns("main", "if __name__ == '__main__': raise Exception\ndef handler(e): return __name__")

    def test_pickle_and_multiprocessing_find_the_program(self):
        for method in ["fork", "spawn"]:
            for mode, end in [
                ("handler", "def handler(e): return run()"),
                ("script", "if __name__ == '__main__': print(run())"),
            ]:
                with self.subTest(method=method, mode=mode):
                    code = (
                        "import multiprocessing, pickle\nclass C: x = 3\ndef work(c): return c.x + 1\ndef run():\n"
                        f"    with multiprocessing.get_context('{method}').Pool(1) as pool:\n"
                        "        return pool.map(work, [pickle.loads(pickle.dumps(C()))])\n"
                        + end
                    )
                    run = self.run_job(code, mode=mode)
                    self.assertEqual(
                        (run.last or {}).get("value", run.stdout), "[4]\n" if mode == "script" else [4], run
                    )

    def test_the_program_can_read_its_own_source(self):
        self.returns(
            "def handler(e): return inspect.getsource(handler)\n",
            "import inspect\ndef handler(e): return inspect.getsource(handler)\n",
        )

    def test_dataclasses_and_type_hints_find_their_module(self):
        self.returns(
            {"x": 1},
            "from __future__ import annotations\nimport dataclasses, typing\n@dataclasses.dataclass\n"
            "class D:\n    x: int\ndef handler(e):\n    typing.get_type_hints(D)\n"
            "    return dataclasses.asdict(D(1))",
        )

    def test_the_workspace_is_imported_from_before_site_packages(self):
        code = "import helper, sys, os\ndef handler(e): return [helper.x, sys.path[0] == os.getcwd()]"
        self.returns([7, True], code, workspace={"helper.py": "x = 7"})

    def test_modules_of_the_workspace_do_not_reach_into_the_runner(self):
        evil = {
            f"{name}.py": "raise Exception('shadowed')"
            for name in [
                "json",
                "os",
                "asyncio",
                "inspect",
                "traceback",
                "binascii",
                "math",
                "sitecustomize",
                "usercustomize",
            ]
        }
        self.returns(
            1,
            "class H:\n    async def __call__(self, e): return 1\nhandler = H()",
            workspace=evil,
            files=[{"path": "x", "content": "eA==", "encoding": "base64"}],
        )

    def test_what_the_program_replaces_does_not_break_its_result(self):
        for code in [
            "import json; json.dumps = json.loads = json.JSONEncoder = json.encoder = None",
            "import json; json.JSONEncoder.encode = json.JSONEncoder.iterencode = json.JSONEncoder.default = None",
            "import os; os.write = os.getpid = os.readv = None",
            "import sys; sys.stdout = sys.stderr = sys.stdin = None",
            "import sys; sys.stdout.close()",
            "import sys; sys.path = None; sys.argv = None",
            "import time; time.time = None",
            "import builtins; builtins.print = builtins.open = None",
        ]:
            with self.subTest(code=code):
                run = self.run_job(
                    f"{code}\nclass handler:\n    def __new__(cls, e, c): return [c.get_remaining_time_in_millis() > 0,"
                    " 1.5]"
                )
                self.assertEqual((run.last or {}).get("value"), [True, 1.5], run)


class Surroundings(RunnerTest):
    command = PYTHON

    def test_the_environment_of_a_job_is_set_after_boot(self):
        run = self.returns(
            ["1", None, "CET", False],
            "import os, time, sys\ndef handler(e): return [os.environ['A'], "
            "os.environ.get('SANDBOX_CODE_DIR'), time.tzname[0], '/evil' in sys.path]",
            env={"A": "1", "TZ": "Europe/Berlin", "PYTHONPATH": "/evil", "PYTHONSTARTUP": "/evil.py"},
        )
        self.assertEqual(run.stderr, "")

    def test_input_files_are_there_before_the_program(self):
        files = [
            {"path": "a/b/c.txt", "content": "é\n", "encoding": "utf8"},
            {"path": "d", "content": "AP8=", "encoding": "base64"},
        ]
        code = "def handler(e): return [open('a/b/c.txt').read(), list(open('d', 'rb').read())]"
        self.returns(["é\n", [0, 255]], code, files=files)

    def test_an_input_file_that_cannot_be_written_is_named(self):
        for path, why in [("a/b", "Not a directory"), ("d", "Is a directory"), ("x" * 300, "File name too long")]:
            with self.subTest(path=path[:9]):
                run = self.run_job(
                    "", files=[{"path": path, "content": "", "encoding": "utf8"}], workspace={"a": "", "d/x": ""}
                )
                self.assertEqual(run.stderr, f"cannot write input file '{path}': {why}\n")
                self.assertEqual((run.types, run.exit_code), (["ready", "error"], 1))
                self.assertEqual(json.loads(run.frames[-1])["kind"], "input")

    def test_a_program_that_cannot_be_saved_is_a_clean_failure(self):
        run = self.run_job("1", boot_env={"SANDBOX_CODE_DIR": "/nowhere"})
        self.assertIn("cannot write the program to /nowhere/main.", run.stderr)
        self.assertEqual((run.types, run.exit_code), (["ready", "error"], 1))

    def test_a_fifo_in_place_of_an_input_file_does_not_block(self):
        files = [{"path": "fifo", "content": "x", "encoding": "utf8"}]
        run = self.run_job("", files=files, preexec_fn=lambda: os.mkfifo("fifo"))
        self.assertIn("cannot write input file 'fifo': ", run.stderr)
        self.assertEqual((run.types, run.exit_code), (["ready", "error"], 1))

    def test_exit_codes_are_the_programs_own(self):
        for code, exit_code in [
            ("import sys; sys.exit(3)", 3),
            ("import os; os._exit(4)", 4),
            ("raise SystemExit", 0),
            ("import sys; sys.exit('why')", 1),
            ("import asyncio\nasync def m(): raise SystemExit(5)\nasyncio.run(m())", 5),
        ]:
            with self.subTest(code=code):
                run = self.is_script(code, exit_code=exit_code)
                self.assertEqual(run.stderr, "why\n" if "why" in code else "")
        self.is_script("import sys\nasync def handler(e): sys.exit(6)", mode="handler", exit_code=6)

    def test_limits_seen_from_inside_are_named(self):
        for limit, code, options in [
            ("memory", "x = []\nwhile True: x.append(bytearray(1 << 20))", {"preexec_fn": address_space(200 << 20)}),
            ("memory", "x = []\nwhile True: x.append(str(len(x)))", {"preexec_fn": address_space(200 << 20)}),
            ("processes", "import os\nos.fork()", {"preexec_fn": without_processes}),
            ("processes", "import subprocess\nsubprocess.run(['true'])", {"preexec_fn": without_processes}),
            (
                "processes",
                "import threading\nthreading.Thread(target=print).start()",
                {"preexec_fn": without_processes},
            ),
            (None, "import os\nr, w = os.pipe()\nos.set_blocking(r, False)\nos.read(r, 1)", {}),
            (
                "file_size",
                "open('big', 'wb', 0).write(b'x' * 4096)\nopen('big', 'ab', 0).write(b'x')",
                {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))},
            ),
        ]:
            with self.subTest(limit=limit, code=code):
                self.fails("exception", code, limit=limit, mode="script", said="Error", **options)

    def test_output_before_a_kill_is_not_lost(self):
        run = self.run_job("import os\nprint('seen')\nos.kill(os.getpid(), 9)", mode="script")
        self.assertEqual((run.stdout, run.exit_code), ("seen\n", -9))

    def test_output_without_a_newline_is_flushed_at_the_end(self):
        for code in ["print('x', end='')", "print('x', end='')\nraise ValueError"]:
            self.assertEqual(self.run_job(code, mode="script").stdout, "x")

    def test_the_pipes_are_not_inherited_by_children(self):
        code = (
            "import subprocess, os\ndef handler(e):\n    return subprocess.run(['ls', '/proc/self/fd'],"
            " capture_output=True, text=True).stdout"
        )
        run = self.run_job(code)
        self.assertEqual(run.last["value"], "0\n1\n2\n3\n", run)

    def test_closing_the_pipe_only_loses_the_result(self):
        run = self.run_job("import os\nos.closerange(3, 64)\ndef handler(e): return 1")
        self.assertEqual((run.types, run.exit_code, run.stderr), (["ready", "started"], 0, ""))

    def test_a_runner_without_a_job_ends_quietly(self):
        job_read, job_write = os.pipe()
        report_read, report_write = os.pipe()
        process = subprocess.Popen(
            [*PYTHON, str(job_read), str(report_write)], pass_fds=(job_read, report_write), stderr=subprocess.PIPE
        )
        for fd in (job_read, report_write, job_write):
            os.close(fd)
        self.assertEqual(process.communicate(timeout=10)[1], b"")
        self.assertEqual([json.loads(f)["type"] for f in read_frames(report_read)], ["ready"])
        self.assertEqual(process.returncode, 0)


if __name__ == "__main__":
    unittest.main()
