//! `cpu_seconds`: CPU time of all processes of a run together.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::ask::{assert_end, assert_limit, run, run_all, wide};

/// Each process burns little, and then hands over to a child: a limit per process would never see it. `wait` makes the
/// parents wait for their children; without it they are orphans, waited for by the sandbox's init.
fn relay(waits: bool) -> String {
    let parent = if waits { "os.waitpid(pid, 0); os._exit(0)" } else { "os._exit(0)" };
    format!(
        "import os, time\n\
         if os.fork() == 0:\n  \
           while True:\n    \
             end = time.process_time() + 0.1\n    \
             while time.process_time() < end: pass\n    \
             pid = os.fork()\n    \
             if pid: {parent}\n\
         time.sleep(60)"
    )
}

// RS-18
#[test]
fn a_busy_loop_ends_by_its_cpu_limit_in_each_language() {
    let daemon = wide();
    let more = || json!({ "limits": { "cpu_seconds": 0.5 } });
    let results = run_all(
        &daemon,
        &[
            ("python", "def handler(event):\n  while True: pass", more()),
            ("javascript", "exports.handler = () => { for (;;); }", more()),
            ("shell", "while :; do :; done", more()),
        ],
    );
    for result in &results {
        assert_limit(result, "cpu_limit", 0.5, 1.0);
        let observed = result["cause_detail"]["observed"].as_f64().unwrap();
        assert!(observed < 1.5, "{result}");
    }
}

// RS-18
#[test]
fn a_relay_of_children_has_one_cpu_limit_together() {
    let daemon = wide();
    let more = || json!({ "limits": { "cpu_seconds": 1 }, "mode": "script", "timeout": 25 });
    let results = run_all(&daemon, &[("python", &relay(true), more()), ("python", &relay(false), more())]);
    for result in &results {
        assert_limit(result, "cpu_limit", 1.0, 1.0);
    }
}

#[test]
fn sleeping_uses_no_cpu_time() {
    let daemon = wide();
    let result = run(&daemon, "shell", "sleep 0.6", &json!({ "limits": { "cpu_seconds": 0.1 } }));
    assert_end(&result, "success", 0, "exit");
}

// RS-18
#[test]
fn busy_programs_on_every_cpu_do_not_make_the_daemon_slow() {
    let daemon = wide();
    let more = json!({ "timeout": 1.5 });
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let result = run(&daemon, "shell", "while :; do :; done", &more);
                assert_end(&result, "timeout", -1, "wall_timeout");
            });
        }
        daemon.eventually("four runs are active", |daemon| {
            daemon.get("/health").json()["active_executions"] == 4
        });
        let asked = Instant::now();
        assert_eq!(daemon.get("/health").status, 200);
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    });
}
