//! What the caller gives arrives unchanged: the event, standard input, the environment, files.

use conformance::Daemon;
use serde_json::{Value, json};

use crate::ask::{assert_end, run, run_all, shown, wide};

/// Posts a body whose `event` is this very text.
fn with_event(daemon: &Daemon, language: &str, code: &str, event: &str) -> conformance::Answer {
    let code = serde_json::to_string(code).unwrap();
    let body = format!(r#"{{"language":"{language}","code":{code},"workspace":"fresh","event":{event}}}"#);
    daemon.post("/execute", "application/json", body.into_bytes())
}

const SHELL_ECHO: &str = "cat $SANDBOX_EVENT_FILE";

// RC-14
#[test]
fn a_shell_script_has_the_event_as_it_was_written() {
    let daemon = wide();
    for event in [
        "12345678901234567890",
        "1e400",
        "-0.0",
        r#"{"b":1,"a":2,"b":3}"#,
        r#"{"__proto__":{"x":1}}"#,
        r#"{"":0,"é":"\u00e9😀"}"#,
        "{}",
        "null",
        "[ 1,  2 ]",
        r#""\u0000""#,
    ] {
        let result = with_event(&daemon, "shell", SHELL_ECHO, event).result();
        assert_eq!(result["stdout"], event, "{}", shown(&result));
    }
}

// RC-14
#[test]
fn a_handler_gets_integers_of_any_length_key_order_and_odd_keys() {
    let daemon = wide();
    let echo = "import json\ndef handler(event): return json.dumps(event, ensure_ascii=False)";
    for (event, expected) in [
        ("12345678901234567890", "12345678901234567890"),
        ("[18446744073709551617, 1e400]", "[18446744073709551617, Infinity]"),
        (
            r#"{"z": 1, "a": 2, "__proto__": 3, "": 4, "é😀": 5}"#,
            r#"{"z": 1, "a": 2, "__proto__": 3, "": 4, "é😀": 5}"#,
        ),
        ("{}", "{}"),
        ("null", "null"),
    ] {
        let result = with_event(&daemon, "python", echo, event).result();
        assert_eq!(result["return_value"], expected, "{}", shown(&result));
    }
    let node =
        "exports.handler = (event) => [Object.keys(event), event.b === Infinity, event.own, ({}).x ?? null]";
    let result =
        with_event(&daemon, "javascript", node, r#"{"z":1,"b":1e400,"__proto__":{"x":1},"own":"é😀"}"#)
            .result();
    assert_eq!(result["return_value"], json!([["z", "b", "__proto__", "own"], true, "é😀", null]));
}

// RC-14
#[test]
fn nesting_up_to_a_thousand_levels_arrives_and_one_more_is_refused() {
    let daemon = wide();
    let python = "def handler(event):\n  depth = 0\n  while event: event, depth = event[0], depth + 1\n  return depth + 1";
    let node = "exports.handler = (event) => { let depth = 1; while (event.length) { event = event[0]; depth++ } return depth }";
    for depth in [127, 128, 129, 1000] {
        let event = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for (language, code) in [("python", python), ("javascript", node)] {
            let result = with_event(&daemon, language, code, &event).result();
            assert_eq!(result["return_value"], depth, "{language} {}", shown(&result));
        }
        let shell = with_event(&daemon, "shell", SHELL_ECHO, &event).result();
        assert_eq!(shell["stdout"], event);
    }
    for depth in [1001, 10_000, 1_000_000] {
        let event = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let refused = with_event(&daemon, "python", python, &event);
        assert_eq!((refused.status, refused.error_code().as_str()), (400, "Executor.ValidationError"));
        assert!(refused.text().contains("1000 levels"), "{}", refused.text());
    }
}

#[test]
fn a_handler_may_return_a_hundred_levels() {
    let daemon = wide();
    let python = "def handler(event):\n  for _ in range(99): event = [event]\n  return event";
    let node = "exports.handler = (event) => { for (let i = 0; i < 99; i++) event = [event]; return event }";
    for (language, code) in [("python", python), ("javascript", node)] {
        let result = run(&daemon, language, code, &json!({ "event": 1 }));
        let text = result["return_value"].to_string();
        assert_eq!(text, format!("{}1{}", "[".repeat(99), "]".repeat(99)), "{}", shown(&result));
    }
}

#[test]
fn eight_mebibytes_of_event_arrive() {
    let daemon = wide();
    let event = "é".repeat(4 << 20);
    let more = || json!({ "event": event });
    let results = run_all(
        &daemon,
        &[
            ("python", "def handler(event): return [len(event), event == 'é' * len(event)]", more()),
            (
                "javascript",
                "exports.handler = (event) => [event.length, event === 'é'.repeat(event.length)]",
                more(),
            ),
            ("shell", "wc -c < $SANDBOX_EVENT_FILE", more()),
        ],
    );
    assert_eq!(results[0]["return_value"], json!([4 << 20, true]), "{}", shown(&results[0]));
    assert_eq!(results[1]["return_value"], json!([4 << 20, true]), "{}", shown(&results[1]));
    assert_eq!(results[2]["stdout"].as_str().unwrap().trim(), ((8 << 20) + 2).to_string());
}

// RC-15
#[test]
fn standard_input_and_event_are_two_things() {
    let daemon = wide();
    let python = "import sys\ndef handler(event): return [event, sys.stdin.read()]";
    let node = "exports.handler = (event) => [event, require('fs').readFileSync(0, 'utf8')]";
    let both = json!({ "event": { "n": 1 }, "stdin": "line\n\0é😀" });
    for (more, expected) in [
        (both, json!([{ "n": 1 }, "line\n\0é😀"])),
        (json!({}), json!([{}, ""])),
        (json!({ "stdin": "" }), json!([{}, ""])),
        (json!({ "stdin": "{\"n\": 2}" }), json!([{ "n": 2 }, "{\"n\": 2}"])),
        (json!({ "stdin": "0" }), json!([0, "0"])),
        (json!({ "stdin": "not json" }), json!([{}, "not json"])),
        (json!({ "event": null, "stdin": "1" }), json!([null, "1"])),
    ] {
        for (language, code) in [("python", python), ("javascript", node)] {
            let result = run(&daemon, language, code, &more);
            assert_eq!(result["return_value"], expected, "{more} {}", shown(&result));
        }
    }
    let shell = run(&daemon, "shell", "cat; cat $SANDBOX_EVENT_FILE", &json!({ "stdin": "[1]", "event": 2 }));
    assert_eq!(shell["stdout"], "[1]2");
}

// RC-15
#[test]
fn large_input_is_there_to_be_read_or_left() {
    let daemon = wide();
    let stdin = "0123456789".repeat(1 << 20);
    let more = || json!({ "stdin": stdin, "event": 1 });
    let results = run_all(
        &daemon,
        &[
            ("shell", "wc -c", more()),
            ("shell", "true", more()),
            ("shell", "head -c 5", more()),
            ("python", "import sys\ndef handler(event): return len(sys.stdin.read())", more()),
            ("python", "def handler(event): return event", more()),
        ],
    );
    for result in &results {
        assert_end(result, "success", 0, "exit");
    }
    assert_eq!(results[0]["stdout"], "10485760\n");
    assert_eq!(results[2]["stdout"], "01234");
    assert_eq!(results[3]["return_value"], 10 << 20);
}

#[test]
fn the_environment_arrives_up_to_its_bounds() {
    let daemon = wide();
    // 64 names of 4 bytes and values of 508 bytes: 32 KiB.
    let env: serde_json::Map<_, _> = (0..64).map(|n| (format!("V_{n:02}"), "é".repeat(254).into())).collect();
    let more = || json!({ "env_vars": env });
    let results = run_all(
        &daemon,
        &[
            (
                "python",
                "import os\ndef handler(event): return sum(os.environ[f'V_{n:02}'] == 'é' * 254 for n in range(64))",
                more(),
            ),
            (
                "javascript",
                "exports.handler = () => { let n = 0; for (const [k, v] of Object.entries(process.env)) n += k.startsWith('V_') && v === 'é'.repeat(254); return n }",
                more(),
            ),
            ("shell", "env | grep -c '^V_.._*=é*$'", more()),
            (
                "python",
                "import subprocess\ndef handler(event): return int(subprocess.check_output('env | grep -c ^V_', shell=True))",
                more(),
            ),
        ],
    );
    for result in &results {
        let counted = result["return_value"]
            .as_u64()
            .or_else(|| result["stdout"].as_str().unwrap().trim().parse().ok());
        assert_eq!(counted, Some(64), "{}", shown(result));
    }
    let mut one_more = env.clone();
    one_more.insert("ONE_MORE".into(), "".into());
    let request = json!({ "language": "shell", "code": "true", "env_vars": one_more });
    assert_eq!(daemon.execute(&request).error_code(), "Executor.ValidationError");
}

#[test]
fn odd_values_of_the_environment_arrive_too() {
    let daemon = wide();
    let env = json!({ "EMPTY": "", "LINES": "a\nb\n", "_X": "= $HOME `id` '\" \\", "LD_PRELOAD": "/nowhere.so", "PYTHONPATH": "/x", "NODE_OPTIONS": "--bad" });
    let results = run_all(
        &daemon,
        &[
            (
                "python",
                "import os\ndef handler(event): return {k: os.environ[k] for k in event}",
                json!({ "env_vars": env, "event": env }),
            ),
            (
                "javascript",
                "exports.handler = (event) => Object.fromEntries(Object.keys(event).map((k) => [k, process.env[k]]))",
                json!({ "env_vars": env, "event": env }),
            ),
        ],
    );
    for result in &results {
        assert_eq!(result["return_value"], env, "{}", shown(result));
    }
}

#[test]
fn files_are_in_the_workspace_before_the_program_starts() {
    let daemon = wide();
    let files = json!([
        { "path": "a.txt", "content": "é\0\n", "encoding": "utf8" },
        { "path": "deep/er/b.bin", "content": "AP/+gA==", "encoding": "base64" },
        { "path": "deep/empty", "content": "", "encoding": "utf8" },
        { "path": ".hidden", "content": "h", "encoding": "utf8" },
    ]);
    let more = || json!({ "files": files });
    let shell = "cat a.txt; od -An -tx1 deep/er/b.bin; wc -c < deep/empty; cat .hidden; pwd";
    let python = "import os\ndef handler(event): return [open('a.txt', 'rb').read().hex(), open('deep/er/b.bin', 'rb').read().hex(), os.path.getsize('deep/empty'), open('.hidden').read(), os.getcwd()]";
    let node = "const fs = require('fs'); exports.handler = () => [fs.readFileSync('a.txt', 'hex'), fs.readFileSync('deep/er/b.bin', 'hex'), fs.statSync('deep/empty').size, fs.readFileSync('.hidden', 'utf8'), process.cwd()]";
    let results = run_all(
        &daemon,
        &[("python", python, more()), ("javascript", node, more()), ("shell", shell, more())],
    );
    for result in &results[..2] {
        assert_eq!(
            result["return_value"],
            json!(["c3a9000a", "00fffe80", 0, "h", "/workspace"]),
            "{}",
            shown(result)
        );
    }
    assert_eq!(results[2]["stdout"], "é\0\n 00 ff fe 80\n0\nh/workspace\n");
}

#[test]
fn an_input_file_that_cannot_be_written_fails_the_run_and_says_which() {
    let daemon = wide();
    for (language, code) in [
        ("python", "def handler(event): print('ran')"),
        ("javascript", "console.log('ran')"),
        ("shell", "echo ran"),
    ] {
        let session = json!({ "session_id": language });
        run(&daemon, "shell", "mkdir -p taken/b; echo x > a", &session);
        let place = if language == "python" { "taken/b" } else { "a/b" };
        let files = json!([{ "path": place, "content": "y", "encoding": "utf8" }]);
        let result = run(&daemon, language, code, &json!({ "session_id": language, "files": files }));
        assert_end(&result, "failed", 1, "exception");
        assert_eq!(result["stdout"], "");
        assert!(
            result["stderr"].as_str().unwrap().contains(&format!("cannot write input file '{place}'")),
            "{}",
            shown(&result)
        );
        assert_eq!(result["return_value"], Value::Null);
    }
}
