//! Clients that leave and daemons that are stopped, at any moment of a run: nothing is left behind.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use conformance::{Daemon, Settings, processes};
use serde_json::json;

/// Sends a request and does not wait for its answer.
fn ask(daemon: &Daemon, code: &str) -> TcpStream {
    let body = json!({ "language": "shell", "code": code, "workspace": "fresh" }).to_string();
    let mut stream = daemon.connect();
    write!(
        stream,
        "POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    stream
}

/// Processes in a sandbox of this daemon: its directories are mounted there, and nowhere else.
fn inhabitants(home: &Path) -> BTreeSet<u32> {
    let name = home.file_name().unwrap().to_str().unwrap();
    let is_inside = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/mountinfo")).is_ok_and(|mounts| mounts.contains(name))
    };
    processes::all().into_keys().filter(is_inside).collect()
}

/// Moments spread over the first 20 ms of a run, the same ones in every test run.
fn moments(count: u32) -> impl Iterator<Item = Duration> {
    (0..count).map(|n| Duration::from_micros(u64::from(n * 7919 % 20_000)))
}

fn wide() -> Settings {
    Settings::new().set("EXECUTOR_CONCURRENCY", 8).set("EXECUTOR_QUEUE", 500)
}

// LC-16
#[test]
fn the_run_of_a_client_that_leaves_goes_on_to_its_end_and_leaves_nothing() {
    let daemon = wide().start();
    for moment in moments(100) {
        let stream = ask(&daemon, "sleep 0.01");
        std::thread::sleep(moment);
        drop(stream);
    }
    daemon.eventually("all runs are over", |daemon| {
        let health = daemon.get("/health").json();
        health["active_executions"] == 0 && health["queued_executions"] == 0
    });
    let completed = daemon.log().matches("execution_completed").count();
    assert!(completed >= 90, "{completed} of 100 went on");
    daemon.eventually("nobody is in a sandbox but in those that wait", |daemon| {
        processes::wait(daemon.pid(), &Vec::from_iter(inhabitants(daemon.home())))
    });
}

// LC-05, LC-09
#[test]
fn a_daemon_that_is_stopped_at_any_moment_takes_every_sandbox_with_it() {
    let mut met = 0;
    for moment in moments(6) {
        let mut daemon = wide().start();
        let streams: Vec<_> =
            (0..8).map(|_| ask(&daemon, "trap '' TERM; (setsid sleep 60 &) ; sleep 60")).collect();
        std::thread::sleep(moment * 3);
        let inside: BTreeSet<_> = processes::below(daemon.pid()).iter().map(|process| process.pid).collect();
        met += inside.len();
        daemon.signal("TERM");
        assert_eq!(daemon.wait().code(), Some(143), "{}", daemon.log());
        let ended = Instant::now();
        loop {
            let left: Vec<_> = inhabitants(daemon.home())
                .into_iter()
                .chain(inside.iter().copied().filter(is_alive))
                .collect();
            if left.is_empty() {
                break;
            }
            assert!(ended.elapsed() < Duration::from_secs(2), "{left:?} after {moment:?}\n{}", daemon.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(streams);
    }
    assert!(met > 0, "no moment met a sandbox");
}

/// Zombies wait for whoever adopted them: they run nothing.
fn is_alive(pid: &u32) -> bool {
    processes::all().get(pid).is_some_and(|process| process.state != 'Z')
}

// LC-07
#[test]
fn a_killed_daemon_takes_every_sandbox_with_it() {
    let mut daemon = wide().start();
    let streams: Vec<_> = (0..4).map(|_| ask(&daemon, "(setsid sleep 60 &) ; sleep 60")).collect();
    daemon.eventually("four sandboxes sleep", |daemon| {
        let asleep =
            processes::below(daemon.pid()).iter().filter(|process| process.command == "sleep").count();
        asleep >= 8
    });
    daemon.signal("KILL");
    daemon.wait();
    let ended = Instant::now();
    while !inhabitants(daemon.home()).is_empty() {
        assert!(ended.elapsed() < Duration::from_secs(2), "{:?}", inhabitants(daemon.home()));
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(streams);
}
