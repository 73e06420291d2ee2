//! The self test in copies of real fork servers: whole ones, and ones that leave out a step of building a copy, or of holding
//! it. Each must be noticed, or the daemon would fork sandboxes that do not hold.
//!
//! Without the usual harness, because this program is also the launcher inside.

#![allow(clippy::unwrap_used, reason = "a test: a surprise ends it")]

mod support;

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use linux::calls::{self, Call, namespace};
use linux::rlimits::{Ceilings, Rlimit};
use sandbox::fork_server::{Forking, Order};
use sandbox::host::{Host, ProcView};
use sandbox::limits::{Bytes, Limits};
use sandbox::prepare;
use sandbox::program::Language;

use support::Verdicts;

// DG-02
fn main() -> ExitCode {
    support::main(run)
}

/// What is left out, how, and a word of the sentence that must say so.
const CASES: [(&str, Amendment, &str); 18] = [
    ("mount namespace", |order| order.namespaces &= !namespace::MOUNT, "root"),
    ("cgroup namespace", |order| order.namespaces &= !namespace::CGROUP, "cgroup namespace"),
    ("uts namespace", |order| order.namespaces &= !namespace::UTS, "uts namespace"),
    ("ipc namespace", |order| order.namespaces &= !namespace::IPC, "ipc namespace"),
    ("user namespace", |order| order.namespaces &= !namespace::USER, "no copy was made"),
    ("network namespace", |order| order.namespaces &= !namespace::NET, "loopback"),
    ("OOM score", |order| of(order, "OOM score").clear(), "oom_score_adj"),
    (
        "change of root",
        |order| {
            let calls = of(order, "change of root");
            let pivot = calls.iter().position(|call| call.name() == "pivot_root").unwrap();
            calls[pivot] = calls::chroot(".");
        },
        "workspace's place",
    ),
    ("hiding of memory", |order| of(order, "memory").clear(), "hide its memory"),
    ("limit", |order| of(order, "limit of open files").clear(), "is not held to"),
    (
        "hard limit",
        |order| {
            let limit = Rlimit::FileSize(support::limits().file_size.0);
            *of(order, "limit of file size") = vec![calls::set_soft_limit(limit, &Ceilings::NONE)];
        },
        "is not held",
    ),
    (
        "loss of capabilities",
        |order| of(order, "capabilities").retain(|call| call.name() != "capset"),
        "CapEff",
    ),
    ("bounding set", |order| *of(order, "capabilities") = calls::drop_capabilities(2), "CapBnd"),
    ("filter", |order| of(order, "system call filter").clear(), "filter"),
    ("program of the filter", |order| drop(of(order, "system call filter").remove(0)), "filter"),
    ("loopback", |order| *of(order, "loopback") = calls::bring_up("no").into(), "loopback"),
    ("tmpfs", |order| of(order, "/code").clear(), "is not writable"),
    ("workspace", |order| of(order, "workspace").clear(), "workspace"),
];

type Amendment = fn(&mut Order);

/// The calls of a step.
fn of<'a>(order: &'a mut Order, name: &str) -> &'a mut Vec<Call> {
    &mut order.steps.iter_mut().find(|step| step.name == name).unwrap().calls
}

async fn run(host: &Host, workspace: &OwnedFd, verdicts: &mut Verdicts) {
    if host.facts.capabilities.proc == ProcView::Shared {
        return verdicts.not_run("/proc is shared: there is no fork server here");
    }
    let place = fs::read_link(format!("/proc/self/fd/{}", workspace.as_raw_fd())).unwrap();
    let whole = Forking::new(vec![place], vec!["json".to_owned()]);
    let began = host.begin_forking(&whole).await;
    verdicts.claim("a copy that holds has nothing broken", began.is_ok(), &began);
    verdicts.claim("a server serves from then on", host.forks.is_serving(), &());
    serves_until_it_is_ended(host, workspace, verdicts).await;
    for (name, amend, word) in CASES {
        let seen = host.begin_forking(&Forking { amend, ..whole.clone() }).await;
        let noticed = seen.as_ref().is_err_and(|error| error.to_string().contains(word));
        verdicts.claim(&format!("a missing {name} is noticed"), noticed, &seen);
    }
    let unknown = Forking { preload: vec!["no_such_module".to_owned()], ..whole.clone() };
    let seen = host.begin_forking(&unknown).await;
    let named = seen.as_ref().is_err_and(|error| error.to_string().contains("no_such_module"));
    verdicts.claim("a module that cannot be preloaded is named", named, &seen);
    let program = whole.program.replacen(
        "    child = os.fork()",
        "    _thread.start_new_thread(os.read, (0, 1))\n    child = os.fork()",
        1,
    );
    let program = program.replacen("import ctypes", "import _thread\nimport ctypes", 1).into();
    let seen = host.begin_forking(&Forking { program, ..whole.clone() }).await;
    let noticed = seen.as_ref().is_err_and(|error| error.to_string().contains("threads"));
    verdicts.claim("a module that leaves a thread is noticed", noticed, &seen);
    verdicts.claim("and none of these serves", !host.forks.is_serving(), &());
}

/// The server's end is its copies' end, and is seen as theirs.
async fn serves_until_it_is_ended(host: &Host, workspace: &OwnedFd, verdicts: &mut Verdicts) {
    let python = &host.language(Language::Python).unwrap().runtime;
    let limits = Limits { memory: Bytes::mib(128), ..support::limits() };
    let forked = prepare::prepare(host, python, &limits, workspace).await.unwrap();
    verdicts.claim("a copy waits for its job", forked.is_alive() && forked.is_forked(), &forked);
    drop(forked);
    host.stop_forking().await;
    verdicts.claim("a server that was ended serves no more", !host.forks.is_serving(), &());
    let built = prepare::prepare(host, python, &limits, workspace).await.unwrap();
    verdicts.claim("bubblewrap builds then", built.is_alive() && !built.is_forked(), &built);
    built.destroy().await;
}
