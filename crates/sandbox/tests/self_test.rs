//! The self test against real sandboxes: whole ones, and ones with a protection left out. Each must be noticed, or the
//! daemon would serve from a sandbox that does not hold.
//!
//! Without the usual harness, because this program is also the launcher inside.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test: a surprise ends it, and what it found is said"
)]

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use linux::identity::{self, Identity};
use linux::spawn::Spawner;
use sandbox::host::Host;
use sandbox::launch;
use sandbox::limits::Bytes;
use sandbox::plan::{Mount, Namespace, SandboxPlan};
use sandbox::probe::open_launcher;

fn main() -> ExitCode {
    if launch::is_launcher() {
        return launch::main();
    }
    let launcher = open_launcher().unwrap();
    let workspace = tempfile::tempdir().unwrap();
    if identity::is_root() {
        let nobody_special = Identity { uid: 1000, gid: 1000 };
        identity::give(workspace.path(), nobody_special).unwrap();
        identity::become_for_good(nobody_special).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let failed = runtime.block_on(async {
        let workspace = linux::fds::open_path(workspace.path()).unwrap();
        let spawner = Spawner::start().unwrap();
        match Host::probe(spawner, launcher, &workspace, Bytes::mib(16)).await {
            Ok(host) => run(&host, &workspace).await,
            Err(error) => {
                println!("not run: {error}");
                usize::from(std::env::var_os("EXECUTOR_TESTS_MUST_RUN").is_some())
            }
        }
    });
    println!("\ntest result: {}. {failed} failed", if failed == 0 { "ok" } else { "FAILED" });
    ExitCode::from(u8::from(failed > 0))
}

/// What is left out, and a word of the sentence that must say so.
type Case = (&'static str, fn(&mut SandboxPlan), &'static str);

const CASES: [Case; 12] = [
    (
        "network namespace",
        |plan| plan.namespaces.retain(|namespace| *namespace != Namespace::Net),
        "net namespace",
    ),
    (
        "ipc namespace",
        |plan| plan.namespaces.retain(|namespace| *namespace != Namespace::Ipc),
        "ipc namespace",
    ),
    (
        "cgroup namespace",
        |plan| plan.namespaces.retain(|namespace| *namespace != Namespace::Cgroup),
        "cgroup namespace",
    ),
    (
        "closed root",
        |plan| plan.mounts.retain(|mount| *mount != Mount::ReadOnlyFromHere { at: "/" }),
        "/ is writable",
    ),
    (
        "closed /dev",
        |plan| plan.mounts.retain(|mount| *mount != Mount::ReadOnlyFromHere { at: "/dev" }),
        "/dev is writable",
    ),
    ("clean environment", |plan| plan.env.push(("INTERNAL_API_TOKEN", "x".into())), "INTERNAL_API_TOKEN"),
    (
        "bare root",
        |plan| plan.mounts.insert(0, Mount::ReadOnly { host: "/opt".into(), at: "/opt".into() }),
        "/opt",
    ),
    ("limit of processes", |plan| plan.rlimits.processes += 1, "Max processes"),
    ("limit of open files", |plan| plan.rlimits.open_files += 1, "Max open files"),
    ("limit of file size", |plan| plan.rlimits.file_size += 1, "Max file size"),
    ("limit of data", |plan| plan.rlimits.data += 1, "Max data size"),
    (
        "writable workspace",
        |plan| {
            let closed = Mount::ReadOnlyFromHere { at: sandbox::paths::WORKSPACE_PATH };
            plan.mounts.insert(plan.mounts.len() - 1, closed);
        },
        "/workspace is not writable",
    ),
];

async fn run(host: &Host, workspace: &OwnedFd) -> usize {
    let mut failed = 0;
    let mut report = |name: &str, holds: bool, seen: &[String]| {
        println!("test {name} ... {}", if holds { "ok" } else { "FAILED" });
        if !holds {
            failed += 1;
            println!("    {seen:?}");
        }
    };
    let seen = host.self_test(&host.self_test_plan(), workspace).await.unwrap();
    report("a sandbox that holds has nothing broken", seen.is_empty(), &seen);
    for (name, leave_out, word) in CASES {
        let mut plan = host.self_test_plan();
        leave_out(&mut plan);
        let seen = host.self_test(&plan, workspace).await.unwrap();
        report(
            &format!("a missing {name} is noticed"),
            seen.iter().any(|sentence| sentence.contains(word)),
            &seen,
        );
    }
    failed
}
