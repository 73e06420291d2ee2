//! The `main` of tests that start real sandboxes: their program is also the launcher inside.
//!
//! As the daemon does, it gives up root before it starts anything. On a machine that cannot build the sandbox the claims are
//! not checked, which is said, and fails where `EXECUTOR_TESTS_MUST_RUN` is set.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test: a surprise ends it, and what it found is said"
)]

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use linux::identity::{self, Identity};
use linux::orphans::{self, Orphans};
use linux::spawn::Spawner;
use sandbox::cgroup;
use sandbox::host::Host;
use sandbox::launch;
use sandbox::limits::{Bytes, Limits};
use sandbox::probe::open_launcher;

/// What was claimed, and whether it held.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    failed: usize,
}

impl Verdicts {
    pub(crate) fn claim(&mut self, name: &str, holds: bool, seen: &impl std::fmt::Debug) {
        println!("test {name} ... {}", if holds { "ok" } else { "FAILED" });
        if !holds {
            self.failed += 1;
            println!("    {seen:?}");
        }
    }

    /// What this machine lacks.
    #[allow(dead_code, reason = "not every test needs it")]
    pub(crate) fn not_run(&mut self, why: &str) {
        println!("not run: {why}");
        self.failed += usize::from(std::env::var_os("EXECUTOR_TESTS_MUST_RUN").is_some());
    }
}

#[allow(dead_code, reason = "not every test runs a program")]
pub(crate) fn limits() -> Limits {
    Limits {
        wall: Duration::from_secs(60),
        cpu: None,
        memory: Bytes::mib(256),
        processes: 32,
        open_files: 256,
        file_size: Bytes::mib(1),
        tmp: Bytes::mib(1),
        output: Bytes::mib(1),
    }
}

pub(crate) fn main(run: impl AsyncFnOnce(&Host, &OwnedFd, &mut Verdicts)) -> ExitCode {
    if launch::is_launcher() {
        return launch::main();
    }
    let launcher = open_launcher().unwrap();
    let workspace = tempfile::tempdir().unwrap();
    let nobody_special = Identity { uid: 1000, gid: 1000 };
    let cgroups = cgroup::claim(nobody_special);
    if identity::is_root() {
        identity::give(workspace.path(), nobody_special).unwrap();
        identity::become_for_good(nobody_special).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let failed = runtime.block_on(async {
        let workspace = linux::fds::open_path(workspace.path()).unwrap();
        // In a pid namespace of its own (`unshare --pid --fork --mount-proc`) a test has the daemon's duty too.
        if orphans::is_process_one() {
            tokio::spawn(Orphans::adopt().unwrap().reap());
        }
        let spawner = Spawner::start().unwrap();
        match Host::probe(spawner, launcher, &workspace, Bytes::mib(16), cgroups).await {
            Ok(host) => {
                let mut verdicts = Verdicts::default();
                run(&host, &workspace, &mut verdicts).await;
                verdicts.failed
            }
            Err(error) => {
                println!("not run: {error}");
                usize::from(std::env::var_os("EXECUTOR_TESTS_MUST_RUN").is_some())
            }
        }
    });
    println!("\ntest result: {}. {failed} failed", if failed == 0 { "ok" } else { "FAILED" });
    ExitCode::from(u8::from(failed > 0))
}
