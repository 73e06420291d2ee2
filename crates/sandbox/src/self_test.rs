//! The program that looks around inside a sandbox, and the list of what it must find.
//!
//! It runs in the launcher's place, under the arguments of production, and reports what it sees and can do. The daemon
//! compares. Leaving out any one protection must make it fail: that is tested by leaving them out.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant, SystemTime};

use linux::refused;
use serde::{Deserialize, Serialize};

use crate::channel::{self, ReportFrame};
use crate::host::{self, MemoryKeeper, ProcView};
use crate::paths::{CODE_DIR, WORKSPACE_PATH};
use crate::runtimes::Rlimits;
use crate::seccomp::policy::Errno;

/// How many filters a process is under, in its status (Linux 5.9).
const FILTERS: &str = "Seccomp_filters";

const INIT_DEADLINE: Duration = Duration::from_secs(5);

const NAMESPACES: [&str; 7] = ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"];

/// Places that must not be writable, one for each way they are made so.
const READ_ONLY: [&str; 5] = ["/", "/usr", "/etc", "/dev", "/sbx"];

/// Calls that are tried: at least one for each program of the filter, and one that hangs on who holds memory.
const CLONE3: &str = "clone3";
const SOCKET: &str = "socket";
const PERSONALITY: &str = "personality";
const UNSHARE: &str = "unshare";
const MEMFD: &str = "memfd_create";

const WRITABLE: [&str; 4] = ["/tmp", "/dev/shm", CODE_DIR, WORKSPACE_PATH];

/// Lines of `/proc/PID/status`, as the program itself sees them.
const IDENTITY: [(&str, &str); 2] = [("Uid", "1000 1000 1000 1000"), ("Gid", "1000 1000 1000 1000")];

const NO_RIGHTS: [(&str, &str); 6] = [
    ("NoNewPrivs", "1"),
    ("CapInh", "0000000000000000"),
    ("CapPrm", "0000000000000000"),
    ("CapEff", "0000000000000000"),
    ("CapBnd", "0000000000000000"),
    ("CapAmb", "0000000000000000"),
];

/// Tells the program to hold [`FILLED`] bytes of memory. It ends after that, if it lives.
pub(crate) const FILL: &[u8] = b"fill";
pub(crate) const FILLED: usize = 64 << 20;

/// What a program inside sees.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Observed {
    /// The targets of `/proc/self/ns/*`.
    pub namespaces: BTreeMap<String, String>,
    /// `/proc/self/status`, the lines that matter.
    pub status: BTreeMap<String, String>,
    pub uid_map: String,
    pub setgroups: String,
    pub hostname: String,
    pub oom_score_adj: String,
    /// Where a file could be made.
    pub writable: Vec<String>,
    pub interfaces: Vec<String>,
    pub environment: Vec<String>,
    pub root_entries: Vec<String>,
    /// Soft and hard, as `/proc/self/limits` shows them.
    pub limits: BTreeMap<String, (String, String)>,
    /// Numeric entries of `/proc`.
    pub processes: usize,
    /// `/proc/1/status`, the lines about the filter. Where `/proc` is shared it is somebody else's.
    pub init: BTreeMap<String, String>,
    /// What came of calls that the filter refuses: the error's number, or none where it was let through.
    pub refused: BTreeMap<String, Option<i32>>,
}

/// What depends on the plan.
#[derive(Debug, Clone)]
pub struct Expectations {
    pub rlimits: Rlimits,
    pub proc: ProcView,
    /// Of the filter.
    pub programs: usize,
    pub memory: MemoryKeeper,
    /// A process that it must share no namespace with, besides the daemon.
    pub origin: Option<u32>,
}

/// Looks around and says so. Runs inside.
pub(crate) fn report(job: OwnedFd, report: OwnedFd) -> io::Result<()> {
    let mut report = File::from(report);
    report.write_all(&channel::encode(&ReportFrame::ready())?)?;
    let value = serde_json::value::to_raw_value(&look_around()?)?;
    report.write_all(&channel::encode(&ReportFrame::result(value))?)?;
    // Stays until it is killed, as a runner does: a daemon that is slow to look must still find it.
    let mut order = Vec::new();
    File::from(job).take(64).read_to_end(&mut order)?;
    if order == FILL {
        drop(std::hint::black_box(vec![1_u8; FILLED]));
    }
    Ok(())
}

fn look_around() -> io::Result<Observed> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    Ok(Observed {
        namespaces: NAMESPACES
            .iter()
            .map(|name| Ok(((*name).to_owned(), link(&format!("/proc/self/ns/{name}"))?)))
            .collect::<io::Result<_>>()?,
        status: status("self", |name| {
            name.starts_with("Cap")
                || name.starts_with("Seccomp")
                || ["Uid", "Gid", "NoNewPrivs"].contains(&name)
        })?,
        uid_map: words(&fs::read_to_string("/proc/self/uid_map")?),
        setgroups: words(&fs::read_to_string("/proc/self/setgroups")?),
        hostname: words(&fs::read_to_string("/proc/sys/kernel/hostname")?),
        oom_score_adj: words(&fs::read_to_string("/proc/self/oom_score_adj")?),
        writable: READ_ONLY
            .iter()
            .chain(&WRITABLE)
            .filter(|dir| can_write(dir))
            .map(|dir| (*dir).to_owned())
            .collect(),
        interfaces: interfaces()?,
        environment: std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect(),
        root_entries: names("/")?,
        limits: limits.lines().skip(1).filter_map(parse_limit).collect(),
        processes: names("/proc")?.iter().filter(|name| name.parse::<u32>().is_ok()).count(),
        init: filter_of_init()?,
        // Last: one that is let through changes who this process is.
        refused: [
            (CLONE3, refused::clone3()),
            (SOCKET, refused::device_events()),
            (PERSONALITY, refused::without_randomisation()),
            (MEMFD, refused::memory_file()),
            (UNSHARE, refused::new_user_namespace()),
        ]
        .map(|(call, result)| (call.to_owned(), result.err().and_then(|error| error.raw_os_error())))
        .into(),
    })
}

/// Everything that is not as it must be. Runs in the daemon.
pub fn broken(observed: &Observed, expected: &Expectations) -> Vec<String> {
    let mut broken = Vec::new();
    let mut must = |holds: bool, what: String| {
        if !holds {
            broken.push(what);
        }
    };
    for name in NAMESPACES {
        let theirs = observed.namespaces.get(name);
        let is_own = |pid: &str| {
            let ours = link(&format!("/proc/{pid}/ns/{name}"));
            ours.is_ok_and(|ours| theirs.is_some_and(|theirs| *theirs != ours))
        };
        must(is_own("self"), format!("the {name} namespace is the daemon's own"));
        if let Some(origin) = expected.origin {
            must(is_own(&origin.to_string()), format!("the {name} namespace is the fork server's"));
        }
    }
    for (name, value) in IDENTITY.into_iter().chain(NO_RIGHTS) {
        let seen = observed.status.get(name).map(|seen| words(seen)).unwrap_or_default();
        must(seen == value, format!("{name} is '{seen}' and must be '{value}'"));
    }
    must(
        observed.uid_map.starts_with("1000 ") && observed.uid_map.ends_with(" 1"),
        format!("the uid map is '{}'", observed.uid_map),
    );
    must(observed.setgroups == "deny", "setgroups is not denied".to_owned());
    must(observed.hostname == "sandbox", format!("the host name is '{}'", observed.hostname));
    must(observed.oom_score_adj == "1000", format!("oom_score_adj is {}", observed.oom_score_adj));
    for place in READ_ONLY {
        must(!observed.writable.iter().any(|dir| dir == place), format!("{place} is writable"));
    }
    for place in WRITABLE {
        must(observed.writable.iter().any(|dir| dir == place), format!("{place} is not writable"));
    }
    must(observed.interfaces == ["lo"], format!("network interfaces: {}", observed.interfaces.join(", ")));
    for name in &observed.environment {
        let known = ["PATH", "HOME", "TMPDIR", "USER", "LANG", "PWD"].contains(&name.as_str());
        must(known, format!("the environment holds {name}"));
    }
    for name in &observed.root_entries {
        let known = ["bin", "code", "dev", "etc", "proc", "sbin", "sbx", "tmp", "usr", "var", "workspace"];
        must(known.contains(&name.as_str()) || name.starts_with("lib"), format!("the root holds /{name}"));
    }
    for (name, value) in unlimited(&observed.limits, &expected.rlimits) {
        must(false, format!("'{name}' is not held to {value}"));
    }
    match expected.proc {
        // This process and the sandbox's init.
        ProcView::Private => {
            must(observed.processes == 2, format!("{} processes are visible", observed.processes));
            must(
                is_filtered(&observed.init, expected),
                "the sandbox's init is not under the filter".to_owned(),
            );
        }
        ProcView::Shared => {}
    }
    must(is_filtered(&observed.status, expected), "the program is not under the whole filter".to_owned());
    let memory_file = match expected.memory {
        MemoryKeeper::Cgroup(_) => None,
        MemoryKeeper::Watcher => Some(Errno::NoSuchCall),
    };
    for (call, answer) in [
        (CLONE3, Some(Errno::NoSuchCall)),
        (SOCKET, Some(Errno::NoSuchFamily)),
        (PERSONALITY, Some(Errno::NotPermitted)),
        (UNSHARE, Some(Errno::NotPermitted)),
        (MEMFD, memory_file),
    ] {
        let seen = observed.refused.get(call).copied();
        let holds = seen.map(|seen| seen.map(i64::from)) == Some(answer.map(|errno| errno.number().into()));
        let wanted = answer.map_or("nothing", Errno::name);
        must(holds, format!("the filter answers {call} with {seen:?} and must with {wanted}"));
    }
    broken
}

/// What does not hold for processes of a sandbox in which the runtime waits, its init first, seen from outside: executing a program,
/// as the self test does, takes rights away by itself.
pub(crate) fn broken_outside(processes: &[u32], expected: &Expectations) -> Vec<String> {
    let mut broken = Vec::new();
    for pid in processes {
        let seen = status(&pid.to_string(), |_| true).unwrap_or_default();
        for (name, value) in NO_RIGHTS {
            if seen.get(name).is_none_or(|seen| seen != value) {
                broken.push(format!("{name} of process {pid} is {:?} and must be {value}", seen.get(name)));
            }
        }
        if !is_filtered(&seen, expected) {
            broken.push(format!("process {pid} is not under the whole filter"));
        }
    }
    let program = processes.last().map(|pid| format!("/proc/{pid}/limits")).unwrap_or_default();
    let limits = fs::read_to_string(program).unwrap_or_default();
    let limits = limits.lines().skip(1).filter_map(parse_limit).collect();
    broken.extend(
        unlimited(&limits, &expected.rlimits)
            .map(|(name, value)| format!("'{name}' of the program is not held to {value}")),
    );
    // The kernel gives the files of a process that hides its memory to root (proc(5)).
    let owner = processes.first().and_then(|init| fs::metadata(format!("/proc/{init}/environ")).ok());
    if owner.is_none_or(|owner| owner.uid() == linux::identity::current().uid) {
        broken.push("the sandbox's init does not hide its memory".to_owned());
    }
    broken
}

/// Which limits a process is not held to, as `/proc/PID/limits` shows them.
fn unlimited<'a>(
    seen: &'a BTreeMap<String, (String, String)>,
    rlimits: &Rlimits,
) -> impl Iterator<Item = (&'static str, u64)> + use<'a> {
    let wanted = [
        ("Max processes", rlimits.processes),
        ("Max open files", rlimits.open_files),
        ("Max file size", rlimits.file_size),
        ("Max data size", rlimits.data),
    ];
    wanted.into_iter().filter(|(name, value)| {
        !seen.get(*name).is_some_and(|(soft, hard)| {
            // Lower than asked for is stricter: the container's own limit.
            soft == hard && soft.parse::<u64>().is_ok_and(|seen| seen <= *value)
        })
    })
}

/// Under as many programs as the filter has, besides those of the container that the daemon is under itself.
fn is_filtered(status_inside: &BTreeMap<String, String>, expected: &Expectations) -> bool {
    let count = |status: &BTreeMap<String, String>| status.get(FILTERS)?.parse::<usize>().ok();
    let by_filter = status_inside.get("Seccomp").is_some_and(|mode| mode == "2");
    let ours = status("self", |name| name == FILTERS).unwrap_or_default();
    by_filter
        && match count(&ours) {
            Some(ours) => count(status_inside).is_some_and(|theirs| theirs >= ours + expected.programs),
            // Before Linux 5.9 the kernel did not count them.
            None => true,
        }
}

/// Lines of `/proc/PID/status`.
fn status(process: &str, wanted: impl Fn(&str) -> bool) -> io::Result<BTreeMap<String, String>> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let lines = status.lines().filter_map(|line| line.split_once(':'));
    Ok(lines
        .filter(|(name, _)| wanted(name))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect())
}

/// bubblewrap's init takes the filter on after it has started this program, so on a busy machine it is waited for. Where
/// `/proc/1` is somebody else's it may be hidden, and does not matter.
fn filter_of_init() -> io::Result<BTreeMap<String, String>> {
    let filter = |process| status(process, |name| name.starts_with("Seccomp"));
    let is_ours = host::proc_is_ours();
    let (own, deadline) = (filter("self")?, Instant::now() + INIT_DEADLINE);
    loop {
        let init = filter("1").unwrap_or_default();
        if init == own || !is_ours || Instant::now() > deadline {
            return Ok(init);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn can_write(dir: &str) -> bool {
    // A name of its own each time: what an interrupted self test left must not fail the next one.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let path = format!("{dir}/.sandbox-executor-self-test-{now}");
    let made = OpenOptions::new().write(true).create_new(true).open(&path).is_ok();
    made && fs::remove_file(path).is_ok()
}

fn interfaces() -> io::Result<Vec<String>> {
    let table = fs::read_to_string("/proc/self/net/dev")?;
    Ok(table
        .lines()
        .skip(2)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim().to_owned())
        .collect())
}

fn names(dir: &str) -> io::Result<Vec<String>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn link(path: &str) -> io::Result<String> {
    Ok(fs::read_link(path)?.to_string_lossy().into_owned())
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `Max open files            256                  256                  files`
fn parse_limit(line: &str) -> Option<(String, (String, String))> {
    let name = line.get(..26)?.trim().to_owned();
    let mut values = line.get(26..)?.split_whitespace().map(str::to_owned);
    Some((name, (values.next()?, values.next()?)))
}

#[cfg(test)]
mod tests;
