//! What a fork server sees, and what a copy of it has to do: a sandbox's plan, taken apart. Pure.
//!
//! Both halves come from the one plan of [`plan::plan`](crate::plan::plan), so a copy is held by what holds any sandbox. What is the
//! same for every sandbox of a language is built once, by bubblewrap, below [`ROOT`]; what is a sandbox's own (the sized file
//! systems, `/proc`, terminals, its workspace) each copy mounts for itself in there, and makes it its root.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::host::UserNamespaces;
use crate::paths::{RUNNER_DIR, WORKSPACE_PATH};
use crate::plan::{Mount, SandboxPlan};
use crate::seccomp::Filter;

/// Where the root of every copy is built, inside the server. `fork_server.py` knows it, too.
const ROOT: &str = "/sandbox";

/// Where the directories that hold workspaces are, inside the server.
const WORKSPACES: &str = "/workspaces";

/// The server's program, beside the runner.
const SERVER: &str = "fork_server.py";

/// The launcher is none of a copy's processes: its init does what that does.
const LAUNCHERS: u64 = 1;

/// What a copy is told. It is read by the copy, and never by the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Order {
    /// Where the server sees it.
    workspace: String,
    /// Place and bytes.
    tmpfs: Vec<(PathBuf, u64)>,
    /// As the kernel numbers them.
    rlimits: Vec<(u32, u64)>,
    disable_user_namespaces: bool,
    /// What to execute in the runner's place.
    instead: Vec<String>,
}

/// The server's own sandbox. It is a sandbox of `plan` itself, but for three things: there is no workspace, but all of them;
/// the root of its copies is in it; and no filter, because a copy must be able to build. It runs no user code.
pub(super) fn of_server(plan: &SandboxPlan, program: &str, roots: &[PathBuf]) -> SandboxPlan {
    let mut mounts: Vec<Mount> = plan.mounts.iter().filter(|mount| !is_end(mount)).map(own).collect();
    let file = |name: &str, content: Arc<[u8]>| Mount::File { content, at: path(name) };
    mounts.push(file(SERVER, program.as_bytes().into()));
    let filter = plan.seccomp.programs.iter().map(|program| program.code.as_slice().into());
    mounts.extend(filter_names(plan).zip(filter).map(|(name, code)| file(&name, code)));
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
    arguments.extend(filter_names(plan).map(|name| format!("{RUNNER_DIR}/{name}")));
    arguments.extend(preload.iter().cloned());
    arguments
}

/// What a copy has to do to be a sandbox of `plan` over `workspace`. `None`: the server does not see that directory.
pub(super) fn order(
    plan: &SandboxPlan,
    roots: &[PathBuf],
    workspace: &Path,
    instead: Vec<String>,
) -> Option<Order> {
    let (number, below) =
        (0..).zip(roots).find_map(|(number, root)| Some((number, workspace.strip_prefix(root).ok()?)))?;
    let inside = root_inside(number);
    let workspace = if below == Path::new("") { inside } else { inside.join(below) };
    let mut rlimits = plan.rlimits;
    rlimits.processes -= LAUNCHERS;
    Some(Order {
        workspace: workspace.into_os_string().into_string().ok()?,
        tmpfs: plan.mounts.iter().filter_map(sized).collect(),
        rlimits: rlimits.all().into_iter().map(|(_, limit)| limit.as_numbers()).collect(),
        disable_user_namespaces: plan.user_namespaces == UserNamespaces::Disabled,
        instead,
    })
}

fn path(name: &str) -> PathBuf {
    Path::new(RUNNER_DIR).join(name)
}

fn filter_names(plan: &SandboxPlan) -> impl Iterator<Item = String> {
    (0..plan.seccomp.programs.len()).map(|number| format!("filter-{number}"))
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
fn sized(mount: &Mount) -> Option<(PathBuf, u64)> {
    if let Mount::Tmpfs { size, at } = mount { Some((at.clone(), size.0)) } else { None }
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

    #[test]
    fn a_copy_is_told_what_was_reviewed() {
        let plan = plan(&debian(), &runtime(Language::Python), &limits());
        let order = order(&plan, &roots(), Path::new("/srv/sessions/.fresh/exec_1"), Vec::new()).unwrap();
        is_golden("debian-fork-order.txt", &format!("{:#}\n", serde_json::to_value(order).unwrap()));
    }

    #[test]
    fn a_workspace_that_the_server_does_not_see_has_no_order() {
        let plan = plan(&debian(), &runtime(Language::Python), &limits());
        let workspace =
            |path: &str| order(&plan, &roots(), Path::new(path), Vec::new()).map(|order| order.workspace);
        assert_eq!(workspace("/srv/workspace").as_deref(), Some("/workspaces/0"));
        assert_eq!(workspace("/srv/sessions/s-1").as_deref(), Some("/workspaces/1/s-1"));
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
