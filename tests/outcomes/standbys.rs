//! Sandboxes that were begun before anybody asked for them: used once, replaced, and gone with their daemon.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use conformance::processes::{self, STANDBYS, standbys};
use conformance::{Daemon, Settings, each_start};
use serde_json::{Value, json};

use crate::ask::{assert_end, run, wide};

/// Those of an idle daemon.
fn those_of(daemon: &Daemon) -> Vec<u32> {
    daemon.eventually("sandboxes stand by", |daemon| standbys(daemon.pid()).len() == STANDBYS);
    standbys(daemon.pid())
}

#[test]
fn each_is_used_once_and_replaced() {
    each_start(|daemon, start| {
        let mut seen: BTreeSet<_> = those_of(daemon).into_iter().collect();
        for runs in 1..=3 {
            assert_end(&run(daemon, "shell", "true", &Value::Null), "success", 0, "exit");
            seen.extend(those_of(daemon));
            // A pool takes some for itself.
            let pool = processes::may_wait(daemon.pid()) > STANDBYS;
            let used = seen.len() - STANDBYS;
            assert!(used == runs || (pool && used > runs), "{start}: {used} for {runs} runs");
        }
        daemon.settle();
    });
}

#[test]
fn one_that_was_killed_is_not_used() {
    let daemon = Settings::new().start();
    let waiting = those_of(&daemon);
    processes::signal("KILL", &waiting);
    daemon.eventually("they are dead", |_| {
        let all = processes::all();
        waiting.iter().all(|pid| all.get(pid).is_none_or(|process| process.state == 'Z'))
    });
    let result = run(&daemon, "shell", "echo well", &Value::Null);
    assert_end(&result, "success", 0, "exit");
    assert_eq!(result["stdout"], "well\n");
    daemon.settle();
}

// LC-05
#[test]
fn none_outlives_its_daemon() {
    for end in ["TERM", "KILL"] {
        let mut daemon = Settings::new().start();
        let waiting = those_of(&daemon);
        daemon.signal(end);
        daemon.wait();
        let deadline = Instant::now() + Duration::from_secs(20);
        while waiting.iter().any(|pid| processes::all().contains_key(pid)) {
            assert!(Instant::now() < deadline, "{waiting:?} live after SIG{end}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

// AR-06
#[test]
fn a_directory_that_takes_the_workspaces_place_before_it_is_mounted_gets_nothing() {
    let daemon = wide();
    let moved = daemon.home().join("moved");
    let request = json!({ "language": "shell", "code": "echo x > x" });
    // It may be there before the daemon has looked up what to mount: then the right one is mounted all the same.
    let refused = (0..50).any(|_| {
        let waiting = those_of(&daemon);
        processes::signal("STOP", &waiting);
        let result = std::thread::scope(|scope| {
            let run = scope.spawn(|| daemon.execute(&request).result());
            // What was taken is replaced: the daemon is about to say what to mount, or has.
            daemon.eventually("one was taken", |daemon| {
                standbys(daemon.pid()).iter().any(|pid| !waiting.contains(pid))
            });
            fs::rename(daemon.workspace(), &moved).unwrap();
            fs::create_dir(daemon.workspace()).unwrap();
            processes::signal("CONT", &waiting);
            run.join().unwrap()
        });
        assert_eq!(fs::read_dir(daemon.workspace()).unwrap().count(), 0, "{result:#}");
        fs::remove_dir(daemon.workspace()).unwrap();
        fs::rename(&moved, daemon.workspace()).unwrap();
        result["cause"] == "sandbox_error"
    });
    assert!(refused, "{}", daemon.log());
    daemon.eventually("the log says why", |daemon| {
        daemon.log().contains("another directory was put in the workspace's place")
    });
}
