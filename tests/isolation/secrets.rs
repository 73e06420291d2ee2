//! LG: the daemon's secrets, and the callers', are nowhere they do not belong.

use std::fs;

use conformance::daemon::command;
use conformance::{Settings, can, each_start, is_root, processes};
use serde_json::json;

use crate::support::{canary, inside, outside_through, probe};

/// A daemon that knows two secrets and logs all it can.
fn settings(secrets: &[String; 2]) -> Settings {
    Settings::new()
        .with_api_token(&secrets[0])
        .set("INTERNAL_API_TOKEN", &secrets[1])
        // Nobody listens there.
        .set("CONTROL_PLANE_URL", "http://127.0.0.1:9")
        .set("LOG_LEVEL", "trace")
        .set("RUST_BACKTRACE", "full")
}

// LG-01
#[test]
fn tokens_are_nowhere_a_program_can_look_and_in_no_log_or_answer() {
    let secrets = [canary("API"), canary("INTERNAL")];
    let mut starts = vec![settings(&secrets)];
    if can(is_root(), "only root can start a daemon with a shared /proc") {
        starts.push(settings(&secrets).behind_masked_proc());
    }
    for start in starts {
        let mut daemon = start.start();
        for secret in &secrets {
            let asked = json!({ "canary": secret, "places": ["/"] });
            // The question itself holds the word: in the workspace's own input, never in a file.
            let seen = inside(&daemon, probe!("find.py"), &asked);
            assert_eq!(seen["found"], json!([]), "{seen:#}");
            assert!(seen["looked"].as_u64().unwrap() > 50, "{seen:#}");
        }
        let mut answers = String::new();
        for (method, path, headers, body) in [
            (
                "POST",
                "/execute",
                vec![("authorization", "Bearer wrong"), ("content-type", "application/json")],
                "{}",
            ),
            ("POST", "/execute", vec![("authorization", "wrong")], "{}"),
            ("GET", "/info", vec![], ""),
            ("GET", "/health", vec![], ""),
            ("GET", "/nowhere", vec![], ""),
        ] {
            let answer = daemon.request(method, path, &headers, body.into());
            answers += &format!("{:?} {}", answer.headers, answer.text());
        }
        for path in ["/info", "/health", "/openapi.yaml"] {
            answers += &daemon.get(path).text();
        }
        for code in ["{", "[]", "{\"code\": 1}"] {
            answers += &daemon.post("/execute", "application/json", code.into()).text();
        }
        answers += &daemon.run("python", "def handler(event): raise ValueError").to_string();
        if is_root() {
            // Of the daemon itself only root may read it; nobody else's process holds it.
            assert!(secrets.iter().all(|secret| {
                let holders = processes::mentioning(secret);
                holders.iter().all(|holder| is_starter_of(*holder, daemon.pid()))
            }));
        }
        daemon.settle();
        daemon.signal("TERM");
        daemon.wait();
        let everything = answers + &daemon.log();
        for secret in &secrets {
            assert!(!everything.contains(secret), "{everything}");
        }
    }
    let starter = format!("CANARY={}", secrets[0]);
    let asked = json!({ "canary": secrets[0], "places": [format!("/proc/{}", std::process::id()), "/proc"] });
    let control = outside_through(&["/usr/bin/env", &starter], probe!("find.py"), &asked);
    assert!(!control["found"].as_array().unwrap().is_empty(), "{control:#}");
}

/// The daemon, or what the test started it through.
fn is_starter_of(process: u32, daemon: u32) -> bool {
    process == daemon || processes::below(process).iter().any(|child| child.pid == daemon)
}

// LG-01
#[test]
fn mistakes_in_the_configuration_do_not_show_the_tokens() {
    let secrets = [canary("API"), canary("INTERNAL")];
    for arguments in
        [&["--help"][..], &["doctor"], &["--log-level", "loud"], &["serve", "--executor-port", "x"]]
    {
        for bad in ["", "\n", "\u{e9}"] {
            let output = command()
                .args(arguments)
                .env("EXECUTOR_API_TOKEN", format!("{}{bad}", secrets[0]))
                .env("INTERNAL_API_TOKEN", format!("{}{bad}", secrets[1]))
                .env("CONTROL_PLANE_URL", format!("http://user:{}@host", secrets[1]))
                .env("WORKSPACE_PATH", "/nonexistent")
                .output()
                .unwrap();
            let said = format!("{output:?}");
            for secret in &secrets {
                assert!(!said.contains(secret), "{arguments:?}: {said}");
            }
        }
    }
    // On the command line every process could read it: refused, and not repeated.
    let refused = command().args(["--internal-api-token", &secrets[1]]).output().unwrap();
    assert!(!refused.status.success());
    assert!(!format!("{refused:?}").contains(&secrets[1]), "{refused:?}");
}

// LG-03
#[test]
fn what_callers_send_and_programs_print_is_not_logged() {
    let daemon = Settings::new().set("LOG_LEVEL", "trace").start();
    for (language, comment, print) in [
        ("python", "#", "print(SECRET); open(SECRET, 'w'); raise ValueError(SECRET)"),
        ("javascript", "//", "console.log(SECRET); throw new Error(SECRET)"),
        ("shell", "#", "echo SECRET; echo SECRET >&2; exit 7"),
    ] {
        let secret = canary("CALLER");
        let code = format!("{print} {comment} {secret}").replace("SECRET", &format!("'{secret}'"));
        let request = json!({
            "language": language, "code": code, "mode": "script", "event": [secret], "stdin": secret,
            "env_vars": { "SECRET": secret }, "files": [{ "path": format!("{secret}.txt"), "content": secret }],
            "workspace": "fresh",
        });
        let result = daemon.execute(&request).result();
        assert_eq!(result["status"], "failed", "{result:#}");
        assert!(result["stdout"].as_str().unwrap().contains(&secret), "{result:#}");
        // A refusal repeats at most what names the mistake.
        daemon.execute(&json!({ "language": language, "code": secret, "env_vars": { "A": [secret] } }));
        assert!(!daemon.log().contains(&secret), "{}", daemon.log());
    }
    assert!(daemon.log().contains("execution_completed"));
}

// DG-04
#[test]
fn health_says_which_proc_programs_see() {
    each_start(|daemon, proc| {
        let isolation = daemon.get("/health").json()["isolation"].clone();
        assert_eq!(isolation["proc"], proc, "{isolation:#}");
        let tier = if proc == "private" { "full" } else { "shared-proc" };
        assert_eq!(isolation["tier"], tier, "{isolation:#}");
        let reduced = proc == "shared" || isolation["cgroup"] == "none";
        assert_eq!(daemon.log().contains("isolation_reduced"), reduced);
    });
}

// FS-05: the daemon runs as an ordinary user, and neither that user nor a program may look into it.
#[test]
fn the_daemon_hides_its_memory_from_others_of_its_user() {
    if !can(is_root(), "only root can be somebody else") {
        return;
    }
    let daemon = conformance::Daemon::default_settings();
    let look = |pid: u32| {
        let as_daemon = ["/usr/bin/setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
        let pid = pid.to_string();
        let command = ["/bin/cat", &format!("/proc/{pid}/environ")].map(str::to_owned);
        let output = crate::support::command(as_daemon[0].as_ref())
            .args(&as_daemon[1..])
            .args(command)
            .output()
            .unwrap();
        output.status.success()
    };
    assert!(!look(daemon.pid()));
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    assert!(status.contains("Uid:\t1000\t1000\t1000\t1000"), "{status}");
    let mut control = crate::support::command("/usr/bin/setpriv".as_ref())
        .args(["--reuid=1000", "--regid=1000", "--clear-groups", "/bin/sleep", "60"])
        .spawn()
        .unwrap();
    daemon.eventually("the control runs as that user", |_| look(control.id()));
    control.kill().unwrap();
    control.wait().unwrap();
}
