//! Who the daemon is: never root, and closed to its neighbours.

use std::fs;
use std::os::unix::fs::MetadataExt;

use conformance::{Daemon, Settings, can};

use crate::program::is_root;

fn status(daemon: &Daemon, field: &str) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

/// Every thread, because credentials belong to threads.
fn threads(daemon: &Daemon) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    tasks
        .map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default())
        .filter(|status| !status.is_empty())
        .inspect(|status| {
            let uid = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
            assert!(uid.split_whitespace().skip(1).all(|uid| uid != "0"), "{status}");
            for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
                let line = status.lines().find(|line| line.starts_with(set)).unwrap();
                assert!(line.ends_with("\t0000000000000000"), "{line}");
            }
        })
        .count()
}

// RS-02, PN-15
#[test]
fn started_by_root_it_serves_as_user_1000_without_any_capability_or_group() {
    if !can(is_root(), "starting as root takes root") {
        return;
    }
    let daemon = Daemon::default_settings();
    assert_eq!(status(&daemon, "Uid"), ["1000"; 4]);
    assert_eq!(status(&daemon, "Gid"), ["1000"; 4]);
    assert_eq!(status(&daemon, "Groups"), [""; 0]);
    assert!(threads(&daemon) >= 2);
    for dir in ["workspace", "sessions", "results"] {
        let owner = fs::metadata(daemon.home().join(dir)).unwrap();
        assert_eq!((owner.uid(), owner.gid()), (1000, 1000), "{dir}");
    }
    let result = daemon.run("shell", "echo made > file; stat -c %u file");
    assert_eq!(result["status"], "success", "{result}");
}

#[test]
fn the_user_that_was_chosen_is_the_one_it_becomes() {
    if !can(is_root(), "starting as root takes root") {
        return;
    }
    let daemon = Settings::new().set("EXECUTOR_RUN_AS", "4321:4322").start();
    assert_eq!(status(&daemon, "Uid"), ["4321"; 4]);
    assert_eq!(status(&daemon, "Gid"), ["4322"; 4]);
    threads(&daemon);
    let result =
        daemon.execute(&serde_json::json!({"language": "shell", "code": "echo made > file"})).result();
    assert_eq!(result["status"], "success", "{result}");
    let made = fs::metadata(daemon.workspace().join("file")).unwrap();
    assert_eq!((made.uid(), made.gid()), (4321, 4322));
}

#[test]
fn started_by_an_ordinary_user_it_stays_that_user() {
    let daemon = match is_root() {
        true => Settings::new().started_by(1000).start(),
        false => Daemon::default_settings(),
    };
    threads(&daemon);
    if is_root() {
        assert_eq!(status(&daemon, "Uid"), ["1000"; 4]);
    }
    assert_eq!(daemon.run("python", "def handler(event): return 'works'")["return_value"], "works");
}

#[test]
fn its_memory_and_environment_are_closed_to_other_programs_of_its_user() {
    if !can(is_root(), "becoming the daemon's user takes root") {
        return;
    }
    let token = "canary-in-the-environment-8d3f";
    let daemon = Settings::new().with_api_token(token).started_by(1000).start();
    let pid = daemon.pid();
    // Not dumpable: the kernel gives these files to root.
    for file in ["environ", "mem", "maps", "auxv", "stack", "fd"] {
        let owner = fs::metadata(format!("/proc/{pid}/{file}")).unwrap().uid();
        assert_eq!(owner, 0, "{file}");
    }
    let neighbour = |what: &str| crate::program::as_user(1000, what);
    for read in [
        format!("cat /proc/{pid}/environ"),
        format!("head -c 1 /proc/{pid}/maps"),
        format!("ls /proc/{pid}/fd/"),
        format!("cat /proc/{pid}/task/*/environ"),
        format!("readlink /proc/{pid}/exe"),
    ] {
        let (ended, said) = neighbour(&read);
        assert!(!ended && !said.contains(token), "{read}: {said}");
    }
    // The control: another process of this user, without that precaution, is open.
    let (ended, said) = neighbour(&format!("CANARY={token} sh -c 'cat /proc/$$/environ; :'"));
    assert!(ended && said.contains(token), "{said}");
    let found: Vec<u32> =
        conformance::processes::mentioning(token).into_iter().filter(|found| *found != pid).collect();
    assert_eq!(found, Vec::<u32>::new(), "somebody else holds the token");
    // A program inside holds nothing of it either.
    let result = daemon.run("shell", "cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; env");
    assert!(!result.to_string().contains(token), "{result}");
}

/// What the kernel shows of the environment that it was started with. Root may always look.
fn environment(daemon: &Daemon) -> Vec<u8> {
    fs::read(format!("/proc/{}/environ", daemon.pid())).unwrap()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

// LG-06
#[test]
fn its_tokens_are_not_in_the_environment_that_it_was_started_with() {
    if !can(is_root(), "reading the environment of a process that hides it takes root") {
        return;
    }
    let mock = control_plane_mock::Mock::start(control_plane_mock::Options {
        token: Some(conformance::INTERNAL_TOKEN.to_owned()),
        ..Default::default()
    });
    let mock = mock.unwrap();
    let api_token = "canary-of-the-api-51c7";
    for settings in [Settings::new(), Settings::new().started_by(1000), Settings::new().behind_masked_proc()]
    {
        let daemon = settings.calling(&mock).with_api_token(api_token).start();
        let seen = environment(&daemon);
        for secret in [api_token, conformance::INTERNAL_TOKEN, "API_TOKEN"] {
            assert!(!holds(&seen, secret), "{secret} is in {}", String::from_utf8_lossy(&seen));
        }
        // The control: what is no secret is still there.
        assert!(holds(&seen, "CONTAINER_ID=conformance"), "{}", String::from_utf8_lossy(&seen));
        // And it still has them: callers are held to the one, the control plane accepts the other.
        assert_eq!(daemon.request("GET", "/info", &[], vec![]).status, 401);
        assert_eq!(daemon.run("shell", "true")["status"], "success");
        daemon.eventually("it is delivered", |daemon| daemon.get("/health").json()["outbox"]["pending"] == 0);
        assert!(mock.violations().is_empty(), "{:?}", mock.violations());
    }
}

#[test]
fn no_sandbox_is_started_with_any_environment() {
    if !can(is_root(), "reading the environment of the daemon's children takes root") {
        return;
    }
    let daemon =
        Settings::new().with_api_token("canary-of-the-api-77a0").set("OTHER", "canary-besides").start();
    let request = serde_json::json!({"language": "shell", "code": "while [ ! -e go ]; do sleep 0.05; done"});
    std::thread::scope(|scope| {
        let running = scope.spawn(|| daemon.execute(&request).result());
        daemon.eventually("it runs", |daemon| daemon.get("/health").json()["active_executions"] == 1);
        let mut sandboxes = 0;
        daemon.eventually("bubblewrap is there", |daemon| {
            for process in conformance::processes::below(daemon.pid()) {
                // One that has ended meanwhile shows nothing.
                let seen = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
                assert!(!holds(&seen, "canary-of-the-api"), "{process:?}");
                if process.command == "bwrap" {
                    assert!(seen.is_empty(), "{process:?}: {}", String::from_utf8_lossy(&seen));
                    sandboxes += 1;
                }
            }
            sandboxes > 0
        });
        fs::write(daemon.workspace().join("go"), "").unwrap();
        assert_eq!(running.join().unwrap()["status"], "success");
    });
}
