//! A cancelled run's processes are gone at once, whatever they do against it, and so are those of a daemon that dies.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use conformance::{Daemon, Settings, processes};
use serde_json::{Value, json};

use crate::asking::{begin, cancel, finished, hear, in_place, is_cancelled, shell, submit};

/// What was promised, after the answer,
const PROMISED: Duration = Duration::from_millis(100);
/// and what a machine that is busy with other tests may take.
const BUSY: Duration = Duration::from_millis(300);

/// Whoever is below the daemon, or has the marker, and is no mere entry that waits for its parent to look.
fn living(daemon: &Daemon, marker: &str) -> BTreeSet<u32> {
    let below = processes::below(daemon.pid()).into_iter().filter(|process| process.state != 'Z');
    // What a program starts has the marker wherever it goes; a copy of the interpreter itself has not.
    below.map(|process| process.pid).chain(processes::mentioning(marker)).collect()
}

/// Starts it, waits until so many of its processes run, cancels it and waits until none does. Says how long that took.
fn gone_at_once(daemon: &Daemon, id: &str, mut request: Value, count: usize) -> String {
    let marker = format!("{id}-{}-{}", std::process::id(), daemon.pid());
    request["execution_id"] = json!(id);
    request["env_vars"] = json!({ "MARKER": marker });
    assert_eq!(living(daemon, &marker), BTreeSet::new());
    submit(daemon, &request);
    // Besides them: bubblewrap outside, and the sandbox's init, which is the launcher.
    daemon.eventually("all of it runs", |daemon| {
        daemon.workspace().join(id).exists() && living(daemon, &marker).len() >= count + 2
    });
    let before = living(daemon, &marker);
    assert_eq!(cancel(daemon, id).status, 202);
    let answered = Instant::now();
    loop {
        let all = processes::all();
        let outlived = before.iter().filter(|pid| all.get(pid).is_some_and(|process| process.state != 'Z'));
        let left: BTreeSet<u32> = outlived.copied().chain(living(daemon, &marker)).collect();
        if left.is_empty() {
            break;
        }
        assert!(answered.elapsed() < BUSY, "{id}: after {:?} {left:?} are left", answered.elapsed());
        thread::sleep(Duration::from_millis(1));
    }
    let took = answered.elapsed();
    is_cancelled(&finished(daemon, id));
    format!("{id}: {} processes gone within {took:?} of the answer, {PROMISED:?} were promised", before.len())
}

fn python(code: &str) -> Value {
    json!({ "language": "python", "mode": "script", "code": code })
}

/// Ignores every signal that can be ignored.
const DEAF: &str = "import os, signal, subprocess, sys, time
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
";

#[test]
fn a_process_that_sleeps_and_one_that_burns_are_gone_at_once() {
    let daemon = Daemon::default_settings();
    eprintln!("{}", gone_at_once(&daemon, "exec_sleeps", in_place("", "touch exec_sleeps; sleep 1000"), 2));
    eprintln!(
        "{}",
        gone_at_once(&daemon, "exec_burns", python("open('exec_burns', 'w').close()\nwhile True: pass"), 1)
    );
}

// LC-01
#[test]
fn a_tree_that_is_deaf_to_signals_is_gone_at_once() {
    let daemon = Daemon::default_settings();
    let code = format!(
        "{DEAF}for _ in range(3):\n    os.fork()\nopen('exec_deaf', 'w').close()\nwhile True: time.sleep(1000)\n"
    );
    eprintln!("{}", gone_at_once(&daemon, "exec_deaf", python(&code), 8));
    let shell =
        "trap '' TERM HUP INT QUIT; nohup sleep 1000 & setsid sleep 1000 & touch exec_trap; sleep 1000";
    eprintln!("{}", gone_at_once(&daemon, "exec_trap", in_place("", shell), 4));
}

// XR-02
#[test]
fn a_daemon_that_forked_twice_and_has_a_session_of_its_own_is_gone_at_once() {
    let daemon = Daemon::default_settings();
    let code = format!(
        "{DEAF}if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            with open('alive', 'a') as alive:
                alive.write('x')
            time.sleep(0.01)
    os._exit(0)
os.wait()
subprocess.Popen(['sleep', '1000'], start_new_session=True)
while not os.path.exists('alive'):
    time.sleep(0.01)
open('exec_daemon', 'w').close()
time.sleep(1000)
"
    );
    eprintln!("{}", gone_at_once(&daemon, "exec_daemon", python(&code), 3));
    // Nobody is left who could write, wherever this test did not look.
    let alive = daemon.workspace().join("alive");
    let length = fs::metadata(&alive).unwrap().len();
    thread::sleep(Duration::from_millis(200));
    assert_eq!(fs::metadata(&alive).unwrap().len(), length);
}

// RS-03
#[test]
fn a_tree_that_forks_as_fast_as_it_can_is_gone_at_once() {
    let daemon = Daemon::default_settings();
    let code = format!(
        "{DEAF}open('exec_forks', 'w').close()
while True:
    try:
        if os.fork() == 0:
            signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    except OSError:
        time.sleep(0.001)
"
    );
    let mut request = python(&code);
    request["limits"] = json!({ "max_processes": 40 });
    eprintln!("{}", gone_at_once(&daemon, "exec_forks", request, 5));
}

// LC-02
#[test]
fn a_stopped_process_is_gone_at_once() {
    let daemon = Daemon::default_settings();
    let shell = "sleep 1000 & kill -STOP $!; touch exec_stopped; kill -STOP $$";
    eprintln!("{}", gone_at_once(&daemon, "exec_stopped", in_place("", shell), 2));
}

/// Panics when anybody but the daemon has its directories open after some time: that is one of its sandboxes, though it may be
/// nobody's child by now. It is ended, for nobody else would.
pub(crate) fn none_is_left(home: &Path, daemon: Option<u32>) {
    let left = || {
        let mut pids = processes::holding(home);
        pids.retain(|pid| Some(*pid) != daemon);
        pids
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    while !left().is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    let left = left();
    end(&left);
    assert!(left.is_empty(), "{} processes of sandboxes live on: {left:?}", left.len());
}

#[expect(clippy::disallowed_methods, reason = "the test's own child, not the daemon's")]
fn end(pids: &[u32]) {
    if !pids.is_empty() {
        Command::new("kill").arg("-KILL").args(pids.iter().map(u32::to_string)).status().unwrap();
    }
}

/// A daemon in which sixteen sandboxes start: they do that one after another, so that some are not whole yet.
fn that_starts_many(round: u32) -> Daemon {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 16).start();
    for number in 0..16 {
        let request = shell(&format!("exec_{round}_{number}"), "sleep 1000");
        assert_eq!(hear(begin(&daemon, "Prefer: respond-async\r\n", &request)).0, 202);
    }
    daemon
}

// bubblewrap's child ties its life to its parent only after it has waited for it: one that is killed in between leaves a
// child that waits for ever. Where the daemon is process 1 the kernel ends it; elsewhere the next daemon does.
#[test]
fn what_a_daemon_that_was_killed_while_its_sandboxes_started_left_is_ended_by_the_next() {
    for round in 0..4 {
        let daemon = that_starts_many(round);
        let home = daemon.home().to_owned();
        let next = daemon.kill().restart();
        none_is_left(&home, Some(next.pid()));
    }
}

#[test]
fn a_daemon_that_is_told_to_end_while_its_sandboxes_start_leaves_no_process_behind() {
    for round in 0..4 {
        let mut daemon = that_starts_many(round);
        let home = daemon.home().to_owned();
        daemon.signal("TERM");
        daemon.wait();
        none_is_left(&home, None);
    }
}
