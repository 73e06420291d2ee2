//! XR: what one run leaves for another, and what runs at the same time see of each other.

use std::fs;
use std::time::SystemTime;

use conformance::{Daemon, Settings, processes};
use serde_json::{Value, json};

use crate::support::{answer, canary, outside, probe};

// XR-01
#[test]
fn only_the_same_sessions_workspace_outlives_a_run() {
    let daemon = Daemon::default_settings();
    let secret = canary("RESIDUE");
    let name = canary("file");
    let scatter = json!({ "name": name, "canary": secret });
    let left = answer(&daemon.execute(&probe!("scatter.py").in_session("a", &scatter)).result());
    let places = ["/tmp", "/dev/shm", "/code", "/workspace"].map(|place| format!("{place}/{name}"));
    let mut expected = places.to_vec();
    expected.sort_unstable();
    assert_eq!(left["left"], json!(expected));

    let find = json!({ "canary": secret, "places": ["/"] });
    let found = |request: &Value| answer(&daemon.execute(request).result())["found"].clone();
    assert_eq!(found(&probe!("find.py").in_session("b", &find)), json!([]));
    assert_eq!(found(&probe!("find.py").request(&find)), json!([]));
    let same = found(&probe!("find.py").in_session("a", &find));
    assert_eq!(same, json!([format!("/workspace/{name}")]));

    let directory = tempfile::tempdir().unwrap();
    let control = json!({ "name": name, "canary": secret, "places": [directory.path()] });
    outside(probe!("scatter.py"), &control);
    let control = outside(probe!("find.py"), &json!({ "canary": secret, "places": [directory.path()] }));
    assert_eq!(control["found"], json!([directory.path().join(&name)]));
}

// XR-02
#[test]
fn no_process_outlives_its_run_however_it_tries() {
    let daemon = Daemon::default_settings();
    let code = "import os, signal, time\n\
                for which in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:\n\
                \x20   signal.signal(which, signal.SIG_IGN)\n\
                if os.fork() == 0:\n\
                \x20   os.setsid()\n\
                \x20   if os.fork() == 0:\n\
                \x20       os.closerange(0, 100)\n\
                \x20       while True:\n\
                \x20           os.close(os.open('alive', os.O_CREAT | os.O_WRONLY)); os.utime('alive'); time.sleep(0.02)\n\
                \x20   os._exit(0)\n\
                while not os.path.exists('alive'): time.sleep(0.01)";
    let request = json!({ "language": "python", "mode": "script", "code": code, "session_id": "s" });
    let result = daemon.execute(&request).result();
    let answered = SystemTime::now();
    assert_eq!(result["status"], "success", "{result:#}");
    assert_eq!(processes::below(daemon.pid()), []);
    // Once more after what would be a few of its turns.
    daemon.settle();
    let touched = fs::metadata(daemon.home().join("sessions/s/alive")).unwrap().modified().unwrap();
    assert!(touched <= answered, "{:?} later", touched.duration_since(answered));

    let marker = canary("DAEMONISED").replace('-', "");
    let code = format!(
        "import os, time\nif os.fork(): os.wait(); os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n'{marker}'; time.sleep(60)"
    );
    crate::support::command(std::path::Path::new("/usr/bin/python3")).args(["-c", &code]).status().unwrap();
    let survivors = processes::mentioning(&marker);
    processes::signal("TERM", &survivors);
    assert!(!survivors.is_empty(), "outside it does outlive its parent");
}

// XR-03
#[test]
fn thirty_two_mixed_runs_at_once_keep_to_themselves() {
    let daemon = Settings::new()
        .set("EXECUTOR_CONCURRENCY", 8)
        .set("EXECUTOR_QUEUE", 40)
        .set("LOG_LEVEL", "trace")
        .start();
    let codes = [
        (
            "python",
            "# CODE\nimport os, sys\ndef handler(event):\n    print(os.environ['SECRET'], sys.stdin.read(), open('in').read())\n    open('out', 'w').write(event[0])\n    return event",
        ),
        (
            "javascript",
            "// CODE\nconst fs = require('fs');\nexports.handler = (event) => {\n  console.log(process.env.SECRET, fs.readFileSync(0, 'utf8'), fs.readFileSync('in', 'utf8'));\n  fs.writeFileSync('out', event[0]);\n  return event;\n};",
        ),
        ("shell", "# CODE\necho \"$SECRET $(cat) $(cat in)\"; cat \"$SANDBOX_EVENT_FILE\" >out"),
    ];
    let canaries: Vec<_> = (0..32).map(|_| canary("XR")).collect();
    let bodies = std::thread::scope(|scope| {
        let runs: Vec<_> = canaries
            .iter()
            .zip(codes.iter().cycle())
            .enumerate()
            .map(|(number, (secret, (language, code)))| {
                let daemon = &daemon;
                scope.spawn(move || {
                    let place = if number % 2 == 0 { json!({ "workspace": "fresh" }) } else { json!({ "session_id": format!("s{number}") }) };
                    let mut request = json!({
                        "execution_id": format!("exec_{number}"), "language": language, "code": code.replace("CODE", secret),
                        "event": [secret], "stdin": format!("{secret}-stdin"), "env_vars": { "SECRET": secret },
                        "files": [{ "path": "in", "content": format!("{secret}-file") }],
                    });
                    request.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
                    daemon.execute(&request).result()
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect::<Vec<_>>()
    });
    for (number, (body, secret)) in bodies.iter().zip(&canaries).enumerate() {
        assert_eq!(body["execution_id"], format!("exec_{number}"));
        assert_eq!(body["status"], "success", "{body:#}");
        assert_eq!(body["stdout"], format!("{secret} {secret}-stdin {secret}-file\n"), "{body:#}");
        let text = body.to_string();
        for other in canaries.iter().filter(|other| *other != secret) {
            assert!(!text.contains(other), "{other} in {body:#}");
        }
    }
    let sessions = daemon.home().join("sessions");
    for (number, secret) in canaries.iter().enumerate().filter(|(number, _)| number % 2 == 1) {
        let out = fs::read_to_string(sessions.join(format!("s{number}/out"))).unwrap();
        assert!(out.contains(secret), "{out}");
    }
    // Nothing of a caller is in it (LG-03), and each line about a run names it.
    let log = daemon.log();
    assert!(!log.contains("CANARY-XR"), "{log}");
    for line in log.lines().filter(|line| line.contains("execution_completed")) {
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(event["execution_id"].as_str().unwrap().starts_with("exec_"), "{line}");
    }
}

// XR-01: a session that is named is the one that is used, whatever its name looks like.
#[test]
fn sessions_with_similar_names_are_different() {
    let daemon = Daemon::default_settings();
    let run = |session: &str, code: &str| {
        daemon.execute(&json!({ "language": "shell", "code": code, "session_id": session })).result()
    };
    run("a", "echo secret >file");
    for other in ["A", "a_", "a-", "aa"] {
        assert_eq!(run(other, "ls -A")["stdout"], "", "{other}");
    }
    assert_eq!(run("a", "ls -A")["stdout"], "file\n");
}
