//! Who lives on this machine below a given process, as `/proc` tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::settings::plain;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    /// `R`, `S`, `Z`…
    pub state: char,
    pub command: String,
}

/// Every process of the machine. One that ends meanwhile is left out.
pub fn all() -> BTreeMap<u32, Process> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, look_at(pid)?))).collect()
}

/// How many sandboxes a daemon has begun and not built, at most, and when it is idle.
pub const STANDBYS: usize = 2;

/// The processes of a daemon's fork server, without those of the sandboxes that it made; the last is the one that forks.
pub fn fork_server(daemon: u32) -> Vec<u32> {
    let all = all();
    let children = |of: u32| all.values().filter(move |process| process.parent == of && process.state != 'Z');
    let forks = |pid: u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(FORK_SERVER.len()).any(|window| window == FORK_SERVER)
    };
    // bubblewrap, the init of its sandbox, and the launcher in it.
    let only = |pid: &u32| children(*pid).next().map(|child| child.pid);
    let chains = children(daemon).map(|first| std::iter::successors(Some(first.pid), only).take(4));
    chains
        .map(Iterator::collect::<Vec<u32>>)
        .find(|chain| chain.last().is_some_and(|last| chain.len() == 4 && forks(*last)))
        .unwrap_or_default()
}

const FORK_SERVER: &[u8] = b"/sbx/fork_server.py";

/// The sandboxes that have no job yet, begun or booted: of these the daemon still holds the other end of the standard input.
/// By their first process. Only root can see who holds what; for others it is those that are not built yet.
pub fn waiting(daemon: u32) -> Vec<u32> {
    let server = fork_server(daemon);
    let all = all();
    let living = |process: &&Process| !['Z', 'X'].contains(&process.state);
    let held: BTreeSet<PathBuf> = descriptors(daemon).collect();
    let child_of = |pid: u32| all.values().find(|other| other.parent == pid).map(|child| child.pid);
    let awaits = |pid: u32| {
        fs::read_link(format!("/proc/{pid}/fd/0"))
            .is_ok_and(|stdin| stdin.to_string_lossy().starts_with("pipe:") && held.contains(&stdin))
    };
    let waits = |process: &&Process| match process.command.as_str() {
        // Before it is executed it has the daemon's descriptors, and its standard input may be the daemon's own.
        "spawner" => true,
        "bwrap" if held.is_empty() => child_of(process.pid).is_none(),
        _ => awaits(process.pid),
    };
    // One that is still being built has no child; the program's process is the one that waits.
    let copy_waits = |init: &&Process| child_of(init.pid).is_none_or(awaits);
    let built = all.values().filter(|process| process.parent == daemon && !server.contains(&process.pid));
    let copies = all.values().filter(|process| server.last() == Some(&process.parent));
    let waiting = built.filter(living).filter(waits).chain(copies.filter(living).filter(copy_waits));
    waiting.map(|process| process.pid).collect()
}

/// Those of the [waiting](waiting) that are not built yet.
pub fn standbys(daemon: u32) -> Vec<u32> {
    let all = all();
    let is_begun = |pid: &u32| {
        let is_bubblewrap = all.get(pid).is_some_and(|process| process.parent == daemon);
        is_bubblewrap && all.values().all(|other| other.parent != *pid)
    };
    waiting(daemon).into_iter().filter(is_begun).collect()
}

/// How many sandboxes may wait in a daemon that is idle: those that are not built, and what its settings say of booted ones.
pub fn may_wait(daemon: u32) -> usize {
    let environment = fs::read(format!("/proc/{daemon}/environ")).unwrap_or_default();
    let pools = environment.split(|byte| *byte == 0).filter_map(|variable| {
        let (name, size) = std::str::from_utf8(variable).ok()?.split_once('=')?;
        ["POOL_PYTHON", "POOL_JAVASCRIPT", "POOL_SHELL"]
            .contains(&name)
            .then(|| size.parse::<usize>().unwrap())
    });
    STANDBYS + pools.sum::<usize>()
}

/// What it has open.
pub(crate) fn descriptors(pid: u32) -> impl Iterator<Item = PathBuf> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
}

/// Whether `pid` is `ancestor`, or below it.
fn is_within(all: &BTreeMap<u32, Process>, pid: u32, ancestor: u32) -> bool {
    let mut at = pid;
    // Numbers are given out again while the list is made: in it, a process may be its own ancestor.
    for _ in 0..=all.len() {
        if at == ancestor {
            return true;
        }
        let Some(process) = all.get(&at) else { return false };
        at = process.parent;
    }
    false
}

/// Whether all of these belong to sandboxes that wait, or to the fork server.
pub fn wait(daemon: u32, pids: &[u32]) -> bool {
    let (server, waiting, all) = (fork_server(daemon), waiting(daemon), all());
    let waits = |pid: u32| waiting.iter().any(|root| is_within(&all, pid, *root));
    pids.iter().all(|pid| server.contains(pid) || waits(*pid))
}

/// Sends a signal to these. The shell has it built in: not every container has kill(1).
pub fn signal(name: &str, pids: &[u32]) -> ExitStatus {
    let pids = pids.iter().map(u32::to_string);
    plain("/bin/sh".as_ref())
        .args(["-c", "kill \"$@\"", "kill", &format!("-{name}")])
        .args(pids)
        .status()
        .unwrap()
}

/// The names of the cgroups of its own that a process is in.
pub fn leaf_names(pid: u32) -> Vec<String> {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let names = cgroups.lines().filter_map(|line| line.rsplit_once('/')).map(|(_, name)| name.to_owned());
    names.filter(|name| name.starts_with("run-")).collect()
}

/// Every living or zombie descendant of `pid`, but for its sandboxes that wait, and its fork server.
pub fn below(pid: u32) -> Vec<Process> {
    // First: one that is given a job meanwhile is left out by mistake, never one that has ended by then.
    let mut waiting = waiting(pid);
    // More than it needs would be left over.
    waiting.truncate(may_wait(pid));
    let server = fork_server(pid);
    let all = all();
    let is_below = |process: &&Process| {
        process.pid != pid && !server.contains(&process.pid) && is_within(&all, process.pid, pid)
    };
    let waits = |process: &&Process| waiting.iter().any(|root| is_within(&all, process.pid, *root));
    all.values().filter(is_below).filter(|process| !waits(process)).cloned().collect()
}

/// Processes anywhere on the machine whose command line or environment holds `needle`.
pub fn mentioning(needle: &str) -> Vec<u32> {
    let holds = |pid: u32| {
        ["cmdline", "environ"].iter().any(|file| {
            let content = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            content.windows(needle.len()).any(|window| window == needle.as_bytes())
        })
    };
    all().into_keys().filter(|pid| *pid != std::process::id() && holds(*pid)).collect()
}

/// Processes anywhere on the machine that have something in this directory open, whoever their parent is.
pub fn holding(dir: &Path) -> Vec<u32> {
    let holds = |pid: u32| descriptors(pid).any(|target| target.starts_with(dir));
    all().into_keys().filter(|pid| *pid != std::process::id() && holds(*pid)).collect()
}

fn look_at(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and parentheses: everything after the last one is numbers.
    let (head, tail) = stat.rsplit_once(')')?;
    let mut fields = tail.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let command = head.split_once('(')?.1.to_owned();
    Some(Process { pid, parent, state, command })
}
