//! Who lives on this machine below a given process, as `/proc` tells.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

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

/// Is it a bubblewrap that waits for its arguments, or is about to? It has started nothing.
fn waits(process: &Process, all: &BTreeMap<u32, Process>) -> bool {
    let childless = all.values().all(|other| other.parent != process.pid);
    // Before it is executed it has the name of the thread that forked it.
    let by_name = ["bwrap", "spawner"].contains(&&*process.command);
    childless && by_name && ['R', 'S', 'D'].contains(&process.state)
}

/// Whether this is one of the sandboxes that a daemon has begun and not built.
pub(crate) fn is_standby(pid: u32) -> bool {
    let all = all();
    all.get(&pid).is_some_and(|process| waits(process, &all))
}

/// The sandboxes that a daemon has begun and not built.
pub fn standbys(daemon: u32) -> Vec<u32> {
    let all = all();
    let children = all.values().filter(|process| process.parent == daemon);
    children.filter(|child| waits(child, &all)).map(|child| child.pid).collect()
}

/// The names of the cgroups of its own that a process is in.
pub fn leaf_names(pid: u32) -> Vec<String> {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let names = cgroups.lines().filter_map(|line| line.rsplit_once('/')).map(|(_, name)| name.to_owned());
    names.filter(|name| name.starts_with("run-")).collect()
}

/// Every living or zombie descendant of `pid`, but for its sandboxes that are not built yet.
pub fn below(pid: u32) -> Vec<Process> {
    let all = all();
    let is_below = |process: &Process| {
        let mut parent = process.parent;
        // Numbers are given out again while the list is made: in it, a process may be its own ancestor.
        for _ in 0..all.len() {
            let Some(next) = all.get(&parent) else { return false };
            if next.pid == pid {
                return true;
            }
            parent = next.parent;
        }
        false
    };
    let (waiting, mut below): (Vec<_>, Vec<_>) =
        all.values().filter(|process| is_below(process)).cloned().partition(|process| waits(process, &all));
    // More than it needs would be left over.
    below.extend(waiting.into_iter().skip(STANDBYS));
    below
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
    let holds = |pid: u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut open = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
        open.any(|target| target.starts_with(dir))
    };
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
