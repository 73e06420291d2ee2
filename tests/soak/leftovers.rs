//! What may be left behind, and must not be.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use conformance::{Daemon, processes};
use serde_json::Value;

use crate::report::{Section, reason};

/// The names in a directory; none when there is no such directory.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect()
}

/// Everything in `SESSIONS_PATH` but the directory for fresh workspaces, and everything in that.
pub(crate) fn workspaces(sessions: &Path) -> Vec<String> {
    let mut found = names(sessions);
    found.retain(|name| name != ".fresh");
    found.extend(names(&sessions.join(".fresh")));
    found
}

/// The lines of a log that want a person.
pub(crate) fn errors(log: &str) -> Vec<String> {
    let is_error = |line: &&str| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        line["level"].as_str().is_some_and(|level| level.eq_ignore_ascii_case("error"))
    };
    log.lines().filter(is_error).map(str::to_owned).collect()
}

/// Kilobytes that a process has in memory, as `/proc` tells.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Ends a daemon, which first checks that it is back to what it was at its start: processes, descriptors, mounts, memory.
pub(crate) fn end(daemon: Daemon, section: &mut Section) {
    section.none("errors in the daemon's log", &errors(&daemon.log()));
    let alive = processes::all().get(&daemon.pid()).is_some_and(|process| process.state != 'Z');
    section.must("the daemon is alive", "yes", if alive { "yes" } else { "no" }, alive);
    let still = catch_unwind(AssertUnwindSafe(|| daemon.run("shell", "echo still here")));
    let measured = match &still {
        Ok(result) if result["stdout"] == "still here\n" => "yes".to_owned(),
        Ok(result) => format!("{result}; its log ends with: {}", last_lines(&daemon.log())),
        Err(panic) => reason(&**panic),
    };
    section.must("another run succeeds", "yes", &measured, measured == "yes");
    let ended = catch_unwind(AssertUnwindSafe(|| drop(daemon)));
    let measured = ended.as_ref().err().map_or("yes".to_owned(), |panic| reason(&**panic));
    section.must("healthy, and nothing left of the runs", "yes", measured, ended.is_ok());
}

fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
