//! A plan, written down for bubblewrap. Pure, and without any decision of its own.
//!
//! The list travels through a descriptor (`--args`), because `/proc/*/cmdline` is readable from inside; and every file from
//! a descriptor gets one of its own, because a second reader of the same one finds it empty.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;

use crate::host::{ProcView, UserNamespaces};
use crate::paths::WORKSPACE_PATH;
use crate::plan::{Mount, SandboxPlan};

/// What the plan needs from outside: descriptors that bubblewrap has inherited, and where the workspace is.
pub trait Outside {
    fn file(&mut self, content: &[u8]) -> std::io::Result<RawFd>;
    fn launcher(&mut self) -> std::io::Result<Bind>;
    fn workspace(&mut self) -> std::io::Result<OsString>;
    fn status(&mut self) -> RawFd;
}

/// How this program is named: by descriptor where bubblewrap can (0.10, and Debian 12's 0.8.0-2+deb12u1), because its path
/// may be unreachable, else by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    Descriptor(RawFd),
    Path(OsString),
}

/// The options, in order. File system operations take effect in the order given.
pub fn options(plan: &SandboxPlan, outside: &mut impl Outside) -> std::io::Result<Vec<OsString>> {
    let mut out = Options(Vec::with_capacity(160));
    // Each by name: `--unshare-all` skips silently what it cannot have.
    for namespace in &plan.namespaces {
        out.push([format!("--unshare-{}", namespace.name())]);
    }
    out.push(["--uid", "1000", "--gid", "1000", "--hostname", "sandbox", "--cap-drop", "ALL"]);
    match plan.user_namespaces {
        UserNamespaces::Disabled => out.push(["--disable-userns"]),
        UserNamespaces::LeftToSeccomp => {}
    }
    out.push(["--die-with-parent", "--new-session"]);
    for mount in &plan.mounts {
        out.mount(mount, outside)?;
    }
    out.push(["--chdir", WORKSPACE_PATH, "--clearenv"]);
    for (name, value) in &plan.env {
        out.push(["--setenv", name, value]);
    }
    // bubblewrap installs them in this order, in its init too, as the last thing before each goes its way.
    for program in &plan.seccomp.programs {
        out.push(["--add-seccomp-fd".to_owned(), outside.file(&program.code)?.to_string()]);
    }
    out.push(["--json-status-fd".to_owned(), outside.status().to_string()]);
    Ok(out.0)
}

/// Options as bubblewrap reads them from a descriptor: each ends in NUL.
pub fn nul_separated(options: &[OsString]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for option in options {
        bytes.extend_from_slice(option.as_encoded_bytes());
        bytes.push(0);
    }
    bytes
}

struct Options(Vec<OsString>);

impl Options {
    fn push<T: Into<OsString>>(&mut self, words: impl IntoIterator<Item = T>) {
        self.0.extend(words.into_iter().map(Into::into));
    }

    fn mount(&mut self, mount: &Mount, outside: &mut impl Outside) -> std::io::Result<()> {
        match mount {
            Mount::ReadOnly { host, at } => self.push([OsStr::new("--ro-bind"), host.as_ref(), at.as_ref()]),
            Mount::ReadOnlyIfThere { host, at } => {
                self.push([OsStr::new("--ro-bind-try"), host.as_ref(), at.as_ref()]);
            }
            Mount::Writable { host, at } => self.push([OsStr::new("--bind"), host.as_ref(), at.as_ref()]),
            Mount::Directory { at } => self.push([OsStr::new("--dir"), at.as_ref()]),
            Mount::Root { at } => self.push([OsStr::new("--tmpfs"), at.as_ref()]),
            Mount::Launcher { at } => match outside.launcher()? {
                Bind::Descriptor(fd) => {
                    self.push([OsStr::new("--ro-bind-fd"), fd.to_string().as_ref(), at.as_ref()]);
                }
                Bind::Path(path) => self.push([OsStr::new("--ro-bind"), &path, at.as_ref()]),
            },
            Mount::File { content, at } => {
                let fd = outside.file(content)?.to_string();
                self.push([
                    OsStr::new("--perms"),
                    "0444".as_ref(),
                    "--file".as_ref(),
                    fd.as_ref(),
                    at.as_ref(),
                ]);
            }
            Mount::Symlink { to, at } => self.push([OsStr::new("--symlink"), to.as_ref(), at.as_ref()]),
            Mount::Proc(ProcView::Private) => self.push(["--proc", "/proc"]),
            Mount::Proc(ProcView::Shared) => self.push(["--ro-bind", "/proc", "/proc"]),
            Mount::Dev { at } => self.push([OsStr::new("--dev"), at.as_ref()]),
            Mount::Tmpfs { size, at } => {
                let size = size.0.to_string();
                let options = ["--perms", "1777", "--size", &size, "--tmpfs"].map(OsStr::new);
                self.push(options.into_iter().chain([at.as_ref()]));
            }
            Mount::Workspace => {
                let workspace = outside.workspace()?;
                self.push(["--bind".into(), workspace, WORKSPACE_PATH.into()]);
            }
            Mount::ReadOnlyFromHere { at } => self.push([OsStr::new("--remount-ro"), at.as_ref()]),
        }
        Ok(())
    }
}
