//! The self test in copies of real fork servers: whole ones, and ones that leave out a step of building a copy, or of holding
//! it. Each must be noticed, or the daemon would fork sandboxes that do not hold.
//!
//! Without the usual harness, because this program is also the launcher inside.

#![allow(clippy::unwrap_used, reason = "a test: a surprise ends it")]

mod support;

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

use sandbox::fork_server::Forking;
use sandbox::host::{Host, ProcView};
use sandbox::limits::{Bytes, Limits};
use sandbox::prepare;
use sandbox::program::Language;

use support::Verdicts;

// DG-02
fn main() -> ExitCode {
    support::main(run)
}

/// What is left out, the line of the server's program that does it, what stands there instead, and a word of the sentence that
/// must say so.
const CASES: [(&str, &str, &str, &str); 18] = [
    ("mount namespace", "= 0x20000 | 0x2000000 |", "= 0x2000000 |", "root"),
    ("cgroup namespace", "| 0x2000000 |", "|", "cgroup namespace"),
    ("uts namespace", "| 0x4000000 |", "|", "uts namespace"),
    ("ipc namespace", "| 0x8000000 |", "|", "ipc namespace"),
    ("user namespace", "| 0x10000000 |", "|", "no copy was made"),
    ("network namespace", "| 0x40000000\n", "\n", "loopback"),
    ("OOM score", r#"write_file("/proc/self/oom_score_adj", "1000")"#, "pass", "oom_score_adj"),
    ("change of root", r#"call("pivot_root", b".", b".")"#, r#"os.chroot(".")"#, "workspace's place"),
    ("hiding of memory", r#"call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)"#, "pass", "hide its memory"),
    ("limit", "resource.setrlimit(number, (value, value))", "pass", "is not held to"),
    (
        "hard limit",
        "resource.setrlimit(number, (value, value))",
        "resource.setrlimit(number, (value, hard))",
        "is not held",
    ),
    ("loss of capabilities", r#"call("capset", header, (ctypes.c_uint32 * 6)())"#, "pass", "CapEff"),
    (
        "bounding set",
        "for capability in range(last_capability + 1):",
        "for capability in range(3):",
        "CapBnd",
    ),
    ("filter", "for program, _code in filter_programs:", "for program, _code in []:", "filter"),
    ("program of the filter", "in filter_programs:", "in filter_programs[1:]:", "filter"),
    ("loopback", r#"b"lo".ljust"#, r#"b"no".ljust"#, "loopback"),
    (
        "tmpfs",
        r#"for place, size in order["tmpfs"]:"#,
        r#"for place, size in order["tmpfs"][:1]:"#,
        "is not writable",
    ),
    ("workspace", r#"mount(order["workspace"], ROOT + "/workspace", None, MS_BIND)"#, "pass", "workspace"),
];

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
    for (name, line, instead, word) in CASES {
        assert!(whole.program.contains(line), "{line}");
        let program = whole.program.replacen(line, instead, 1).into();
        let seen = host.begin_forking(&Forking { program, ..whole.clone() }).await;
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
    let program = program.replacen("import _signal", "import _thread\nimport _signal", 1).into();
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
