//! The self test against real sandboxes: whole ones, and ones with a protection left out. Each must be noticed, or the
//! daemon would serve from a sandbox that does not hold.
//!
//! Without the usual harness, because this program is also the launcher inside.

#![allow(clippy::unwrap_used, reason = "a test: a surprise ends it")]

mod support;

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;

use sandbox::host::Host;
use sandbox::plan::{Mount, Namespace, SandboxPlan};
use sandbox::seccomp::Filter;

use support::Verdicts;

// DG-02
fn main() -> ExitCode {
    support::main(run)
}

/// What is left out, and a word of the sentence that must say so.
type Case = (&'static str, fn(&mut SandboxPlan), &'static str);

const CASES: [Case; 17] = [
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
        |plan| plan.mounts.retain(|mount| *mount != Mount::ReadOnlyFromHere { at: "/".into() }),
        "/ is writable",
    ),
    (
        "closed /dev",
        |plan| plan.mounts.retain(|mount| *mount != Mount::ReadOnlyFromHere { at: "/dev".into() }),
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
    ("system call filter", |plan| plan.seccomp = Arc::new(Filter { programs: Vec::new() }), "whole filter"),
    ("list of known calls", |plan| open(plan, 0), "clone3"),
    ("refusal of namespaces", |plan| open(plan, 0), "unshare"),
    ("limit of socket families", |plan| open(plan, 1), "socket"),
    ("limit of arguments", |plan| open(plan, 2), "personality"),
    (
        "writable workspace",
        |plan| {
            let closed = Mount::ReadOnlyFromHere { at: sandbox::paths::WORKSPACE_PATH.into() };
            plan.mounts.insert(plan.mounts.len() - 1, closed);
        },
        "/workspace is not writable",
    ),
];

/// One instruction, which allows every call.
const ALLOW: [u8; 8] = [0x06, 0, 0, 0, 0, 0, 0xff, 0x7f];

/// A filter with as many programs, one of which does nothing.
fn open(plan: &mut SandboxPlan, at: usize) {
    Arc::make_mut(&mut plan.seccomp).programs[at].code = ALLOW.to_vec();
}

type Damage = (&'static str, fn(&mut Vec<u8>));

/// Damage to the code of a program, with which nothing may start.
const DAMAGE: [Damage; 5] = [
    ("empty", Vec::clear),
    ("cut in the middle of an instruction", |code| code.truncate(code.len() - 3)),
    ("cut between two instructions", |code| code.truncate(code.len() - 8)),
    ("of an unknown instruction", |code| code[..2].fill(0xff)),
    // The second instruction compares with the architecture's number.
    ("for another architecture", |code| code[12] ^= 0xff),
];

async fn run(host: &Host, workspace: &OwnedFd, verdicts: &mut Verdicts) {
    let seen = host.self_test(&host.self_test_plan(), workspace).await.unwrap();
    verdicts.claim("a sandbox that holds has nothing broken", seen.is_empty(), &seen);
    for (name, leave_out, word) in CASES {
        let mut plan = host.self_test_plan();
        leave_out(&mut plan);
        let seen = host.self_test(&plan, workspace).await.unwrap();
        let noticed = seen.iter().any(|sentence| sentence.contains(word));
        verdicts.claim(&format!("a missing {name} is noticed"), noticed, &seen);
    }
    for (name, damage) in DAMAGE {
        for at in 0..host.self_test_plan().seccomp.programs.len() {
            let mut plan = host.self_test_plan();
            damage(&mut Arc::make_mut(&mut plan.seccomp).programs[at].code);
            let seen = host.self_test(&plan, workspace).await;
            verdicts.claim(&format!("program {at}, {name}, stops the start"), seen.is_err(), &seen);
        }
    }
}
