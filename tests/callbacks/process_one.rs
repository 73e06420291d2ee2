//! The daemon as process 1 of its pid namespace, as in a container without an init: it inherits every process there whose parent
//! ends, and must reap those without ever taking a child of its own runs.

use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use conformance::processes::{self, Process};
use conformance::{Settings, can};

use crate::support::{PATIENCE, accepted, attempts, mock, nothing_wrong, script};

const ORPHANS: usize = 50;

#[expect(clippy::disallowed_methods, reason = "the test's own child, not the daemon's")]
fn system(program: &str) -> Command {
    Command::new(program)
}

/// Runs a line of shell in the pid namespace of this process, as `docker exec` would, and waits for the shell.
fn inside(pid: u32, line: &str) {
    let mut shell = system("/usr/bin/nsenter");
    shell.args(["--target", &pid.to_string(), "--pid", "/bin/sh", "-c", line]);
    let ended = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).status().unwrap();
    assert!(ended.success(), "{ended:?}");
}

/// The children of this process that somebody else started and left behind.
fn orphans(parent: u32) -> Vec<Process> {
    let of_it = |process: &Process| process.parent == parent && process.command == "sleep";
    processes::below(parent).into_iter().filter(of_it).collect()
}

/// Leaves so many processes behind in the namespace, and waits until its first process has inherited them. They live until
/// they are killed.
fn leave_behind(pid: u32, count: usize) -> Vec<u32> {
    let before = orphans(pid).len();
    inside(pid, &format!("for i in $(seq {count}); do (sleep 1000 >/dev/null 2>&1 &); done"));
    until("they are inherited", || orphans(pid).len() == before + count);
    orphans(pid).into_iter().map(|orphan| orphan.pid).collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn kill(pid: u32) {
    let sent = system("/bin/kill").args(["-KILL", &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

fn root() -> bool {
    can(linux::identity::is_root(), "a pid namespace takes root")
}

#[test]
fn orphans_are_reaped_and_runs_are_not_disturbed() {
    if !root() {
        return;
    }
    let mock = mock();
    let daemon = Settings::new().behind_masked_proc().set("EXECUTOR_QUEUE", 20).calling(&mock).start();
    let left = Mutex::new(leave_behind(daemon.pid(), ORPHANS));
    assert_eq!(left.lock().unwrap().len(), ORPHANS);
    let ids: Vec<(i32, String)> = (0..20).map(|code| (code, format!("exec_amid_{code}"))).collect();
    thread::scope(|scope| {
        for some in ids.chunks(5) {
            let (daemon, left) = (&daemon, &left);
            scope.spawn(move || {
                for (code, id) in some {
                    // Some die before the run and some during it, of those that wait and of those that never did.
                    for _ in 0..2 {
                        left.lock().unwrap().pop().into_iter().for_each(kill);
                    }
                    inside(daemon.pid(), "for i in 1 2 3; do (sleep 0.0$i >/dev/null 2>&1 &); done");
                    let result =
                        daemon.execute(&script(id, &format!("sleep 0.05 & wait; exit {code}"))).result();
                    assert_eq!(result["exit_code"], *code, "{result}");
                }
            });
        }
    });
    left.lock().unwrap().drain(..).for_each(kill);
    until("nobody is left, dead or alive", || {
        processes::below(daemon.pid()).iter().all(|process| process.parent != daemon.pid())
    });
    for (code, id) in &ids {
        assert_eq!(accepted(&mock, id).body["exit_code"], *code);
        assert_eq!(attempts(&mock, id).len(), 1);
    }
    nothing_wrong(&mock);
}

/// Process 1 of a namespace that does nothing for its children. Ends with its owner.
struct Idle(Child);

impl Idle {
    fn start() -> Self {
        let mut command = system("/usr/bin/unshare");
        command.args(["--pid", "--fork", "--kill-child", "/bin/sleep", "infinity"]);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn first(&self) -> Option<u32> {
        let below = processes::below(self.0.id());
        below.iter().find(|process| process.command == "sleep").map(|process| process.pid)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // What it forked dies with it, and everything in the namespace with that.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The control of the test above: zombies are what there is without somebody who reaps.
#[test]
fn a_process_one_that_does_not_reap_is_left_with_zombies() {
    if !root() {
        return;
    }
    let idle = Idle::start();
    until("it has started", || idle.first().is_some());
    let pid = idle.first().unwrap();
    leave_behind(pid, ORPHANS).into_iter().for_each(kill);
    until("all are dead", || orphans(pid).iter().all(|orphan| orphan.state == 'Z'));
    assert_eq!(orphans(pid).len(), ORPHANS);
}
