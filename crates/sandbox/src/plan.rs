//! What a sandbox is made of: the security policy, as data.
//!
//! [`plan`] is the only place that decides what a program can see and do. It is pure: the same host and the same limits give
//! the same plan. `bwrap/argv.rs` writes the plan down for bubblewrap and decides nothing; the golden files in
//! `testdata/` show the result and are reviewed like code.

use std::path::PathBuf;
use std::sync::Arc;

use crate::host::{HostFacts, Layout, ProcView, UserNamespaces};
use crate::limits::{Bytes, Limits};
use crate::paths::{CODE_DIR, LAUNCHER_PATH};
use crate::runtimes::{Rlimits, Runtime};
use crate::seccomp::Filter;

/// One step of building the root, carried out in order: a later one may cover an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    ReadOnly {
        host: PathBuf,
        at: PathBuf,
    },
    ReadOnlyIfThere {
        host: PathBuf,
        at: PathBuf,
    },
    /// The one way in which a sandbox writes outside of itself.
    Writable {
        host: PathBuf,
        at: PathBuf,
    },
    Directory {
        at: PathBuf,
    },
    /// An empty root for others, without a size: it is closed when it is built.
    Root {
        at: PathBuf,
    },
    /// This very program, which sets the limits inside and then starts the runtime.
    Launcher {
        at: PathBuf,
    },
    /// A file that only exists inside.
    File {
        content: Arc<[u8]>,
        at: PathBuf,
    },
    Symlink {
        to: PathBuf,
        at: PathBuf,
    },
    Proc(ProcView),
    Dev {
        at: PathBuf,
    },
    Tmpfs {
        size: Bytes,
        at: PathBuf,
    },
    /// The one directory that outlives the sandbox. No later step may lie under it: its content is the program's, and
    /// bubblewrap would follow its links (CVE-2026-87766).
    Workspace,
    ReadOnlyFromHere {
        at: PathBuf,
    },
}

/// A namespace that a sandbox has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    User,
    Pid,
    Net,
    Ipc,
    Uts,
    Cgroup,
}

impl Namespace {
    pub const ALL: [Self; 6] = [Self::User, Self::Pid, Self::Net, Self::Ipc, Self::Uts, Self::Cgroup];

    /// As bubblewrap spells it. The mount namespace is always new.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Pid => "pid",
            Self::Net => "net",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxPlan {
    pub namespaces: Vec<Namespace>,
    pub mounts: Vec<Mount>,
    pub user_namespaces: UserNamespaces,
    /// The program's whole environment at boot. What the caller adds arrives with the job and never touches the boot.
    pub env: Vec<(&'static str, String)>,
    pub runtime: Runtime,
    pub rlimits: Rlimits,
    /// There is no plan without one.
    pub seccomp: Arc<Filter>,
}

impl SandboxPlan {
    /// How many files bubblewrap gets their content of through descriptors.
    pub fn files(&self) -> usize {
        let mounted = self.mounts.iter().filter(|mount| matches!(mount, Mount::File { .. })).count();
        mounted + self.seccomp.programs.len()
    }
}

pub fn plan(host: &HostFacts, runtime: &Runtime, limits: &Limits) -> SandboxPlan {
    SandboxPlan {
        namespaces: Namespace::ALL.into(),
        mounts: mounts(host, runtime, limits),
        user_namespaces: host.capabilities.user_namespaces,
        env: environment(runtime),
        rlimits: Rlimits::new(runtime.language, limits),
        runtime: runtime.clone(),
        seccomp: Arc::clone(host.filters.held_by(host.capabilities.memory)),
    }
}

fn mounts(host: &HostFacts, runtime: &Runtime, limits: &Limits) -> Vec<Mount> {
    let mut mounts = vec![Mount::ReadOnly { host: "/usr".into(), at: "/usr".into() }];
    mounts.extend(host.layout.iter().map(|(at, layout)| match layout {
        Layout::Link(to) => Mount::Symlink { to: to.clone(), at: at.clone() },
        Layout::Directory => Mount::ReadOnly { host: at.clone(), at: at.clone() },
    }));
    // Enough of /etc for the dynamic linker, for TLS and for the time zone, and what Debian's matplotlib does not start
    // without, and fontconfig complains without; nothing that names a user of the host.
    mounts.extend(
        [
            "/etc/ld.so.cache",
            "/etc/alternatives",
            "/etc/localtime",
            "/etc/ssl/certs",
            "/etc/mime.types",
            "/etc/matplotlibrc",
            "/etc/fonts",
        ]
        .map(|path| Mount::ReadOnlyIfThere { host: path.into(), at: path.into() }),
    );
    mounts.extend(
        [
            ("/etc/passwd", "sandbox:x:1000:1000:sandbox:/tmp:/bin/sh\n"),
            ("/etc/group", "sandbox:x:1000:\n"),
            ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
            ("/etc/hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n"),
        ]
        .map(|(at, text)| Mount::File { content: text.as_bytes().into(), at: at.into() }),
    );
    mounts.push(Mount::Proc(host.capabilities.proc));
    // bubblewrap's /dev is an unsized, writable tmpfs, and its /dev/shm a directory in it: give shm a size, close the rest.
    mounts.extend([
        Mount::Dev { at: "/dev".into() },
        Mount::Tmpfs { size: limits.tmp, at: "/dev/shm".into() },
        Mount::ReadOnlyFromHere { at: "/dev".into() },
        Mount::Tmpfs { size: limits.tmp, at: "/tmp".into() },
        Mount::Symlink { to: "../tmp".into(), at: "/var/tmp".into() },
        Mount::Launcher { at: LAUNCHER_PATH.into() },
    ]);
    mounts.extend(
        runtime
            .runner
            .iter()
            .map(|runner| Mount::File { content: Arc::clone(&runner.content), at: runner.path().into() }),
    );
    mounts.extend([
        Mount::Tmpfs {
            // The code as a file and, for a shell script, the event: no larger than the request they came in,
            // and a page or two for being files.
            size: Bytes(host.largest_job.0 + Bytes::mib(1).0),
            at: CODE_DIR.into(),
        },
        Mount::Workspace,
        // Last: the root itself is an unsized tmpfs. Not recursive, so the sized ones above stay writable.
        Mount::ReadOnlyFromHere { at: "/".into() },
    ]);
    mounts
}

fn environment(runtime: &Runtime) -> Vec<(&'static str, String)> {
    let mut env = vec![
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("HOME", "/tmp".to_owned()),
        ("TMPDIR", "/tmp".to_owned()),
        ("USER", "sandbox".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
    ];
    env.extend(runtime.env().iter().map(|(name, value)| (*name, (*value).to_owned())));
    env
}

#[cfg(test)]
pub(crate) mod tests;
