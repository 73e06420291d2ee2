//! Proof that a daemon started no process: the kernel counts what its ended children cost.

use std::fs;

use conformance::{Daemon, processes};

/// A moment to compare with.
pub(crate) struct Quiet {
    faults: u64,
    started: usize,
}

impl Quiet {
    pub(crate) fn from_now(daemon: &Daemon) -> Self {
        Self { faults: faults_of_ended_children(daemon), started: starts(daemon) }
    }

    /// Panics when anything was started meanwhile, whether it still runs or not.
    pub(crate) fn still(&self, daemon: &Daemon) {
        assert!(!self.is_broken(daemon), "a sandbox was started\n{}", daemon.log());
    }

    pub(crate) fn is_broken(&self, daemon: &Daemon) -> bool {
        // In this order: what ends between the two looks is seen by the second.
        !processes::below(daemon.pid()).is_empty()
            || faults_of_ended_children(daemon) != self.faults
            || starts(daemon) != self.started
    }
}

fn starts(daemon: &Daemon) -> usize {
    daemon.log().matches("execution_started").count()
}

/// `cminflt` of proc_pid_stat(5): no process lives without a page fault.
fn faults_of_ended_children(daemon: &Daemon) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().nth(8).unwrap().parse().unwrap()
}

#[test]
fn a_run_is_noticed_even_when_it_is_over() {
    let daemon = Daemon::default_settings();
    let quiet = Quiet::from_now(&daemon);
    assert!(!quiet.is_broken(&daemon));
    daemon.run("shell", "true");
    daemon.eventually("no process", |daemon| processes::below(daemon.pid()).is_empty());
    assert_ne!(faults_of_ended_children(&daemon), quiet.faults);
    assert!(quiet.is_broken(&daemon));
}
