//! Sandboxes that were booted before anybody asked for them: what waits, who gets it, and that nobody can tell.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use conformance::processes::{self, waiting};
use conformance::{Daemon, Settings, can, is_root};
use serde_json::{Value, json};

use crate::ask::{assert_end, run};

const ECHOES: [(&str, &str); 3] = [
    ("python", "def handler(event):\n  return event"),
    ("javascript", "exports.handler = (event) => event"),
    ("shell", "cat"),
];

/// How many of each language wait in [`with_a_pool`].
const SIZES: [(&str, u64); 3] = [("python", 2), ("javascript", 1), ("shell", 1)];

/// `None` where nobody can see what waits.
fn with_a_pool() -> Option<Daemon> {
    if !can(is_root(), "a pool: only root can see what waits in it") {
        return None;
    }
    let daemon = Settings::new().warm().start();
    daemon.eventually("all have booted", |daemon| {
        SIZES.iter().all(|(language, size)| ready(daemon, language) == *size)
    });
    Some(daemon)
}

fn ready(daemon: &Daemon, language: &str) -> u64 {
    count(daemon, &format!("sandbox_executor_waiting_sandboxes{{language=\"{language}\"}}"))
}

/// Asks until one waits for it: what waits follows what is asked for.
fn warm(daemon: &Daemon, language: &str, code: &str, more: &Value) -> Value {
    for _ in 0..40 {
        let result = run(daemon, language, code, more);
        if sandbox(&result) == "warm" {
            return result;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    panic!("none ever waited\n{}", daemon.log());
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
    for place in [json!("persistent"), json!("fresh")] {
        let Some(daemon) = with_a_pool() else { return };
        let first = waiting(daemon.pid());
        // Of node and of bash one waits, over the container's workspace.
        let languages = if place == "fresh" { &ECHOES[..1] } else { &ECHOES };
        for (language, code) in languages {
            let result = run(&daemon, language, code, &json!({ "workspace": place }));
            assert_end(&result, "success", 0, "exit");
            assert_eq!(sandbox(&result), "warm", "{language}: {result:#}");
            let warm =
                format!("sandbox_executor_sandboxes_total{{language=\"{language}\",sandbox=\"warm\"}}");
            assert_eq!(count(&daemon, &warm), 1);
        }
        daemon.wait_for_pool();
        let used = first.iter().filter(|pid| !waiting(daemon.pid()).contains(pid)).count();
        assert!(used >= languages.len(), "{first:?}, {:?}", waiting(daemon.pid()));
        daemon.settle();
    }
}

#[test]
fn nothing_of_one_run_is_in_the_next() {
    let Some(daemon) = with_a_pool() else { return };
    let leave = "import os, sys\n\
        def handler(event):\n  \
          before = (sorted(os.listdir('/tmp')), sorted(os.listdir('/code')), os.environ.get('LEFT'), hasattr(sys, 'left'))\n  \
          open('/tmp/left', 'w').close(); open('/dev/shm/left', 'w').close(); os.environ['LEFT'] = '1'; sys.left = 1\n  \
          return list(before)";
    for _ in 0..4 {
        let result = warm(&daemon, "python", leave, &json!({ "env_vars": { "GIVEN": "1" } }));
        assert_eq!(result["return_value"], json!([[], ["main.py"], null, false]), "{result:#}");
    }
    // Two that waited at the same time are no twins.
    let random = "import random, uuid\ndef handler(event): return [random.random(), str(uuid.uuid4())]";
    let [one, other] =
        [(), ()].map(|()| warm(&daemon, "python", random, &Value::Null)["return_value"].clone());
    for at in 0..2 {
        assert_ne!(one[at], other[at]);
    }
}

#[test]
fn who_asks_for_less_gets_less_and_the_next_of_them_waits() {
    let Some(daemon) = with_a_pool() else { return };
    let small = json!({ "limits": { "memory_mb": 64, "max_open_files": 77 }, "timeout": 20 });
    let code = "import resource\n\
        def handler(event):\n  return resource.getrlimit(resource.RLIMIT_NOFILE)[0]";
    let first = run(&daemon, "python", code, &small);
    assert_eq!((sandbox(&first), &first["return_value"]), ("cold", &json!(77)), "{first:#}");
    let second = warm(&daemon, "python", code, &small);
    assert_eq!(second["return_value"], 77, "{second:#}");
    let hoard = "def handler(event):\n  held = []\n  while True: held.append(bytearray(b'x') * (4 << 20))";
    let third = warm(&daemon, "python", hoard, &small);
    assert_eq!(
        (&third["cause"], &third["cause_detail"]["limit"]),
        (&json!("memory_limit"), &json!(64.0)),
        "{third:#}"
    );
    // How long it may take is no matter of the sandbox.
    let brief = json!({ "limits": small["limits"], "timeout": 1 });
    let late = warm(&daemon, "python", "import time\ndef handler(event): time.sleep(30)", &brief);
    assert_eq!(
        (&late["cause"], &late["cause_detail"]["limit"]),
        (&json!("wall_timeout"), &json!(1.0)),
        "{late:#}"
    );
}

#[test]
fn the_next_of_a_session_waits_over_its_workspace() {
    let Some(daemon) = with_a_pool() else { return };
    let session = json!({ "session_id": "one" });
    let first = run(&daemon, "shell", "echo 1 >count", &session);
    assert_eq!((sandbox(&first), &first["status"]), ("cold", &json!("success")), "{first:#}");
    let second = warm(&daemon, "shell", "cat count; echo 1 >>count", &session);
    assert!(second["stdout"].as_str().unwrap().starts_with("1\n"), "{second:#}");
    assert_eq!(second["artifacts"][0]["change"], "modified", "{second:#}");
    // Another session, whose sandbox nobody prepared, sees nothing of it.
    let other = run(&daemon, "shell", "ls", &json!({ "session_id": "other" }));
    assert_eq!((sandbox(&other), &other["stdout"]), ("cold", &json!("")), "{other:#}");
    daemon.settle();
}

#[test]
fn a_fresh_workspace_that_waited_is_empty_and_the_runs_own() {
    let Some(daemon) = with_a_pool() else { return };
    let code = "import os\nprint(os.listdir('.'))\nopen('left', 'w').write('x')";
    for number in 1..=3 {
        let id = format!("exec_fresh_{number}");
        let request = json!({ "workspace": "fresh", "mode": "script", "execution_id": id });
        let result = run(&daemon, "python", code, &request);
        assert_eq!(result["stdout"], "[]\n", "{result:#}");
        assert_eq!(result["artifacts"][0]["path"], "left", "{result:#}");
        let artifact = daemon.get(&format!("/executions/{id}/artifacts/left"));
        assert_eq!((artifact.status, artifact.text().as_str()), (200, "x"));
        let fresh = fs::read_dir(daemon.home().join("sessions/.fresh")).unwrap();
        let names: Vec<_> = fresh.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(names.iter().filter(|name| name.starts_with(&id)).count(), 1, "{names:?}");
        daemon.eventually("the next one waits", |daemon| ready(daemon, "python") == SIZES[0].1);
        if number > 1 {
            assert_eq!(sandbox(&result), "warm", "{result:#}");
        }
    }
    daemon.settle();
}

#[test]
fn one_that_dies_while_it_waits_is_replaced_and_none_is_missed() {
    let Some(daemon) = with_a_pool() else { return };
    for _ in 0..2 {
        daemon.wait_for_pool();
        let roots = waiting(daemon.pid());
        let all = processes::all();
        // The inits: what is inside dies with them.
        let inside =
            all.values().filter(|process| roots.contains(&process.parent)).map(|process| process.pid);
        processes::signal("KILL", &inside.collect::<Vec<_>>());
        daemon.eventually("those are over", |_| {
            let now = processes::all();
            let is_over = |pid: &u32| now.get(pid).is_none_or(|process| process.state == 'Z');
            let booted = roots.iter().filter(|root| all.values().any(|process| process.parent == **root));
            booted.clone().all(is_over)
        });
        for (language, code) in ECHOES {
            assert_end(&run(&daemon, language, code, &Value::Null), "success", 0, "exit");
        }
    }
    daemon.settle();
}

#[test]
fn a_session_that_was_removed_stays_removed() {
    let Some(daemon) = with_a_pool() else { return };
    let session = json!({ "session_id": "gone" });
    warm(&daemon, "shell", "echo 1 >one", &session);
    daemon.eventually("the next one waits", |daemon| ready(daemon, "shell") == 1);
    let path = daemon.home().join("sessions/gone");
    fs::remove_dir_all(&path).unwrap();
    // What waits is looked at every second.
    std::thread::sleep(Duration::from_secs(3));
    assert!(!path.exists());
    let result = run(&daemon, "shell", "ls; echo 2 >two", &session);
    assert_end(&result, "success", 0, "exit");
    assert_eq!(result["stdout"], "", "{result:#}");
    assert_eq!(fs::read_to_string(path.join("two")).unwrap(), "2\n");
}

#[test]
fn without_memory_for_them_fewer_wait_and_all_is_well() {
    if !can(is_root(), "a pool: only root can see what waits in it") {
        return;
    }
    let daemon = Settings::new().set("POOL_PYTHON", 8).set("POOL_MEMORY_MB", 30).start();
    let python = || ready(&daemon, "python");
    daemon.eventually("some wait", |_| python() > 0);
    std::thread::sleep(Duration::from_secs(2));
    assert!((1..=4).contains(&python()), "{}", python());
    for _ in 0..5 {
        assert_end(&run(&daemon, "python", "print(1)", &json!({ "mode": "script" })), "success", 0, "exit");
    }
    daemon.eventually("as few wait again", |_| (1..=4).contains(&python()));
}

#[test]
fn another_interpreter_in_its_place_empties_the_pool() {
    if !can(is_root(), "mounting over the interpreter takes root") {
        return;
    }
    let Some(daemon) = with_a_pool() else { return };
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
