//! Golden files: the whole policy of two hosts, as bubblewrap is told it. A change of a plan shows as a change there.
//!
//! `UPDATE_GOLDEN=1 cargo test -p sandbox` writes them anew; read the difference before you commit it.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::bwrap::argv::{self, Bind, Outside};
use crate::host::{Capabilities, CgroupVersion, MemoryKeeper};
use crate::program::Language;
use crate::seccomp::{Arch, Filters};

/// Outside as a test sees them: numbered in the order in which they are asked for.
struct Numbered {
    next: RawFd,
    binds_descriptors: bool,
}

impl Numbered {
    fn next(&mut self) -> RawFd {
        self.next += 1;
        self.next
    }

    fn bind(&mut self, path: &str) -> Bind {
        if self.binds_descriptors { Bind::Descriptor(self.next()) } else { Bind::Path(path.into()) }
    }
}

impl Outside for Numbered {
    fn file(&mut self, _content: &[u8]) -> std::io::Result<RawFd> {
        Ok(self.next())
    }

    fn launcher(&mut self) -> std::io::Result<Bind> {
        Ok(self.bind("/opt/sandbox-executor"))
    }

    fn workspace(&mut self) -> std::io::Result<OsString> {
        Ok("/srv/workspace".into())
    }

    fn status(&mut self) -> RawFd {
        self.next()
    }
}

pub(crate) fn limits() -> Limits {
    Limits {
        wall: Duration::from_secs(30),
        cpu: Some(Duration::from_millis(1500)),
        memory: Bytes::mib(512),
        processes: 128,
        open_files: 1024,
        file_size: Bytes::mib(100),
        tmp: Bytes::mib(64),
        output: Bytes::mib(10),
    }
}

/// Debian 12 with everything a sandbox can have.
pub(crate) fn debian() -> HostFacts {
    let link = |at: &str, to: &str| (PathBuf::from(at), Layout::Link(to.into()));
    HostFacts {
        filters: Filters::compile(Arch::X86_64).unwrap(),
        largest_job: Bytes::mib(16),
        layout: vec![
            link("/bin", "usr/bin"),
            link("/sbin", "usr/sbin"),
            link("/lib", "usr/lib"),
            link("/lib64", "usr/lib64"),
        ],
        capabilities: Capabilities {
            proc: ProcView::Private,
            user_namespaces: UserNamespaces::Disabled,
            memory: MemoryKeeper::Cgroup(CgroupVersion::V2),
            binds_descriptors: true,
        },
    }
}

/// A container with masked /proc, an older bubblewrap and /bin beside /usr/bin.
fn poor() -> HostFacts {
    HostFacts {
        filters: Filters::compile(Arch::X86_64).unwrap(),
        largest_job: Bytes::mib(16),
        layout: vec![(PathBuf::from("/bin"), Layout::Directory), (PathBuf::from("/lib"), Layout::Directory)],
        capabilities: Capabilities {
            proc: ProcView::Shared,
            user_namespaces: UserNamespaces::LeftToSeccomp,
            memory: MemoryKeeper::Watcher,
            binds_descriptors: false,
        },
    }
}

pub(crate) fn runtime(language: Language) -> Runtime {
    let interpreter = match language {
        Language::Python => "/usr/bin/python3",
        Language::Javascript => "/usr/bin/node",
        Language::Shell => "/usr/bin/bash",
    };
    Runtime::with_interpreter(language, interpreter.into())
}

/// One option a line, the way a person would read it.
fn written(host: &HostFacts, language: Language) -> String {
    told(&plan(host, &runtime(language), &limits()), host.capabilities.binds_descriptors)
}

pub(crate) fn told(plan: &SandboxPlan, binds_descriptors: bool) -> String {
    let mut outside = Numbered { next: 10, binds_descriptors };
    let options = argv::options(plan, &mut outside).unwrap();
    let words: Vec<String> = options.into_iter().map(|word: OsString| word.into_string().unwrap()).collect();
    let programs: Vec<String> = plan
        .seccomp
        .programs
        .iter()
        .map(|program| format!("{} ({} instructions)", program.name, program.instructions()))
        .collect();
    format!(
        "{}\n\nfilter: {}\n\nrlimits {:#?}\n",
        words.join(" ").replace(" --", "\n--"),
        programs.join(", "),
        plan.rlimits
    )
}

pub(crate) fn is_golden(name: &str, written: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, written).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert!(golden == written, "{} differs. It is now:\n{written}", path.display());
}

#[test]
fn the_policy_of_a_host_that_can_do_everything_is_the_reviewed_one() {
    is_golden("debian-python.txt", &written(&debian(), Language::Python));
    is_golden("debian-javascript.txt", &written(&debian(), Language::Javascript));
}

// DG-05, DG-06
#[test]
fn the_policy_of_a_host_that_can_do_little_is_the_reviewed_one() {
    is_golden("poor-shell.txt", &written(&poor(), Language::Shell));
}

#[test]
fn nothing_is_mounted_under_the_workspace_and_the_root_is_closed_last() {
    for host in [debian(), poor()] {
        for language in Language::ALL {
            let mounts = mounts(&host, &runtime(language), &limits());
            assert_eq!(mounts.last(), Some(&Mount::ReadOnlyFromHere { at: "/".into() }));
            let workspace = mounts.iter().position(|mount| *mount == Mount::Workspace).unwrap();
            assert_eq!(workspace, mounts.len() - 2, "{mounts:?}");
        }
    }
}

// DG-05
#[test]
fn who_holds_memory_decides_which_filter_a_plan_has() {
    let of = |host: &HostFacts| plan(host, &runtime(Language::Python), &limits()).seccomp;
    let (in_a_cgroup, watched) = (of(&debian()), of(&poor()));
    assert_ne!(in_a_cgroup, watched);
}

#[test]
fn each_file_from_a_descriptor_has_one_of_its_own() {
    let text = written(&debian(), Language::Python);
    let mut numbers: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("--file") || line.contains("-fd "))
        .map(|line| line.split(' ').nth(1).unwrap())
        .collect();
    let all = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert!(all >= 8 && numbers.len() == all, "{text}");
}
