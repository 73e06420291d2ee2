//! Code behaves as if it were saved to a file, whatever it looks like, up to 1 MiB.

use serde_json::{Value, json};

use crate::ask::{assert_end, assert_says, run, run_all, shown, wide};

// RC-08
#[test]
fn source_of_any_shape_runs_as_from_a_file() {
    let daemon = wide();
    let cases = [
        ("python", "from __future__ import annotations\ndef handler(event: Nope): return 7"),
        ("python", "\u{FEFF}def handler(event): return 7"),
        ("python", "def handler(event):\r\n  x = 7\r\n  return x\r\n"),
        ("python", "def handler(event):\n\tx = 7\n\treturn x"),
        (
            "python",
            "# -*- coding: utf-8 -*-\nname = 'é😀'\ndef handler(event): return 7 if len(name) == 2 else name",
        ),
        ("python", "#!/usr/bin/env python3\ndef handler(event): return 7"),
        ("python", "text = '''\"\"\" {x} %s {{}} \\''' '''\ndef handler(event): return 7"),
        ("python", "if __name__ == '__main__': raise SystemExit(9)\ndef handler(event): return 7"),
        ("python", "def handler(event): return \\\n 7"),
        ("javascript", "\u{FEFF}exports.handler = () => 7"),
        ("javascript", "#!/usr/bin/env node\nexports.handler = () => 7"),
        ("javascript", "exports.handler = () => 7 // no newline after this"),
        ("javascript", "exports.handler = () => 7 /* ends so */"),
        ("javascript", "'use strict';\r\nexports.handler = () => 7\r\n"),
        ("javascript", "const text = `\\`${'{}'} %s`; exports.handler = () => 7"),
        ("javascript", "import fs from 'fs'; export const handler = () => fs ? 7 : 0"),
        ("shell", "#!/bin/bash\necho -n 7"),
        ("shell", "echo -n 7 # no newline after this"),
        ("shell", "cat <<'END'\n7\nEND"),
    ];
    let programs: Vec<_> = cases.iter().map(|(language, code)| (*language, *code, Value::Null)).collect();
    for (result, program) in run_all(&daemon, &programs).iter().zip(&cases) {
        assert_end(result, "success", 0, "exit");
        let seven = result["return_value"] == 7 || result["stdout"].as_str().unwrap().trim() == "7";
        assert!(seven, "{program:?} {}", shown(result));
    }
}

#[test]
fn under_a_script_main_is_main() {
    let daemon = wide();
    let code = "import __main__\nif __name__ == '__main__': print(__file__, __main__.__name__)";
    let result = run(&daemon, "python", code, &json!({ "mode": "script" }));
    assert_eq!(result["stdout"], "/code/main.py __main__\n");
}

// RC-08
#[test]
fn a_mebibyte_of_code_runs_and_its_last_line_has_its_number() {
    let daemon = wide();
    let full = |comment: &str, end: &str| {
        let line = format!("{comment}{}\n", "x".repeat(98 - comment.len()));
        let mut code = line.repeat(10_000);
        code.push_str(&format!(
            "{comment}{}\n",
            "x".repeat((1 << 20) - code.len() - end.len() - comment.len() - 1)
        ));
        code.push_str(end);
        assert_eq!(code.len(), 1 << 20);
        code
    };
    let python = full("#", "def handler(event): return 1 / event");
    let node = full("//", "exports.handler = (event) => 1 / event.one.two");
    let shell = full("#", "echo $SANDBOX_EVENT_FILE; no-such-command");
    let results = run_all(
        &daemon,
        &[
            ("python", &python, json!({ "event": 1 })),
            ("python", &python, json!({ "event": 0 })),
            ("javascript", &node, Value::Null),
            ("shell", &shell, Value::Null),
        ],
    );
    assert_eq!(results[0]["return_value"], 1.0, "{}", shown(&results[0]));
    assert_says(&results[1], "stderr", &["/code/main.py\", line 10002", "ZeroDivisionError"]);
    assert_says(&results[2], "stderr", &["/code/main.js:10002", "TypeError"]);
    assert_says(&results[3], "stderr", &["line 10002: no-such-command"]);
}
