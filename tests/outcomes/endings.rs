//! The rows of the outcome table that a program decides by itself.

use conformance::Daemon;
use serde_json::{Value, json};

use crate::ask::{assert_end, assert_says, run, run_all, shown, wide};

const FALSY: [&str; 6] = ["0", "\"\"", "[]", "false", "null", "{}"];

#[test]
fn a_handler_that_returns_is_a_success_in_every_form() {
    let daemon = wide();
    let given = || json!({ "event": { "n": 20 } });
    let programs = [
        ("python", "def handler(event): return event['n'] + 1", given()),
        (
            "python",
            "import asyncio\nasync def handler(event):\n  await asyncio.sleep(0)\n  return event['n'] + 1",
            given(),
        ),
        (
            "python",
            "def handler(event, context):\n  assert 0 < context.get_remaining_time_in_millis() <= 30000\n  return event['n'] + 1",
            given(),
        ),
        ("javascript", "function handler(event) { return event.n + 1 }", given()),
        ("javascript", "exports.handler = async (event) => event.n + 1", given()),
        (
            "javascript",
            "module.exports.handler = (event, context) => new Promise(done => setTimeout(done, 1, event.n + 1))",
            given(),
        ),
        ("javascript", "export const handler = (event) => event.n + 1", given()),
    ];
    for (result, program) in run_all(&daemon, &programs).iter().zip(&programs) {
        assert_end(result, "success", 0, "exit");
        assert_eq!(result["return_value"], 21, "{program:?}");
        assert_eq!((&result["stdout"], &result["stderr"]), (&json!(""), &json!("")));
    }
}

// RC-09
#[test]
fn falsy_return_values_survive() {
    let daemon = wide();
    for value in FALSY {
        let python = value.replace("false", "False").replace("null", "None");
        let results = run_all(
            &daemon,
            &[
                ("python", &format!("def handler(event): return {python}"), Value::Null),
                ("javascript", &format!("exports.handler = () => ({value})"), Value::Null),
            ],
        );
        for result in results {
            assert_end(&result, "success", 0, "exit");
            assert_eq!(result["return_value"].to_string(), value, "{}", shown(&result));
        }
    }
}

#[test]
fn a_script_that_ends_well_is_a_success_without_a_value() {
    let daemon = wide();
    let results = run_all(
        &daemon,
        &[
            ("python", "print('done')", json!({ "mode": "script" })),
            ("javascript", "console.log('done')", Value::Null),
            ("shell", "echo done", Value::Null),
        ],
    );
    for result in results {
        assert_end(&result, "success", 0, "exit");
        assert_eq!((&result["stdout"], &result["return_value"]), (&json!("done\n"), &Value::Null));
    }
}

#[test]
fn a_syntax_error_shows_the_users_own_line() {
    let daemon = wide();
    let results = run_all(
        &daemon,
        &[
            ("python", "x = 1\n\ndef handler(event)\n  return 1\n", Value::Null),
            ("javascript", "const x = 1;\n\nconst = 5;\n", Value::Null),
            ("shell", "echo before\n\nif true; do\n", Value::Null),
        ],
    );
    assert_end(&results[0], "failed", 1, "exception");
    assert_says(
        &results[0],
        "stderr",
        &["File \"/code/main.py\", line 3", "def handler(event)\n", "SyntaxError"],
    );
    assert_end(&results[1], "failed", 1, "exception");
    assert_says(&results[1], "stderr", &["/code/main.js:3", "const = 5;", "SyntaxError"]);
    // bash reads as it goes, and ends with 2.
    assert_end(&results[2], "failed", 2, "exit");
    assert_says(&results[2], "stderr", &["main.sh: line 3: syntax error"]);
}

#[test]
fn an_exception_shows_the_users_own_lines_and_nothing_of_the_runner() {
    let daemon = wide();
    let results = run_all(
        &daemon,
        &[
            (
                "python",
                "def inner():\n    raise ValueError('boom')  # here\n\ndef handler(event):\n    return inner()\n",
                Value::Null,
            ),
            (
                "javascript",
                "function inner() {\n  throw new TypeError('boom'); // here\n}\nexports.handler = () => inner();\n",
                Value::Null,
            ),
            (
                "javascript",
                "exports.handler = async () => {\n  await null;\n  throw new TypeError('boom'); // here\n};\n",
                Value::Null,
            ),
            ("python", "x = 1\nraise ValueError('boom')  # here\n", json!({ "mode": "script" })),
        ],
    );
    for result in &results {
        assert_end(result, "failed", 1, "exception");
        assert_says(
            result,
            "stderr",
            &["boom", "// here"].map(|text| {
                if result["stderr"].as_str().unwrap().contains(".py") {
                    text.trim_start_matches("// ")
                } else {
                    text
                }
            }),
        );
        let stderr = result["stderr"].as_str().unwrap();
        assert!(!stderr.contains("/sbx/"), "{stderr}");
        assert_eq!(result["return_value"], Value::Null);
    }
    assert_says(
        &results[0],
        "stderr",
        &[
            "File \"/code/main.py\", line 5, in handler",
            "File \"/code/main.py\", line 2, in inner",
            "ValueError: boom",
        ],
    );
    assert_says(&results[1], "stderr", &["/code/main.js:2", "TypeError: boom", "at inner"]);
    assert_says(&results[2], "stderr", &["/code/main.js:3", "TypeError: boom"]);
    assert_says(&results[3], "stderr", &["File \"/code/main.py\", line 2, in <module>"]);
}

// RC-05
#[test]
fn a_missing_handler_says_what_to_define() {
    let daemon = wide();
    let results = run_all(
        &daemon,
        &[
            ("python", "x = 1", Value::Null),
            ("python", "handler = 5", Value::Null),
            ("javascript", "const x = 1", json!({ "mode": "handler" })),
            ("javascript", "exports.handler = 5", json!({ "mode": "handler" })),
        ],
    );
    for result in &results {
        assert_end(result, "failed", 1, "exception");
        assert_says(result, "stderr", &["define", "handler(event"]);
    }
}

// LC-11
#[test]
fn the_programs_own_exit_code_is_kept() {
    let daemon = wide();
    for code in [0, 1, 2, 126, 127, 137, 255] {
        let results = run_all(
            &daemon,
            &[
                (
                    "python",
                    &format!("import sys\ndef handler(event):\n  print('said')\n  sys.exit({code})"),
                    Value::Null,
                ),
                ("javascript", &format!("console.log('said'); process.exit({code})"), Value::Null),
                ("shell", &format!("echo said; exit {code}"), Value::Null),
                (
                    "python",
                    &format!("import os\nprint('said')\nos._exit({code})"),
                    json!({ "mode": "script" }),
                ),
            ],
        );
        for result in results {
            let status = if code == 0 { "success" } else { "failed" };
            assert_end(&result, status, code, "exit");
            assert_eq!(result["stdout"], "said\n");
        }
    }
}

#[test]
fn a_command_that_bash_does_not_find_is_its_exit_127() {
    let daemon = Daemon::default_settings();
    let result = daemon.run("shell", "no-such-command");
    assert_end(&result, "failed", 127, "exit");
    assert_says(&result, "stderr", &["line 1: no-such-command: command not found"]);
}

// LC-11
#[test]
fn death_by_a_signal_is_told_apart_from_an_exit_with_the_same_number() {
    let daemon = wide();
    let signals = [
        ("HUP", 1),
        ("INT", 2),
        ("ABRT", 6),
        ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11),
        ("TERM", 15),
        ("XCPU", 24),
        ("SYS", 31),
    ];
    for (name, number) in signals {
        let python = format!(
            "import os, signal\ndef handler(event):\n  signal.signal({number}, signal.SIG_DFL) if {number} != 9 else None\n  \
             os.kill(os.getpid(), {number})"
        );
        let mut programs =
            vec![("python", python, Value::Null), ("shell", format!("kill -{name} $$"), Value::Null)];
        // node uses USR1 to open its inspector.
        if name != "USR1" {
            let node = format!("process.kill(process.pid, 'SIG{name}'); setTimeout(() => 0, 5000)");
            programs.push(("javascript", node, Value::Null));
        }
        let programs: Vec<_> =
            programs.iter().map(|(language, code, more)| (*language, code.as_str(), more.clone())).collect();
        for result in run_all(&daemon, &programs) {
            assert_end(&result, "failed", 128 + number, "signal");
        }
    }
}

// LC-11, RS-19
#[test]
fn a_real_crash_is_a_signal_and_leaves_no_core() {
    let daemon = wide();
    let results = run_all(
        &daemon,
        &[
            ("python", "import ctypes\ndef handler(event): ctypes.string_at(0)", Value::Null),
            ("python", "import os\ndef handler(event): os.abort()", Value::Null),
            ("javascript", "process.abort()", Value::Null),
            ("shell", "ulimit -c unlimited 2>/dev/null; kill -SEGV $$", Value::Null),
        ],
    );
    for (result, code) in results.iter().zip([139, 134, 134, 139]) {
        assert_end(result, "failed", code, "signal");
        assert_eq!(result["artifacts"], json!([]), "{}", shown(result));
    }
}

#[test]
fn endless_recursion_is_the_programs_own_failure() {
    let daemon = wide();
    let results = run_all(
        &daemon,
        &[
            ("python", "def handler(event): return handler(event)", Value::Null),
            ("javascript", "exports.handler = function f(x) { return f(x) + 1 }", Value::Null),
        ],
    );
    for (result, name) in results.iter().zip(["RecursionError", "RangeError"]) {
        assert_end(result, "failed", 1, "exception");
        assert_says(result, "stderr", &[name]);
    }
    // bash has no limit of its own: it uses up its stack.
    let shell = run(&daemon, "shell", "ulimit -s 256; f() { f; }; f", &json!({ "timeout": 20 }));
    assert_end(&shell, "failed", 139, "signal");
}
