"""What the JavaScript runner promises: see contract.md and channel.md."""

import json
import os
import sys
import unittest

from harness import NODE, RunnerTest, not_root

ES = "import 'node:fs';\n"


class JavascriptTest(RunnerTest):
    command = NODE

    @classmethod
    def setUpClass(cls):
        if os.path.exists(NODE[0]):
            return
        if os.environ.get("EXECUTOR_TESTS_MUST_RUN") == "1":
            raise AssertionError(f"{NODE[0]} is missing")
        print(f"NOT RUN: {cls.__name__}: {NODE[0]} is missing", file=sys.stderr)
        raise unittest.SkipTest("node is missing")

    def run_job(self, code, *args, **options):
        options.setdefault("mode", "auto")
        return super().run_job(code, *args, **options)


class Handlers(JavascriptTest):
    def test_every_way_to_define_a_handler_is_found(self):
        for code in [
            "function handler(event) { return event }",
            "async function handler(event, context) { await 1; return event }",
            "const handler = event => event",
            "let handler = async event => event",
            "var handler = event => event",
            "handler = event => event",
            "'use strict'; const handler = event => event",
            "exports.handler = event => event",
            "module.exports.handler = async event => event",
            "module.exports = { handler: event => event }",
            "const handler = () => 'inner'; exports.handler = event => event",
            "exports.handler = 5; function handler(event) { return event }",
            "exports.handler = (event, context, callback) => setTimeout(callback, 5, null, event)",
            "exports.handler = async (event, context, callback) => event",
            "exports.handler = (event, context, callback) => { callback(null, event); return Promise.reject(1) }",
            "function handler(event) { return { then(resolve) { resolve(event) } } }",
            "export function handler(event) { return event }",
            "export const handler = async event => event",
            "const h = event => event; export { h as handler }",
            "export default function (event) { return event }",
            "export default { handler: event => event }",
            ES + "function handler(event) { return event }",
            ES + "const handler = event => event // no export",
            "const late = await Promise.resolve(1); export const handler = event => event",
        ]:
            for mode in ["auto", "handler"]:
                with self.subTest(code=code, mode=mode):
                    self.returns({"a": [1, None]}, code, {"a": [1, None]}, mode=mode)

    def test_the_context_knows_the_execution_and_its_deadline(self):
        code = (
            "exports.handler = (e, c) => [c.execution_id, c.executionId, c.deadline_ms === c.deadlineMs,"
            " Math.abs(c.get_remaining_time_in_millis() - (c.deadlineMs - Date.now())) < 1000,"
            " c.getRemainingTimeInMillis() > 0]"
        )
        self.returns(["exec_test", "exec_test", True, True, True], code)

    def test_a_missing_handler_says_what_to_define(self):
        for code in ["", "x = 1", ES, "exports.handle = 1"]:
            with self.subTest(code=code):
                self.fails(
                    "no_handler", code, mode="handler", said=["define a function handler(event)", '"mode": "script"']
                )
        self.fails("no_handler", "exports.handler = 5", mode="handler", said="it is a number")

    def test_a_program_without_a_handler_is_a_script(self):
        for code in [
            "console.log(1)",
            "const handler = 5; console.log(1)",
            ES + "console.log(await 1)",
            "setTimeout(console.log, 5, 1)",
        ]:
            with self.subTest(code=code):
                self.assertEqual(self.is_script(code, mode="auto").stdout, "1\n")

    def test_script_mode_never_calls_a_handler(self):
        self.is_script("function handler() { throw 1 }")
        self.is_script("export function handler() { throw 1 }")

    def test_a_promise_that_never_settles_is_a_failure(self):
        for said, code in [
            ("the promise returned by handler never settled", "function handler() { return new Promise(() => {}) }"),
            (
                "the promise returned by handler never settled",
                "export async function handler() { await new Promise(() => {}) }",
            ),
            ("never called back", "exports.handler = (event, context, callback) => 5"),
            ("an await at the top level", ES + "await new Promise(() => {})"),
        ]:
            with self.subTest(code=code):
                self.fails("exception", code, said=said)

    def test_what_a_handler_throws_is_shown_with_its_line(self):
        for code in [
            "function handler() {\n  throw new TypeError('boom')\n}",
            "async function handler() {\n  throw new TypeError('boom')\n}",
            "exports.handler = (e, c, callback) => {\n  callback(new TypeError('boom'))\n}",
        ]:
            with self.subTest(code=code):
                run = self.fails("exception", code)
                line = code.splitlines()[1]
                self.assertTrue(run.stderr.startswith(f"{run.code_path('main.js')}:2\n{line}\n"), run.stderr)
                self.assertIn("TypeError: boom\n    at ", run.stderr)
        for thrown in ["'text'", "null", "undefined", "{a: 1}"]:
            with self.subTest(thrown=thrown):
                self.fails("exception", f"async function handler() {{ throw {thrown} }}", said="Uncaught ")

    def test_listeners_of_the_program_do_not_swallow_a_failing_handler(self):
        for code in [
            "process.on('unhandledRejection', () => {}); process.on('uncaughtException', () => {});",
            "process.setUncaughtExceptionCaptureCallback(() => {});",
        ]:
            with self.subTest(code=code):
                self.fails("exception", code + "exports.handler = () => { throw new Error('x') }")


class Results(JavascriptTest):
    def test_falsy_return_values_survive(self):
        for value in ["0", '""', "[]", "{}", "false", "null"]:
            with self.subTest(value=value):
                self.returns(json.loads(value), f"exports.handler = () => ({value})")

    def test_values_are_written_as_json_writes_them(self):
        for value, code in [
            (None, "undefined"),
            ([None, 1, {"x": None}], "[NaN, 1, {x: -Infinity}]"),
            ({"b": [None]}, "({a: undefined, b: [undefined]})"),
            ("1970-01-01T00:00:00.000Z", "new Date(0)"),
            ("😀\u0000\u2028", "'😀\\0\\u2028'"),
            ("a\ufffdb\\ud800", r"'a\ud800b\\ud800'"),
            ({"\ufffd": "\ufffd"}, r"({'\udfff': '\ud800'})"),
            ({"x": 2}, "({toJSON() { return {x: 2} }})"),
            ([[1], [1]], "(a => [a, a])([1])"),
            ([1, "s", True], "[new Number(1), new String('s'), new Boolean(true)]"),
            ({"__proto__": 1}, "({['__proto__']: 1})"),
        ]:
            with self.subTest(code=code):
                self.returns(value, f"exports.handler = () => {code}")

    def test_what_json_cannot_say_is_named_with_its_place(self):
        for said, code in [
            ("value is a BigInt", "1n"),
            ("value is a function", "() => 1"),
            ("value is a symbol", "Symbol('s')"),
            ("value is a Map", "new Map()"),
            ('value["a"][1] is a Set', "({a: [1, new Set()]})"),
            ('value["a b"]["c"][0] is a BigInt', "({x: {y: 1}, 'a b': {z: [], c: [1n]}})"),
            ('value["f"] is a function', "({f() {}})"),
            ('value["p"] is a Promise', "({p: Promise.resolve(1)})"),
            ("value is a GeneratorObject", "(function* () {})()"),
            ("value is a GeneratorObject", "(async function* () {})()"),
            ('value["a"][0] refers to itself', "(o => { o.a = [o]; return o })({})"),
            ('value["t"][0] is a Map', "({t: {toJSON() { return [new Map()] }}})"),
            ("value is nested too deeply", "(a => { for (let i = 0; i < 1e5; i++) a = [a]; return a })([])"),
            ("value[0][0][0]", "(a => { for (let i = 0; i < 1e3; i++) a = [a]; return a })(1n)"),
        ]:
            with self.subTest(code=code):
                run = self.fails("result", f"exports.handler = () => {code}", said=f"return value is not JSON: {said}")
                self.assertLess(len(run.stderr), 300)

    def test_a_toJSON_that_throws_is_an_exception(self):
        self.fails(
            "exception",
            "exports.handler = () => ({toJSON() { throw new Error('hostile') }})",
            said=["main.js:1", "hostile"],
        )

    def test_a_result_that_is_too_large_is_refused_with_both_sizes(self):
        code = "exports.handler = () => 'é'.repeat(50)"
        self.returns("é" * 50, code, max_result_bytes=102)
        self.fails("result", code, max_result_bytes=101, said=["102 bytes", "at most 101"])

    def test_nothing_left_running_delays_the_end(self):
        run = self.returns(
            1, "setInterval(() => {}, 1000); process.on('exit', () => console.log('exit')); exports.handler = () => 1"
        )
        self.assertEqual(run.stdout, "exit\n")

    def test_a_handler_that_leaves_nothing_to_end_rests(self):
        worker = "new (require('worker_threads').Worker)('setInterval(() => 0, 1000)', { eval: true });"
        for left in ["", "setInterval(() => 0, 1000);", "process.on('exit', () => console.log('bye'));", worker]:
            run = self.run_job(f"exports.handler = () => {{ {left} return 7 }}", may_rest=True)
            self.assertTrue(run.rested, run)
            self.assertEqual(run.types, ["ready", "started", "result", "exit"])
            self.assertEqual(run.stdout, "bye\n" if "bye" in left else "")
        run = self.run_job("exports.handler = () => { process.exitCode = 3 }", may_rest=True)
        self.assertEqual(json.loads(run.frames[-1]), {"type": "exit", "code": 3})

    def test_what_still_has_to_be_ended_is_ended(self):
        for left in [
            "require('fs').writeFile('late', 'x', () => 0);",
            "require('child_process').spawn('sleep', ['9'], { stdio: 'ignore' });",
            "require('trace_events').createTracing({ categories: ['node'] }).enable();",
            "require('module')._cache['/x/addon.node'] = {};",
        ]:
            run = self.run_job(f"exports.handler = () => {{ {left} return 7 }}", may_rest=True)
            self.assertFalse(run.rested, run)
            self.assertEqual(run.exit_code, 0, run)
        run = self.run_job("exports.handler = () => 7")
        self.assertEqual((run.rested, run.types), (False, ["ready", "started", "result"]))

    def test_all_that_was_printed_arrives_even_if_nobody_reads_yet(self):
        text = "process.stdout.write('x'.repeat(1e6));"
        for code in [f"{text} exports.handler = () => 1", f"{text} process.exit(0)", f"{text} throw new Error()"]:
            with self.subTest(code=code):
                self.assertEqual(len(self.run_job(code, slow_stdout=0.5).stdout), 1_000_000)


class Events(JavascriptTest):
    def test_events_arrive_unharmed(self):
        for raw in ["null", "0", "{}", '{"b":1,"a":2}', '{"__proto__":1,"é":"😀"}', "[" * 2000 + "]" * 2000]:
            with self.subTest(raw=raw[:20]):
                run = self.run_job("exports.handler = e => e", raw_event=raw)
                self.assertEqual(json.loads(run.frames[-1])["value"], json.loads(raw), run)

    def test_a_frame_of_sixteen_mebibytes_is_read_whole(self):
        self.returns(16 << 20, "exports.handler = e => e.length", "x" * (16 << 20))

    def test_stdin_is_the_programs_own(self):
        self.returns("line\nmore", "exports.handler = () => require('fs').readFileSync(0, 'utf8')", stdin=b"line\nmore")


class Source(JavascriptTest):
    def test_the_source_behaves_as_if_saved_to_a_file(self):
        one = "exports.handler = () => 1"
        for name, code in {
            "bom": "\ufeff" + one,
            "bom of a module": "\ufeffexport const handler = () => 1",
            "crlf": f"// x\r\n{one}\r\n",
            "shebang": f"#!/usr/bin/env node\n{one}",
            "shebang of a module": "#!/usr/bin/env node\nexport const handler = () => 1",
            "ends in a comment": f"{one} // comment",
            "module ends in a comment": ES + "function handler() { return 1 } // comment",
            "strict": f"'use strict';\n{one}",
            "template": one + "; `${'}'} %s {0}`",
            "one MiB": one + "\n//" + "x" * (1 << 20),
            "names": "const event = 2, result = 3, job = 4, handlerResult = 5, run = 6, fs = 7, path = 8; " + one,
            "a CommonJS name in a module": (
                ES + "const require = 1, module = 2, __filename = 3; export const handler = () => 1"
            ),
            "top-level return": one + "; return; syntax.error",
            "import in a string": "const s = 'import x from \"y\"'; " + one,
            "a declaration in a template": ES + "`\nfunction handler() {}\n`; export default () => 1",
        }.items():
            with self.subTest(name):
                self.returns(1, code)

    def test_an_uncaught_exception_shows_the_programs_line_and_frames(self):
        for filename, code in [
            ("main.js", "\nthrow new Error('boom')"),
            ("main.mjs", ES + "throw new Error('boom')"),
            ("main.js", "setTimeout(() => {\nthrow new Error('boom') }, 1)"),
            ("main.js", "Promise.resolve().then(() => {\nthrow new Error('boom') })"),
        ]:
            with self.subTest(code=code):
                run = self.fails(
                    "exception", code, said=["throw new Error('boom')", "Error: boom\n    at ", f"{filename}:2"]
                )
                self.assertIn(f"{run.code_path(filename)}:2\n", run.stderr.splitlines(True)[0])

    def test_a_syntax_error_shows_the_programs_line(self):
        for filename, code in [
            ("main.js", "let a\nlet = = 3"),
            ("main.mjs", ES + "let = = 3"),
            ("main.js", "x = 1\nconst y = "),
        ]:
            with self.subTest(code=code):
                run = self.fails("exception", code, said=[f"{filename}:2\n", "SyntaxError: "])
                self.assertNotIn("typeof handler", run.stderr)

    def test_a_syntax_error_at_run_time_does_not_run_the_program_twice(self):
        run = self.fails("exception", "console.log('once'); eval('import 1')", said="SyntaxError")
        self.assertEqual(run.stdout, "once\n")

    def test_causes_are_printed_without_the_runners_frames(self):
        self.fails(
            "exception",
            "function handler() { throw new Error('outer', {cause: new Error('inner')}) }",
            said=["outer", "[cause]", "inner"],
        )

    def test_a_program_may_handle_its_own_uncaught_exceptions(self):
        for code in [
            "process.on('uncaughtException', e => console.log('caught', e.message)); throw new Error('x')",
            "process.on('unhandledRejection', e => console.log('caught', e.message)); Promise.reject(new Error('x'))",
        ]:
            with self.subTest(code=code):
                self.assertEqual(self.is_script(code).stdout, "caught x\n")

    def test_a_program_that_survives_its_error_still_owes_a_handler(self):
        self.fails(
            "exception", "process.on('uncaughtException', () => {}); throw 1", mode="handler", said="before its handler"
        )


class Modules(JavascriptTest):
    PACKAGES = {
        "node_modules/dep/index.js": "exports.x = 'dep'",
        "node_modules/@s/dep/index.js": "exports.x = 'scoped'",
        "helper.js": "exports.x = 'helper'",
        "lib/deep.mjs": "import dep from 'dep'; export const x = dep.x",
    }

    def test_commonjs_finds_what_lies_in_the_workspace(self):
        code = (
            "exports.handler = async () => { require('fs').writeFileSync('late.js', 'exports.x = \"late\"');\n  return"
            " [require('./helper').x, require('dep').x, require('@s/dep').x, (await import('./lib/deep.mjs')).x,\n   "
            " (await import('dep')).default.x, require('./late').x, require('fs').readFileSync(__dirname +"
            " '/helper.js', 'utf8')] }"
        )
        self.returns(
            ["helper", "dep", "scoped", "dep", "dep", "late", "exports.x = 'helper'"], code, workspace=self.PACKAGES
        )

    def test_es_modules_find_what_lies_in_the_workspace(self):
        code = (
            "import h from './helper.js'; import dep from 'dep'; import s from '@s/dep'; import { x } from"
            " './lib/deep.mjs';\n"
        )
        code += "export const handler = () => [h.x, dep.x, s.x, x]"
        self.returns(["helper", "dep", "scoped", "dep"], code, workspace=self.PACKAGES)

    def test_packages_of_the_image_are_found_after_those_of_the_workspace(self):
        image = {f"image/{name}/index.js": f"exports.x = 'image {name}'" for name in ["dep", "own", "@s/own"]}
        paths = {"boot_env": {"NODE_PATH": "image"}}
        for load, workspace in [("dep", self.PACKAGES), ("image dep", {})]:
            with self.subTest(load=load):
                names = ["dep", "own", "@s/own"]
                expected = [load, "image own", "image @s/own"]
                imports = "".join(f"import p{i} from '{n}'; " for i, n in enumerate(names))
                self.returns(
                    expected,
                    imports + "export const handler = () => [p0.x, p1.x, p2.x]",
                    workspace=workspace | image,
                    **paths,
                )

    def test_a_neighbour_with_the_programs_name_is_left_alone(self):
        for code in ["exports.handler = () => 1", "export const handler = () => 1"]:
            with self.subTest(code=code):
                run = self.returns(1, code, workspace={"main.js": "mine", "main.mjs": "mine too"})
                self.assertEqual(run.files, {"main.js": b"mine", "main.mjs": b"mine too"})

    def test_a_script_is_main_and_a_handlers_module_is_not(self):
        code = "exports.handler = () => [require.main === module, process.argv[1] === __filename, process.argv.length]"
        self.returns([True, True, 2], code, mode="auto")
        self.returns([False, True, 2], code, mode="handler")

    def test_the_program_can_be_run_again_as_a_worker_and_as_a_child(self):
        worker = "const w = require('worker_threads'); if (w.isMainThread) exports.handler = () => new Promise(done => "
        worker += "new w.Worker(__filename).on('message', done)); else w.parentPort.postMessage(require('./helper').x)"
        fork = (
            "const c = require('child_process'); if (process.send) process.send('child'); else exports.handler = () => "
        )
        fork += "new Promise(done => c.fork(__filename).on('message', done))"
        self.returns("helper", worker, workspace=self.PACKAGES)
        self.returns("child", fork)

    def test_what_the_program_replaces_does_not_break_its_result(self):
        for code in [
            "JSON.stringify = JSON.parse = null",
            "process.exit = process.on = process.emit = null",
            "Object.prototype.polluted = 1; Object.prototype.type = 'x'; Object.prototype.limit = 'memory'",
            "Object.prototype.get = Object.prototype.value = function () {}",
            "Array.prototype.push = Array.prototype.join = Array.prototype.map = Array.prototype.slice = null",
            "String.prototype.includes = String.prototype.replace = String.prototype.startsWith = null",
            "require('fs').writeSync = require('fs').readSync = null",
            "Buffer.from = Buffer.byteLength = null",
            "Promise = null",
            "Date.now = null; Array.isArray = null; console.log = null",
            "Object.defineProperty(process, 'stdout', {value: null})",
            "process.removeAllListeners()",
        ]:
            with self.subTest(code=code):
                run = self.run_job(
                    f"exports.handler = (e, c) => [c.getRemainingTimeInMillis() > 0, {{a: '\\ud800'}}]; {code}"
                )
                self.assertEqual((run.last or {}).get("value", [])[:1], [True], run)


class Surroundings(JavascriptTest):
    def test_the_environment_of_a_job_is_set_after_boot(self):
        run = self.returns(
            ["1", True, -60],
            "exports.handler = () => [process.env.A, process.env.SANDBOX_CODE_DIR === undefined, "
            "new Date(0).getTimezoneOffset()]",
            env={"A": "1", "TZ": "Europe/Berlin", "NODE_OPTIONS": "--require ./evil.js"},
            workspace={"evil.js": "console.log('evil')"},
        )
        self.assertEqual(run.stdout + run.stderr, "")

    def test_input_files_are_there_before_the_program(self):
        files = [
            {"path": "a/b/c.txt", "content": "é\n", "encoding": "utf8"},
            {"path": "d", "content": "AP8=", "encoding": "base64"},
        ]
        code = (
            "import fs from 'fs'; export const handler = () => [fs.readFileSync('a/b/c.txt', 'utf8'),"
            " [...fs.readFileSync('d')]]"
        )
        self.returns(["é\n", [0, 255]], code, files=files)

    def test_an_input_file_that_cannot_be_written_is_named(self):
        for path, why in [
            ("a/b", "not a directory"),
            ("d", "illegal operation on a directory"),
            ("x" * 300, "name too long"),
        ]:
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
            ("process.exit(3)", 3),
            ("process.exitCode = 4", 4),
            ("exports.handler = () => process.exit(5)", 5),
            ("exports.handler = async () => { await 1; process.exit(0) }", 0),
            (ES + "process.exit(6)", 6),
        ]:
            with self.subTest(code=code):
                self.is_script(code, mode="auto", exit_code=exit_code)
        run = self.run_job("exports.handler = () => { process.exitCode = 7; return 1 }")
        self.assertEqual((run.last, run.exit_code), ({"type": "result", "value": 1}, 7))

    def test_limits_seen_from_inside_are_named(self):
        starve = "const c = require('child_process'); c.execFileSync('prlimit', ['--pid', process.pid, '--nproc=0']);"
        for limit, code, options in [
            ("memory", "const a = []; for (;;) a.push(new ArrayBuffer(2 ** 40))", {}),
            ("processes", f"{starve} c.spawn('true')", {"preexec_fn": not_root}),
            ("processes", f"{starve} c.execSync('true')", {"preexec_fn": not_root}),
            (
                "processes",
                f"{starve} new (require('worker_threads').Worker)('1', {{eval: true}})",
                {"preexec_fn": not_root},
            ),
            (
                "file_size",
                (
                    "const c = require('child_process'); c.execFileSync('prlimit', ['--pid', process.pid,"
                    " '--fsize=4096']);\nprocess.on('SIGXFSZ', () => {}); require('fs').writeFileSync('big',"
                    " 'x'.repeat(5000))"
                ),
                {},
            ),
            (None, "const e = new Error('a socket'); e.code = 'EAGAIN'; throw e", {}),
        ]:
            with self.subTest(limit=limit, code=code):
                self.fails("exception", code, limit=limit, mode="script", said="Error", **options)

    def test_the_pipes_are_not_inherited_by_children(self):
        code = "exports.handler = () => require('child_process').execFileSync('ls', ['/proc/self/fd']).toString()"
        run = self.run_job(code)
        self.assertEqual(run.last["value"], "0\n1\n2\n3\n", run)

    def test_closing_the_pipe_only_loses_the_result(self):
        run = self.run_job(
            "for (let fd = 3; fd < 64; fd++) if (/pipe:/.test(link(fd))) require('fs').closeSync(fd);\nfunction"
            " link(fd) { try { return require('fs').readlinkSync('/proc/self/fd/' + fd) } catch { return '' }"
            " }\nexports.handler = () => 1"
        )
        self.assertNotIn("result", run.types, run)


if __name__ == "__main__":
    unittest.main()
