//! How a daemon is started: its environment, who starts it, and in what surroundings.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::Daemon;
use crate::daemon::binary;

/// How a daemon is started. `EXECUTOR_PORT` and the directories are set for it.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) uid: Option<u32>,
    pub(crate) surroundings: Surroundings,
    pub(crate) api_token: Option<String>,
}

/// What stands between the test and the daemon. Whatever does waits for the daemon and ends as it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Surroundings {
    #[default]
    None,
    /// A pid namespace of its own, of which the daemon is the first process, with a `/proc` that is masked in one place:
    /// what a container without further settings looks like. The kernel refuses sandboxes a `/proc` of their own there.
    MaskedProc,
    /// A terminal of its own on all three descriptors.
    Terminal,
}

impl Settings {
    pub fn new() -> Self {
        Self::default()
    }

    /// An environment variable of docs/configuration.md.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.env.insert(name.to_owned(), value.to_string());
        self
    }

    /// Started as this user rather than as root, where the test is root.
    #[must_use]
    pub fn started_by(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    /// As process 1 of a pid namespace whose `/proc` is masked, as in a container. Takes root.
    #[must_use]
    pub fn behind_masked_proc(mut self) -> Self {
        self.surroundings = Surroundings::MaskedProc;
        self
    }

    /// With a terminal as its standard input, output and error.
    #[must_use]
    pub fn under_a_terminal(mut self) -> Self {
        self.surroundings = Surroundings::Terminal;
        self
    }

    /// With this as `EXECUTOR_API_TOKEN`, which the harness sends along whenever the test names no headers itself.
    #[must_use]
    pub fn with_api_token(mut self, token: &str) -> Self {
        self.api_token = Some(token.to_owned());
        self.set("EXECUTOR_API_TOKEN", token)
    }

    pub fn start(self) -> Daemon {
        Daemon::start(self)
    }
}

impl Surroundings {
    pub(crate) fn command(self) -> Command {
        match self {
            Self::None => plain(&binary()),
            Self::MaskedProc => {
                let mut command = plain(Path::new("/usr/bin/unshare"));
                let mask = "mount --bind /dev/null /proc/cmdline && exec \"$0\"";
                command
                    .args([
                        "--mount",
                        "--pid",
                        "--fork",
                        "--kill-child",
                        "--mount-proc",
                        "/bin/sh",
                        "-c",
                        mask,
                    ])
                    .arg(binary());
                command
            }
            Self::Terminal => {
                let mut command = plain(Path::new("/usr/bin/script"));
                let exec = format!("exec '{}'", binary().display());
                command.args(["-q", "-e", "-f", "-c", &exec, "/dev/null"]);
                command
            }
        }
    }
}

/// A command that starts the binary under test, for what needs no server.
pub fn command() -> Command {
    plain(&binary())
}

pub(crate) fn plain(program: &Path) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the test's own child, not the daemon's")]
    Command::new(program)
}
