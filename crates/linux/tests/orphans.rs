//! Orphans come to this process, as they come to process 1: it asks the kernel for them. A program of its own, because that
//! holds for the whole process. One test, because zombies are counted.

#![allow(clippy::unwrap_used, reason = "a test: a surprise ends it")]

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use linux::children::Child;
use linux::orphans::Orphans;
use linux::pidfd::{PidFd, WaitStatus};
use linux::spawn::{Spawn, Spawner};
use tokio::sync::oneshot;

/// Each ends with the code beside it, and leaves behind what comes here.
const LEAVING: [(&str, i32); 4] = [
    // One that lives on, and ends later.
    ("(sleep 0.05; exit 3) & exit 7", 7),
    // One that has ended already and was not reaped: `sleep` knows nothing of it.
    ("true & exec sleep 0.05", 0),
    // A family of four: a shell, and three that are here when it has ended.
    ("(sleep 0.02 & sleep 0.04 & sleep 0.06 & exit 0) & exit 8", 8),
    // One that ends by a signal that has no name.
    ("sh -c 'sleep 0.01; kill -40 $$' & exit 9", 9),
];

const LEFT: usize = 7;

const ROUNDS: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn every_orphan_is_reaped_and_no_child_is_taken_from_its_owner() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let spawner = Spawner::start().unwrap();

    // Without somebody who reaps them they stay: what is looked for below can be seen.
    for (script, code) in LEAVING {
        let parent = start_shell(&spawner, script).await;
        assert_eq!(ended(parent, Duration::ZERO).await, WaitStatus::Exited(code));
    }
    until("orphans are zombies of this process", || zombies() == LEFT).await;

    // What ended before is found at the start.
    let reaping = tokio::spawn(Orphans::adopt().unwrap().reap());
    until("the first orphans are reaped", || zombies() == 0).await;

    // Half of these leave orphans. Each stays a zombie for a while before its owner comes, and every tenth is given up.
    let mut waiting = Vec::new();
    for round in 0..ROUNDS {
        let (leaving, left_code) = LEAVING[round % LEAVING.len()];
        let code = i32::try_from(round % 200).unwrap();
        let plain = format!("sleep 0.0{}; exit {code}", round % 7);
        for (script, expected) in [(leaving, left_code), (&plain, code)] {
            let child = start_shell(&spawner, script).await;
            if round % 10 == 9 {
                drop(child);
                continue;
            }
            let linger = Duration::from_millis(u64::try_from(round % 5).unwrap() * 15);
            waiting.push(tokio::spawn(async move { (ended(child, linger).await, expected) }));
        }
    }
    let not_executed = start(&spawner, "/nonexistent/program", &[]).await.unwrap_err();
    assert_eq!(not_executed.kind(), io::ErrorKind::NotFound);
    for waiting in waiting {
        let (status, expected) = waiting.await.unwrap();
        assert_eq!(status, WaitStatus::Exited(expected));
    }
    until("nothing is left of children and orphans", || children_of_this_process().is_empty()).await;
    assert!(!reaping.is_finished());
}

/// As the owner of a child waits for it: woken by its death, not necessarily at once.
async fn ended(child: Child, linger: Duration) -> WaitStatus {
    PidFd::open(child.pid()).unwrap().ended().await.unwrap();
    tokio::time::sleep(linger).await;
    let (status, _usage) = child.reap().unwrap();
    status
}

async fn start_shell(spawner: &Spawner, script: &str) -> Child {
    start(spawner, "/bin/sh", &["-c", script]).await.unwrap()
}

async fn start(spawner: &Spawner, program: &str, arguments: &[&str]) -> io::Result<Child> {
    let null = || File::options().read(true).write(true).open("/dev/null").unwrap().into();
    let spawn = Spawn {
        program: program.into(),
        arguments: arguments.iter().map(Into::into).collect(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        stdin: null(),
        stdout: null(),
        stderr: null(),
        inherit: Vec::new(),
        detour: None,
    };
    let (answer, started) = oneshot::channel();
    spawner.spawn(spawn, move |child| answer.send(child).unwrap());
    started.await.unwrap()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}; {} children", children_of_this_process().len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn zombies() -> usize {
    children_of_this_process().iter().filter(|(_, state)| state == "Z").count()
}

/// Pids and states.
fn children_of_this_process() -> Vec<(u32, String)> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.unwrap().file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may contain anything (proc_pid_stat(5)).
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let (state, parent) = (fields.next()?.to_owned(), fields.next()?.parse::<u32>().ok()?);
        (parent == std::process::id()).then_some((pid, state))
    });
    processes.collect()
}
