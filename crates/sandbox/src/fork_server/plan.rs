//! What a fork server sees, and what a copy of it has to do: a sandbox's plan, taken apart. Pure.
//!
//! Both halves come from the one plan of [`plan::plan`](crate::plan::plan), so a copy is held by what holds any sandbox. What is the
//! same for every sandbox of a language is built once, by bubblewrap, below [`ROOT`]; what is a sandbox's own (the sized file
//! systems, `/proc`, terminals, its workspace) each copy mounts for itself in there, and makes it its root.

use std::ffi::OsStr;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use linux::calls::{self, FIRST_FD, Mounting, NO_DEVICES, NO_PROGRAMS, NO_SETUID, Step, namespace};
use linux::rlimits::Ceilings;

use crate::host::UserNamespaces;
use crate::paths::{RUNNER_DIR, WORKSPACE_PATH};
use crate::plan::{Mount, Namespace, SandboxPlan};
use crate::seccomp::Filter;

/// Where the root of every copy is built, inside the server.
const ROOT: &str = "/sandbox";

/// Where the directories that hold workspaces are, inside the server.
const WORKSPACES: &str = "/workspaces";

/// The server's program, beside the runner.
const SERVER: &str = "fork_server.py";

/// What it loads for everything that must be quick.
const FORKER: &str = "forker.so";

/// Where a copy has what it is sent, in this order. `fork_server.py` knows two of them.
const ORDER: RawFd = FIRST_FD;
const GATE: RawFd = FIRST_FD + 1;
const STDIN: RawFd = FIRST_FD + 2;
pub(super) const JOB: RawFd = FIRST_FD + 5;
pub(super) const REPORT: RawFd = FIRST_FD + 6;
pub(super) const VERDICT: RawFd = FIRST_FD + 7;
const LAST: RawFd = VERDICT;

/// The launcher is none of a copy's processes: its init does what that does.
const LAUNCHERS: u64 = 1;

/// What a copy is told. It is read by the copy, and never by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// New ones: flags of clone(2).
    pub namespaces: u64,
    pub steps: Vec<Step>,
}

/// What an order depends on besides the plan: the same for as long as a daemon runs.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    pub(super) last_capability: u32,
    pub(super) ceilings: Ceilings,
}

/// The server's own sandbox. It is a sandbox of `plan` itself, but for three things: there is no workspace, but all of them;
/// the root of its copies is in it; and no filter, because a copy must be able to build. It runs no user code.
pub(super) fn of_server(plan: &SandboxPlan, program: &str, roots: &[PathBuf]) -> SandboxPlan {
    let mut mounts: Vec<Mount> = plan.mounts.iter().filter(|mount| !is_end(mount)).map(own).collect();
    let file = |name: &str, content: Arc<[u8]>| Mount::File { content, at: path(name) };
    mounts.push(file(SERVER, program.as_bytes().into()));
    mounts.push(file(FORKER, calls::FORKER.into()));
    mounts.extend(
        (0..)
            .zip(roots)
            .map(|(number, root)| Mount::Writable { host: root.clone(), at: root_inside(number) }),
    );
    mounts.push(Mount::Root { at: ROOT.into() });
    mounts.extend(plan.mounts.iter().filter_map(shared));
    mounts.push(Mount::ReadOnlyFromHere { at: "/".into() });
    SandboxPlan {
        mounts,
        // The copies' are new ones.
        user_namespaces: UserNamespaces::LeftToSeccomp,
        seccomp: Arc::new(Filter { programs: Vec::new() }),
        ..plan.clone()
    }
}

/// What the server's interpreter is started with, before the numbers of its two descriptors.
pub(super) fn arguments(plan: &SandboxPlan, preload: &[String]) -> Vec<String> {
    let mut arguments = plan.runtime.arguments();
    // In the runner's place.
    arguments.pop();
    arguments.push(format!("{RUNNER_DIR}/{SERVER}"));
    arguments.extend(preload.iter().cloned());
    arguments
}

/// What a copy has to do to be a sandbox of `plan` over `workspace`. `None`: the server does not see that directory, or a path
/// is not UTF-8.
pub(super) fn order(
    plan: &SandboxPlan,
    kernel: &Kernel,
    roots: &[PathBuf],
    workspace: &Path,
    instead: &[String],
) -> Option<Order> {
    let (number, within) =
        (0..).zip(roots).find_map(|(number, root)| Some((number, workspace.strip_prefix(root).ok()?)))?;
    let inside = root_inside(number);
    let workspace = if within == Path::new("") { inside } else { inside.join(within) };
    let steps = [
        arrive(),
        build(plan, &workspace)?,
        give_up_rights(plan, kernel),
        vec![Step::new("fork", [calls::fork()])],
        hold(plan, kernel),
        begin(plan, instead),
    ];
    Some(Order { namespaces: namespaces(plan), steps: steps.concat() })
}

fn namespaces(plan: &SandboxPlan) -> u64 {
    let flag = |of: &Namespace| match of {
        Namespace::User => namespace::USER,
        Namespace::Pid => namespace::PID,
        Namespace::Net => namespace::NET,
        Namespace::Ipc => namespace::IPC,
        Namespace::Uts => namespace::UTS,
        Namespace::Cgroup => namespace::CGROUP,
    };
    plan.namespaces.iter().map(flag).fold(namespace::MOUNT, |all, one| all | one)
}

/// Init is born: it gives up what came along, and waits until it is in its cgroup.
fn arrive() -> Vec<Step> {
    let mut descriptors = vec![calls::close_range(0, FIRST_FD - 1), calls::close_range(LAST + 1, -1)];
    for (standard, fd) in (0..).zip(STDIN..JOB) {
        descriptors.extend([calls::duplicate(fd, standard), calls::close(fd)]);
    }
    let own = |file: &str, text| calls::write_file(&format!("/proc/self/{file}"), text);
    vec![
        Step::new("descriptors", descriptors),
        Step::new("OOM score", own("oom_score_adj", "1000")),
        Step::new("user namespace", [own("uid_map", "1000 1000 1"), own("gid_map", "1000 1000 1")].concat()),
        Step::new("session", [calls::begin_session(), calls::heed_children(), calls::block_signals(true)]),
        Step::new("memory", [calls::set_readable(false)]),
        // Everything from here on counts as the run's.
        Step::new("cgroup", [calls::wait_for_byte(GATE)]),
    ]
}

/// The root of all copies becomes this one's own. `None`: a path is not UTF-8.
fn build(plan: &SandboxPlan, workspace: &Path) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    if plan.user_namespaces == UserNamespaces::Disabled {
        let call = calls::write_file("/proc/sys/user/max_user_namespaces", "0");
        steps.push(Step::new("user namespaces", call));
    }
    // Mounts that came along can't be taken apart; a copy of them all can become the root.
    steps.push(Step::new("root", [calls::mount(ROOT, ROOT, Mounting::BindAll, 0)]));
    let inside = |path: &str| format!("{ROOT}{path}");
    let without = NO_SETUID | NO_DEVICES | NO_PROGRAMS;
    let mut proc = vec![calls::mount("proc", &inside("/proc"), Mounting::New("proc", ""), without)];
    let kernels = ["sys", "sysrq-trigger", "irq", "bus"];
    proc.extend(kernels.map(|name| calls::refuses_writing(&inside(&format!("/proc/{name}")))));
    steps.push(Step::new("/proc", proc));
    for (place, size) in plan.mounts.iter().filter_map(sized) {
        let place = place.to_str()?;
        let options = format!("mode=1777,size={size}");
        let how = Mounting::New("tmpfs", &options);
        steps.push(Step::new(place, [calls::mount("tmpfs", &inside(place), how, NO_SETUID | NO_DEVICES)]));
    }
    let terminals = Mounting::New("devpts", "newinstance,ptmxmode=0666,mode=620");
    let terminals = calls::mount("devpts", &inside("/dev/pts"), terminals, NO_SETUID | NO_PROGRAMS);
    steps.push(Step::new("/dev/pts", [terminals]));
    let workspace = calls::mount(workspace.to_str()?, &inside(WORKSPACE_PATH), Mounting::Bind, 0);
    steps.push(Step::new("workspace", [workspace]));
    let mut root = vec![calls::chdir(ROOT)];
    root.extend(calls::leave_root());
    root.push(calls::chdir(WORKSPACE_PATH));
    steps.push(Step::new("change of root", root));
    steps.push(Step::new("loopback", calls::bring_up("lo")));
    Some(steps)
}

/// Init and program alike.
fn give_up_rights(plan: &SandboxPlan, kernel: &Kernel) -> Vec<Step> {
    let filter: Vec<_> =
        plan.seccomp.programs.iter().map(|program| calls::filter_calls(&program.code)).collect();
    vec![
        Step::new("capabilities", calls::drop_capabilities(kernel.last_capability)),
        Step::new("system call filter", filter),
    ]
}

/// The program's process.
fn hold(plan: &SandboxPlan, kernel: &Kernel) -> Vec<Step> {
    let mut rlimits = plan.rlimits;
    rlimits.processes -= LAUNCHERS;
    let set = |(name, limit)| Step::new(name, [calls::set_limit(limit, &kernel.ceilings)]);
    let mut steps: Vec<Step> = rlimits.all().into_iter().map(set).collect();
    steps.push(Step::new("umask", [calls::set_umask(0o022)]));
    steps
}

fn begin(plan: &SandboxPlan, instead: &[String]) -> Vec<Step> {
    let mut start = vec![
        calls::begin_process_group(),
        calls::block_signals(false),
        calls::set_readable(true),
        calls::close(ORDER),
        calls::close(GATE),
    ];
    if instead.is_empty() {
        start.push(calls::close(VERDICT));
    } else {
        // The self test: a program of ours, which says by itself how it ends.
        start.extend([JOB, REPORT, VERDICT].map(calls::make_inheritable));
        start.push(calls::execute(instead, &plan.env));
    }
    vec![Step::new("start", start)]
}

fn path(name: &str) -> PathBuf {
    Path::new(RUNNER_DIR).join(name)
}

fn root_inside(number: usize) -> PathBuf {
    Path::new(WORKSPACES).join(number.to_string())
}

/// The step that closes the root.
fn is_end(mount: &Mount) -> bool {
    matches!(mount, Mount::ReadOnlyFromHere { at } if at == Path::new("/"))
}

fn own(mount: &Mount) -> Mount {
    if *mount == Mount::Workspace { Mount::Directory { at: WORKSPACE_PATH.into() } } else { mount.clone() }
}

/// A file system that each copy has for itself.
fn sized(mount: &Mount) -> Option<(&Path, u64)> {
    if let Mount::Tmpfs { size, at } = mount { Some((at, size.0)) } else { None }
}

/// The same step below [`ROOT`], or the place for what each copy mounts.
fn shared(mount: &Mount) -> Option<Mount> {
    Some(match mount.clone() {
        Mount::ReadOnly { host, at } => Mount::ReadOnly { host, at: below(&at) },
        Mount::ReadOnlyIfThere { host, at } => Mount::ReadOnlyIfThere { host, at: below(&at) },
        Mount::Writable { host, at } => Mount::Writable { host, at: below(&at) },
        Mount::Directory { at } => Mount::Directory { at: below(&at) },
        Mount::Root { at } => Mount::Root { at: below(&at) },
        Mount::Launcher { at } => Mount::Launcher { at: below(&at) },
        Mount::File { content, at } => Mount::File { content, at: below(&at) },
        // Where it leads is seen from inside.
        Mount::Symlink { to, at } => Mount::Symlink { to, at: below(&at) },
        Mount::Dev { at } => Mount::Dev { at: below(&at) },
        Mount::ReadOnlyFromHere { at } => Mount::ReadOnlyFromHere { at: below(&at) },
        // bubblewrap makes this one with its /dev.
        Mount::Tmpfs { at, .. } if at.starts_with("/dev") => return None,
        Mount::Tmpfs { at, .. } => Mount::Directory { at: below(&at) },
        Mount::Proc(_) => Mount::Directory { at: below(Path::new("/proc")) },
        Mount::Workspace => Mount::Directory { at: below(Path::new(WORKSPACE_PATH)) },
    })
}

fn below(at: &Path) -> PathBuf {
    let mut bytes = ROOT.as_bytes().to_vec();
    if at != Path::new("/") {
        bytes.extend_from_slice(at.as_os_str().as_bytes());
    }
    PathBuf::from(OsStr::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::plan;
    use crate::plan::tests::{debian, is_golden, limits, runtime, told};
    use crate::program::Language;

    fn roots() -> Vec<PathBuf> {
        vec!["/srv/workspace".into(), "/srv/sessions".into()]
    }

    #[test]
    fn the_server_sees_what_was_reviewed() {
        let plan = plan(&debian(), &runtime(Language::Python), &limits());
        is_golden("debian-fork-server.txt", &told(&of_server(&plan, "", &roots()), true));
    }

    fn kernel() -> Kernel {
        Kernel { last_capability: 3, ceilings: Ceilings::NONE }
    }

    fn at(workspace: &str) -> Option<Order> {
        let plan = plan(&debian(), &runtime(Language::Python), &limits());
        order(&plan, &kernel(), &roots(), Path::new(workspace), &[])
    }

    #[test]
    fn a_copy_is_told_what_was_reviewed() {
        let order = at("/srv/sessions/.fresh/exec_1").unwrap();
        let mut text = format!("namespaces {:#x}\n", order.namespaces);
        for Step { name, calls } in &order.steps {
            let calls: String = calls.iter().map(|call| format!("    {call}\n")).collect();
            text.push_str(&format!("{name}\n{calls}"));
        }
        is_golden("debian-fork-order.txt", &text);
    }

    #[test]
    fn a_workspace_that_the_server_does_not_see_has_no_order() {
        let workspace = |path: &str| {
            let step = at(path)?.steps.into_iter().find(|step| step.name == "workspace")?;
            Some(step.calls[0].to_string())
        };
        assert!(workspace("/srv/workspace").unwrap().starts_with(r#"mount("/workspaces/0", "#));
        assert!(workspace("/srv/sessions/s-1").unwrap().starts_with(r#"mount("/workspaces/1/s-1", "#));
        for elsewhere in ["/srv", "/srv/workspaces/x", "/srv/sessions-of-others/s-1", "/home/somebody"] {
            assert_eq!(workspace(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn what_all_copies_share_does_not_depend_on_a_run() {
        let of = |limits| {
            let plan = plan(&debian(), &runtime(Language::Python), &limits);
            plan.mounts.iter().filter_map(shared).collect::<Vec<_>>()
        };
        let larger = crate::limits::Limits { tmp: crate::limits::Bytes::mib(512), processes: 1, ..limits() };
        assert_eq!(of(limits()), of(larger));
    }
}
