//! `sandbox-executor run FILE`: one execution without a server, for people and scripts.

use std::fs;
use std::path::{Path, PathBuf};

use conformance::can;
use serde_json::{Value, json};

use crate::program::{Ended, Program, Running, is_root};

const PYTHON: &str = "def handler(event):\n    print('said')\n    return {'got': event}\n";
const JAVASCRIPT: &str = "exports.handler = (event) => { console.log('said'); return {got: event}; };\n";

fn run(file: &str, content: &str, more: &[&str]) -> Ended {
    let program = Program::new(&["run"]);
    let path = program.file(file, content);
    let ended = program.arguments(&[path.as_str()]).arguments(more).run();
    assert_eq!(ended.left, Vec::<std::path::PathBuf>::new(), "left in TMPDIR");
    ended
}

#[test]
fn each_language_is_known_by_its_extension_and_prints_what_it_said_and_returned() {
    for (file, code) in [("a.py", PYTHON), ("a.js", JAVASCRIPT), ("a.cjs", JAVASCRIPT)] {
        let ended = run(file, code, &["--event", "[1, null]"]);
        assert_eq!(ended.code, Some(0), "{file}: {}", ended.stderr);
        let (said, returned) = ended.stdout.split_once('\n').unwrap();
        assert_eq!(said, "said", "{file}");
        assert_eq!(serde_json::from_str::<Value>(returned).unwrap(), json!({"got": [1, null]}), "{file}");
        assert_eq!(ended.stderr, "", "{file}");
    }
    let module = run("a.mjs", "export const handler = async () => 'module';", &[]);
    assert_eq!((module.code, &*module.stdout), (Some(0), "\"module\"\n"), "{}", module.stderr);
    for file in ["a.sh", "a.bash"] {
        let ended = run(file, "echo out; echo err >&2", &[]);
        assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), "out\n", "err\n"), "{file}");
    }
}

#[test]
fn it_exits_with_the_programs_own_code() {
    for code in [0, 1, 3, 64, 124, 125, 255] {
        assert_eq!(run("a.sh", &format!("exit {code}"), &[]).code, Some(code));
    }
    assert_eq!(run("a.sh", "kill -9 $$", &[]).code, Some(137));
    let raised = run("a.py", "def handler(event):\n    raise KeyError('which')\n", &[]);
    assert_eq!(raised.code, Some(1));
    assert!(
        raised.stderr.contains("KeyError: 'which'") && raised.stderr.contains("line 2"),
        "{}",
        raised.stderr
    );
}

#[test]
fn a_timeout_is_124_and_a_limit_137() {
    let late = run("a.sh", "echo before; sleep 60", &["--timeout", "1"]);
    assert_eq!((late.code, &*late.stdout), (Some(124), "before\n"), "{}", late.stderr);
    assert!(late.stderr.contains("sandbox-executor: ") && late.stderr.contains('1'), "{}", late.stderr);
    let program = Program::new(&["run"]).set("MAX_MEMORY_MB", 64);
    let path = program.file(
        "a.py",
        "import time\nhoard = bytearray(400 << 20)\ntime.sleep(10)\ndef handler(event): pass\n",
    );
    let large = program.arguments(&[path.as_str()]).run();
    assert_eq!(large.code, Some(137), "{}", large.stderr);
}

#[test]
fn when_the_sandbox_fails_it_is_125_with_one_sentence() {
    let program = Program::new(&["run"]).set("WORKSPACE_PATH", "/nowhere/to/be/found");
    let path = program.file("a.sh", "true");
    let missing = program.arguments(&[path.as_str()]).run();
    assert_eq!(missing.code, Some(125), "{}", missing.stderr);
    assert_eq!(missing.stderr.lines().count(), 1, "{}", missing.stderr);
    assert!(missing.stderr.contains("/nowhere/to/be/found does not exist"), "{}", missing.stderr);
    if can(is_root(), "hiding bubblewrap takes root") {
        let program = Program::new(&["run"]);
        let path = program.file("a.sh", "true");
        let empty = program.path("tmp");
        let hide = format!("mount --bind '{}' /usr/bin", empty.display());
        let without = program.arguments(&[path.as_str()]).after(&hide).run();
        assert_eq!(without.code, Some(125), "{}", without.stderr);
        assert!(without.stderr.contains("bubblewrap is not installed"), "{}", without.stderr);
    }
}

#[test]
fn nothing_but_the_sandbox_is_needed_from_the_environment() {
    let program = Program::new(&["run"])
        .unset("PATH")
        .unset("WORKSPACE_PATH")
        .unset("SESSIONS_PATH")
        .unset("RESULTS_DIR");
    let path = program.file("a.sh", "pwd; ls -A | wc -l");
    let ended = program.arguments(&[path.as_str()]).run();
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "/workspace\n0\n"), "{}", ended.stderr);
}

#[test]
fn json_prints_the_whole_answer_as_the_api_would() {
    let ended = run("a.py", PYTHON, &["--json", "--event", "7"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    conformance::contract::check("POST", "/execute", 200, "application/json", ended.stdout.as_bytes());
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&answer["return_value"], &answer["stdout"]), (&json!({"got": 7}), &json!("said\n")));
    let failed = run("a.sh", "exit 9", &["--json"]);
    assert_eq!(failed.code, Some(9));
    assert_eq!(serde_json::from_str::<Value>(&failed.stdout).unwrap()["exit_code"], 9);
}

#[test]
fn the_language_can_be_named_and_the_program_read_from_stdin() {
    let named = run("program", "print('x')\ndef handler(event): return None", &["--language", "python"]);
    assert_eq!((named.code, &*named.stdout), (Some(0), "x\n"), "{}", named.stderr);
    let stdin = Program::new(&["run", "-", "--language", "shell"]).stdin("echo from stdin").run();
    assert_eq!((stdin.code, &*stdin.stdout), (Some(0), "from stdin\n"), "{}", stdin.stderr);
}

#[test]
fn what_cannot_be_run_is_64_with_what_to_do() {
    for (file, content, more, expected) in [
        ("a.txt", "true", &[][..], "use --language"),
        ("a", "true", &[], "use --language"),
        ("a.sh", "true", &["--language", "bash"], "there are python, javascript and shell"),
        ("a.sh", "true", &["--event", "{"], "--event is not JSON"),
        ("a.sh", "true", &["--timeout", "0"], "timeout must be"),
        ("a.sh", "true", &["--timeout", "soon"], "--timeout"),
        ("a.sh", "true", &["--timeuot", "3"], "--timeout"),
        ("a.sh", "", &[], "code must be"),
    ] {
        let ended = run(file, content, more);
        assert_eq!(ended.code, Some(64), "{file} {more:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{file} {more:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    let missing = Program::new(&["run", "/no/such/file.py"]).run();
    assert_eq!(missing.code, Some(64));
    assert!(missing.stderr.contains("cannot read /no/such/file.py: No such file"), "{}", missing.stderr);
    assert_eq!(Program::new(&["run"]).run().code, Some(64));
    let binary = run("a.sh", "\u{0}", &[]);
    assert_ne!(binary.code, Some(64), "a NUL is a character like any other: {}", binary.stderr);
}

#[test]
fn it_works_for_an_ordinary_user() {
    if !can(is_root(), "starting as another user takes root") {
        return;
    }
    let program = Program::new(&["run"]).started_by(1000);
    let path = program.file("a.sh", "id -u; echo kept > kept");
    let ended = program.arguments(&[path.as_str()]).run();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.left, Vec::<std::path::PathBuf>::new());
}

/// `run --stream`, once it has said `first` on its stdout.
fn streaming(code: &str, first: &str) -> (Running, std::path::PathBuf) {
    let program = Program::new(&["run", "--stream"]);
    let go = program.path("workspace").join("go");
    let path = program.file("a.sh", code);
    let mut running = program.arguments(&[path.as_str()]).begin();
    running.eventually("what it has written is there", |running| running.stdout() == first);
    (running, go)
}

#[test]
fn a_stream_appears_while_the_program_still_runs() {
    let code = "echo first; printf half >&2; while [ ! -e go ]; do sleep 0.02; done; echo last; exit 3";
    let (mut running, go) = streaming(code, "first\n");
    running.eventually("half a line is there", |running| running.stderr() == "half");
    fs::write(go, "").unwrap();
    let ended = running.end();
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(3), "first\nlast\n", "half"));
    assert_eq!(ended.left, Vec::<std::path::PathBuf>::new(), "left in TMPDIR");
}

#[test]
fn a_stream_ends_with_what_it_would_have_ended_with_otherwise() {
    for (file, code, more) in [
        ("a.py", PYTHON, &["--event", "[1, null]"][..]),
        ("a.js", JAVASCRIPT, &[]),
        ("a.py", "def handler(event):\n    raise KeyError('which')\n", &[]),
        ("a.sh", "exit 77", &[]),
        ("a.sh", "printf unfinished >&2; sleep 60", &["--timeout", "1"]),
        ("a.sh", "head -c 3000000 /dev/zero | tr '\\0' x; echo; printf 'caf\\303\\251 \\377'", &[]),
    ] {
        let plain = run(file, code, more);
        let streamed = run(file, code, &[&["--stream"], more].concat());
        assert_eq!(streamed.code, plain.code, "{code}: {}", streamed.stderr);
        assert!(streamed.stdout == plain.stdout, "{code}");
        assert_eq!(streamed.stderr, plain.stderr, "{code}");
    }
}

#[test]
fn an_interrupted_stream_is_130_and_leaves_nothing() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let (running, go) = streaming("echo first; sleep 60; echo never > go", "first\n");
        running.signal(signal);
        let ended = running.end();
        assert_eq!((ended.code, &*ended.stdout), (Some(code), "first\n"), "{}", ended.stderr);
        assert_eq!(ended.left, Vec::<std::path::PathBuf>::new(), "left in TMPDIR");
        assert!(!go.exists());
    }
}

#[test]
fn a_stream_whose_reader_leaves_ends_its_program() {
    let program = Program::new(&[]);
    let path = program.file("a.sh", "while sleep 0.01; do echo again; done");
    let ended = program.piped_into("head -n 1", &["run", "--stream", "--timeout", "60", &path]);
    assert_eq!((ended.code, &*ended.stdout), (Some(125), "again\n"), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot print the answer: Broken pipe"), "{}", ended.stderr);
}

#[test]
fn a_stream_and_json_exclude_each_other() {
    let both = run("a.sh", "true", &["--stream", "--json"]);
    assert_eq!((both.code, &*both.stdout), (Some(64), ""));
    assert!(both.stderr.contains("cannot be used with"), "{}", both.stderr);
}

#[test]
fn it_leaves_no_cgroup_behind() {
    let hierarchies = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].map(Path::new);
    let writable = |directory: &&&Path| directory.join("cgroup.procs").exists();
    let found = hierarchies.iter().find(writable).filter(|_| is_root());
    if !can(found.is_some(), "cgroups: only root may make them, where they are mounted") {
        return;
    }
    let around = found.unwrap().join(format!("test-run-{}", std::process::id()));
    fs::create_dir(&around).unwrap();
    let enter = format!("echo $$ >{}/cgroup.procs", around.display());
    for _ in 0..5 {
        let program = Program::new(&["run", "--json"]).after(&enter);
        let path = program.file("a.sh", "true");
        let ended = program.arguments(&[&path]).run();
        let result: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(result["isolation"]["memory"], "cgroup", "{result:#}");
        // Its place for cgroups stays, with none of a run in it.
        let place = around.join("sandbox-executor-1000");
        let left: Vec<_> = fs::read_dir(&place)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect();
        assert_eq!(left, Vec::<PathBuf>::new());
    }
    fs::remove_dir(around.join("sandbox-executor-1000")).unwrap();
    fs::remove_dir(around).unwrap();
}
