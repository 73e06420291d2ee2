//! Sandboxes that were booted before anybody asked for them: what waits, who gets it, and that nobody can tell.

use std::collections::BTreeSet;
use std::fs;

use conformance::processes::{self, waiting};
use conformance::{Daemon, Settings, can, is_root};
use serde_json::{Value, json};

use crate::ask::{assert_end, run};

const ECHOES: [(&str, &str); 3] = [
    ("python", "def handler(event):\n  return event"),
    ("javascript", "exports.handler = (event) => event"),
    ("shell", "cat"),
];

fn with_a_pool() -> Daemon {
    Settings::new().warm().start()
}

/// In its turn, when everything waits again that shall.
fn next(daemon: &Daemon, language: &str, code: &str, more: &Value) -> Value {
    daemon.wait_for_pool();
    run(daemon, language, code, more)
}

fn sandbox(result: &Value) -> &str {
    result["metrics"]["sandbox"].as_str().unwrap()
}

fn count(daemon: &Daemon, series: &str) -> u64 {
    let text = daemon.get("/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(series)).unwrap();
    line.trim().parse().unwrap()
}

#[test]
fn the_usual_request_finds_one_that_waits_and_it_is_used_once() {
    let daemon = with_a_pool();
    for (language, code) in ECHOES {
        let mut seen = BTreeSet::new();
        for round in 1..=3 {
            daemon.wait_for_pool();
            seen.extend(waiting(daemon.pid()));
            let result = run(&daemon, language, code, &Value::Null);
            assert_end(&result, "success", 0, "exit");
            assert_eq!(sandbox(&result), "warm", "{language}, {round}: {result:#}");
        }
        let warm = format!("sandbox_executor_sandboxes_total{{language=\"{language}\",sandbox=\"warm\"}}");
        assert_eq!(count(&daemon, &warm), 3);
        daemon.wait_for_pool();
        // Each was another one, and so is what waits now.
        assert!(seen.len() >= processes::may_wait(daemon.pid()) + 2, "{seen:?}");
    }
    daemon.settle();
}

#[test]
fn nothing_of_one_run_is_in_the_next() {
    let daemon = with_a_pool();
    let leave = "import os, sys\n\
        def handler(event):\n  \
          before = (sorted(os.listdir('/tmp')), sorted(os.listdir('/code')), os.environ.get('LEFT'), hasattr(sys, 'left'))\n  \
          open('/tmp/left', 'w').close(); open('/dev/shm/left', 'w').close(); os.environ['LEFT'] = '1'; sys.left = 1\n  \
          return list(before)";
    let first = next(&daemon, "python", leave, &json!({ "env": { "GIVEN": "1" } }));
    for _ in 0..3 {
        let again = next(&daemon, "python", leave, &Value::Null);
        assert_eq!(again["return_value"], first["return_value"], "{again:#}");
    }
    assert_eq!(first["return_value"], json!([[], ["main.py"], null, false]), "{first:#}");
    // Two that waited at the same time are no twins.
    let random =
        "import random, uuid\ndef handler(event): return [random.random(), hash('x'), str(uuid.uuid4())]";
    let [one, other] =
        [(), ()].map(|()| next(&daemon, "python", random, &Value::Null)["return_value"].clone());
    for at in 0..3 {
        assert_ne!(one[at], other[at]);
    }
}

#[test]
fn who_asks_for_less_gets_less_and_the_next_of_them_waits() {
    let daemon = with_a_pool();
    let small = json!({ "limits": { "memory_mb": 64, "max_open_files": 77 }, "timeout": 20 });
    let code = "import resource\n\
        def handler(event):\n  return resource.getrlimit(resource.RLIMIT_NOFILE)[0]";
    let first = next(&daemon, "python", code, &small);
    assert_eq!((sandbox(&first), &first["return_value"]), ("cold", &json!(77)), "{first:#}");
    // A file is not what waits for it: when all wait, one of them does.
    let second = next(&daemon, "python", code, &small);
    assert_eq!((sandbox(&second), &second["return_value"]), ("warm", &json!(77)), "{second:#}");
    let hoard = "def handler(event):\n  held = []\n  while True: held.append(bytearray(b'x') * (4 << 20))";
    let third = next(&daemon, "python", hoard, &small);
    assert_eq!((sandbox(&third), &third["cause"]), ("warm", &json!("memory_limit")), "{third:#}");
    assert_eq!(third["cause_detail"]["limit"], 64.0, "{third:#}");
    // How long it may take is no matter of the sandbox.
    let brief = json!({ "limits": small["limits"], "timeout": 0.5 });
    let late = next(&daemon, "python", "import time\ndef handler(event): time.sleep(30)", &brief);
    assert_eq!((sandbox(&late), &late["cause"]), ("warm", &json!("wall_timeout")), "{late:#}");
}

#[test]
fn the_next_of_a_session_waits_over_its_workspace() {
    let daemon = with_a_pool();
    let session = json!({ "session_id": "one" });
    let first = next(&daemon, "shell", "echo 1 >count", &session);
    assert_end(&first, "success", 0, "exit");
    let second = next(&daemon, "shell", "cat count; echo 2 >count", &session);
    assert_eq!((sandbox(&second), &second["stdout"]), ("warm", &json!("1\n")), "{second:#}");
    assert_eq!(second["artifacts"][0]["change"], "modified", "{second:#}");
    // Another session, whose sandbox nobody prepared, sees nothing of it.
    let other = next(&daemon, "shell", "ls", &json!({ "session_id": "other" }));
    assert_eq!((sandbox(&other), &other["stdout"]), ("cold", &json!("")), "{other:#}");
    daemon.settle();
}

#[test]
fn a_fresh_workspace_that_waited_is_empty_and_the_runs_own() {
    let daemon = with_a_pool();
    let fresh = json!({ "workspace": "fresh", "execution_id": "exec_fresh_1" });
    // What waits at first, of a shell, is over the container's workspace.
    next(&daemon, "python", "open('mine', 'w').close()", &json!({ "mode": "script" }));
    let code = "import os\nprint(os.listdir('.'))\nopen('left', 'w').write('x')";
    let mut result = next(&daemon, "python", code, &json!({ "workspace": "fresh", "mode": "script" }));
    assert_eq!((sandbox(&result), &result["stdout"]), ("warm", &json!("[]\n")), "{result:#}");
    result = next(
        &daemon,
        "python",
        code,
        &json!({ "workspace": "fresh", "mode": "script", "execution_id": "exec_fresh_1" }),
    );
    assert_eq!((sandbox(&result), &result["stdout"]), ("warm", &json!("[]\n")), "{result:#}");
    assert_eq!(result["artifacts"][0]["path"], "left", "{result:#}");
    let artifact = daemon.get("/executions/exec_fresh_1/artifacts/left");
    assert_eq!((artifact.status, artifact.text().as_str()), (200, "x"), "{fresh}");
    daemon.settle();
}

#[test]
fn one_that_dies_while_it_waits_is_replaced_and_none_is_missed() {
    let daemon = with_a_pool();
    for _ in 0..3 {
        daemon.wait_for_pool();
        let all = processes::all();
        // What is inside them: inits, launchers, runtimes.
        let roots = waiting(daemon.pid());
        let inside =
            all.values().filter(|process| roots.contains(&process.parent)).map(|process| process.pid);
        processes::signal("KILL", &inside.collect::<Vec<_>>());
        for (language, code) in ECHOES {
            assert_end(&run(&daemon, language, code, &Value::Null), "success", 0, "exit");
        }
    }
    daemon.settle();
}

#[test]
fn a_session_that_was_removed_stays_removed() {
    let daemon = with_a_pool();
    let session = json!({ "session_id": "gone" });
    next(&daemon, "shell", "echo 1 >one", &session);
    daemon.wait_for_pool();
    let path = daemon.home().join("sessions/gone");
    fs::remove_dir_all(&path).unwrap();
    // What waits is looked at every second.
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(!path.exists());
    let result = run(&daemon, "shell", "ls; echo 2 >two", &session);
    assert_end(&result, "success", 0, "exit");
    assert_eq!(result["stdout"], "", "{result:#}");
    assert_eq!(fs::read_to_string(path.join("two")).unwrap(), "2\n");
}

#[test]
fn without_memory_for_them_fewer_wait_and_all_is_well() {
    let daemon = Settings::new().set("POOL_PYTHON", 8).set("POOL_MEMORY_MB", 30).start();
    let python = || count(&daemon, "sandbox_executor_waiting_sandboxes{language=\"python\"}");
    daemon.eventually("some wait", |_| python() > 0);
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!((1..=4).contains(&python()), "{}", python());
    for _ in 0..5 {
        assert_end(&run(&daemon, "python", "print(1)", &json!({ "mode": "script" })), "success", 0, "exit");
    }
    assert!((1..=4).contains(&python()), "{}", python());
}

#[test]
fn another_interpreter_in_its_place_empties_the_pool() {
    if !can(is_root(), "mounting over the interpreter takes root") {
        return;
    }
    let daemon = with_a_pool();
    let before: BTreeSet<_> = waiting(daemon.pid()).into_iter().collect();
    // The same content, but for when it was last changed.
    let shell = fs::canonicalize("/usr/bin/bash").unwrap();
    let permissions = fs::metadata(&shell).unwrap().permissions();
    fs::set_permissions(&shell, permissions).unwrap();
    daemon.eventually("those of the old one are gone", |daemon| {
        let now: BTreeSet<_> = waiting(daemon.pid()).into_iter().collect();
        !before.is_subset(&now)
    });
    daemon.settle();
}
