//! EV: what variables, and what earlier runs left, do to interpreters and to the daemon.

use std::fs;
use std::os::unix::process::CommandExt;

use conformance::{Daemon, Settings};
use serde_json::{Value, json};

use crate::support::{inside, outside_through, probe};

/// A handler in each language that returns whether things are as they should be.
const HANDLERS: [(&str, &str); 2] = [
    ("python", "import os\ndef handler(event): return [[1], os.getcwd(), event]"),
    ("javascript", "exports.handler = async (event) => [JSON.parse('[1]'), process.cwd(), event]"),
];

/// Runs both handlers and a script, with these variables, in this session.
fn all_languages_work(daemon: &Daemon, session: &str, env: &Value) {
    for (language, code) in HANDLERS {
        let request = json!({
            "language": language, "code": code, "event": "e", "env_vars": env, "session_id": session,
        });
        let result = daemon.execute(&request).result();
        assert_eq!(result["return_value"], json!([[1], "/workspace", "e"]), "{language}: {result:#}");
    }
    let request =
        json!({ "language": "shell", "code": "pwd; exit 3", "env_vars": env, "session_id": session });
    let result = daemon.execute(&request).result();
    assert_eq!((&result["stdout"], &result["exit_code"]), (&json!("/workspace\n"), &json!(3)), "{result:#}");
}

/// Writes files into a session's workspace.
fn leave(daemon: &Daemon, session: &str, files: &[(&str, &str)]) {
    let files: Vec<_> =
        files.iter().map(|(path, content)| json!({ "path": path, "content": content })).collect();
    let request = json!({
        "language": "shell", "code": "chmod +x bin/* 2>/dev/null; true", "session_id": session, "files": files,
    });
    assert_eq!(daemon.execute(&request).result()["status"], "success");
}

const SHOUT_PYTHON: &str = "import os; os.write(1, b'HIJACKED')";
const SHOUT_NODE: &str = "require('fs').writeSync(1, 'HIJACKED')";
const SHOUT_SHELL: &str = "echo HIJACKED";

// EV-02
#[test]
fn hooks_of_the_interpreters_do_not_reach_their_start() {
    let daemon = Daemon::default_settings();
    leave(
        &daemon,
        "s",
        &[
            ("evil/sitecustomize.py", SHOUT_PYTHON),
            ("evil/usercustomize.py", SHOUT_PYTHON),
            ("evil/hook.js", SHOUT_NODE),
            ("evil/hook.sh", SHOUT_SHELL),
            ("sitecustomize.py", SHOUT_PYTHON),
            ("usercustomize.py", SHOUT_PYTHON),
            (".bashrc", SHOUT_SHELL),
            (".bash_profile", SHOUT_SHELL),
        ],
    );
    for (language, env) in [
        (
            "python",
            json!({
                "PYTHONSTARTUP": "/workspace/sitecustomize.py", "PYTHONPATH": "/workspace/evil", "PYTHONHOME": "/workspace",
                "PYTHONINSPECT": "1", "PYTHONBREAKPOINT": "sitecustomize.x", "PYTHONWARNINGS": "error",
                "PYTHONUSERBASE": "/workspace", "LD_PRELOAD": "/workspace/evil/none.so",
            }),
        ),
        (
            "javascript",
            json!({ "NODE_OPTIONS": "--require=/workspace/evil/hook.js --inspect", "NODE_PATH": "/workspace/evil" }),
        ),
    ] {
        let (_, code) = HANDLERS.into_iter().find(|(name, _)| *name == language).unwrap();
        let request =
            json!({ "language": language, "code": code, "event": "e", "env_vars": env, "session_id": "s" });
        let result = daemon.execute(&request).result();
        assert_eq!(result["return_value"], json!([[1], "/workspace", "e"]), "{result:#}");
        assert_eq!(result["stdout"], "", "{result:#}");
    }
    // bash's are the caller's own to set and reach that run alone; what they cannot do is to end it differently.
    let request = json!({
        "language": "shell", "code": "echo mine; exit 3", "session_id": "s",
        "env_vars": { "PROMPT_COMMAND": SHOUT_SHELL, "PS4": "$(echo HIJACKED)", "ENV": "/workspace/evil/hook.sh" },
    });
    let result = daemon.execute(&request).result();
    assert_eq!((&result["stdout"], &result["exit_code"]), (&json!("mine\n"), &json!(3)), "{result:#}");
    all_languages_work(&daemon, "s", &json!({}));

    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("sitecustomize.py"), SHOUT_PYTHON).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the test's own child, not the daemon's")]
    let control = std::process::Command::new("/usr/bin/python3")
        .arg0("python3")
        .args(["-c", "pass"])
        .env("PYTHONPATH", directory.path())
        .output()
        .unwrap();
    assert_eq!(control.stdout, b"HIJACKED");
}

// EV-03
#[test]
fn path_and_home_do_not_choose_the_interpreter_or_the_directory() {
    let daemon = Daemon::default_settings();
    let fake = format!("#!/bin/sh\n{SHOUT_SHELL}");
    leave(
        &daemon,
        "s",
        &[("bin/python3", &fake), ("bin/node", &fake), ("bin/bash", &fake), ("bin/env", &fake)],
    );
    all_languages_work(
        &daemon,
        "s",
        &json!({ "PATH": "/workspace/bin", "HOME": "/", "TMPDIR": "/proc", "PWD": "/etc" }),
    );
    let control = daemon
        .execute(&json!({
            "language": "shell", "code": "python3", "env_vars": { "PATH": "/workspace/bin" }, "session_id": "s",
        }))
        .result();
    assert_eq!(control["stdout"], "HIJACKED\n", "{control:#}");
}

// EV-04
#[test]
fn modules_left_by_an_earlier_run_do_not_shadow_the_runners() {
    let daemon = Daemon::default_settings();
    let mut files = vec![
        ("node_modules/fs/index.js", SHOUT_NODE),
        ("node_modules/module/index.js", SHOUT_NODE),
        ("numpy/__init__.py", SHOUT_PYTHON),
        (".npmrc", "node-options=--inspect"),
        (".bashrc", SHOUT_SHELL),
        ("package.json", r#"{"type": "module", "main": "none"}"#),
    ];
    for module in [
        "asyncio.py",
        "base64.py",
        "binascii.py",
        "encodings.py",
        "inspect.py",
        "io.py",
        "math.py",
        "os.py",
        "re.py",
        "runner.py",
        "site.py",
        "time.py",
        "traceback.py",
        "linecache.py",
        "types.py",
        "codecs.py",
    ] {
        files.push((module, SHOUT_PYTHON));
    }
    leave(&daemon, "s", &files);
    let request = json!({
        "language": "python", "session_id": "s", "event": "e",
        "code": "import sys\nasync def handler(event): return [sys.modules['os'].__file__.startswith('/usr'), event]",
    });
    let result = daemon.execute(&request).result();
    assert_eq!((&result["return_value"], &result["stdout"]), (&json!([true, "e"]), &json!("")), "{result:#}");
    let failing = json!({
        "language": "python", "session_id": "s", "code": "def handler(event): raise ValueError('mine')",
    });
    let result = daemon.execute(&failing).result();
    assert!(result["stderr"].as_str().unwrap().contains("ValueError: mine"), "{result:#}");
    assert_eq!(result["stdout"], "", "{result:#}");
    all_languages_work(&daemon, "s", &json!({}));
    // The session's files are there for those who ask for them.
    let control = daemon
        .execute(
            &json!({ "language": "python", "mode": "script", "code": "import numpy", "session_id": "s" }),
        )
        .result();
    assert_eq!(control["stdout"], "HIJACKED", "{control:#}");
}

// EV-05, without a control plane: the daemon's own variables stay its own, the caller's stay the program's.
#[test]
fn proxies_of_the_daemon_are_not_the_programs() {
    let daemon = Settings::new()
        .set("HTTP_PROXY", "http://192.0.2.1:1")
        .set("https_proxy", "http://192.0.2.1:1")
        .start();
    let seen = inside(&daemon, probe!("environment.py"), &Value::Null);
    assert!(!seen.to_string().to_ascii_lowercase().contains("proxy"), "{seen:#}");
    let mut request = probe!("environment.py").request(&Value::Null);
    request["env_vars"] = json!({ "HTTP_PROXY": "http://192.0.2.2:2" });
    let seen = crate::support::answer(&daemon.execute(&request).result());
    assert_eq!(seen["environment"]["HTTP_PROXY"], "http://192.0.2.2:2");
}

// EV-06
#[test]
fn habits_of_the_daemons_environment_do_not_reach_programs() {
    let plain = Daemon::default_settings();
    let odd = Settings::new()
        .set("LANG", "C")
        .set("LC_ALL", "POSIX")
        .set("TZ", "Pacific/Kiritimati")
        .set("PYTHONIOENCODING", "latin-1")
        .set("LIMIT", "x")
        .start();
    let [first, second] = [&plain, &odd].map(|daemon| inside(daemon, probe!("limits.py"), &Value::Null));
    assert_eq!(first, second);
    let habits = json!({
        "umask": 0o022, "nice": 10, "oom_score_adj": 1000, "cwd": "/workspace", "groups": [],
        "time_zone": first["habits"]["time_zone"], "encoding": "utf-8", "file_system_encoding": "utf-8",
        "blocked_signals": "0000000000000000",
    });
    let mut seen = first["habits"].clone();
    seen["encoding"] = json!(seen["encoding"].as_str().unwrap().to_ascii_lowercase());
    assert_eq!(seen, habits);
    let control =
        outside_through(&["/usr/bin/env", "TZ=Pacific/Kiritimati"], probe!("limits.py"), &Value::Null);
    assert_eq!(control["habits"]["time_zone"][0], "+14", "{control:#}");
}
