//! Who lives on this machine below a given process, as `/proc` tells.

use std::collections::BTreeMap;
use std::fs;

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

/// Every living or zombie descendant of `pid`.
pub fn below(pid: u32) -> Vec<Process> {
    let all = all();
    let is_below = |process: &Process| {
        let mut parent = process.parent;
        while let Some(next) = all.get(&parent) {
            if next.pid == pid {
                return true;
            }
            parent = next.parent;
        }
        false
    };
    all.values().filter(|process| is_below(process)).cloned().collect()
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
