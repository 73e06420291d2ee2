//! How a daemon is started: its environment, who starts it, and in what surroundings.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use control_plane_mock::Mock;

use crate::Daemon;
use crate::daemon::binary;
use crate::starts::is_root;

/// What daemons under test say to the control plane.
pub const INTERNAL_TOKEN: &str = "conformance-internal-token";

/// How a daemon is started. `EXECUTOR_PORT` and the directories are set for it.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) uid: Option<u32>,
    pub(crate) surroundings: Surroundings,
    pub(crate) cgroups: Cgroups,
    start: Start,
    pub(crate) api_token: Option<String>,
    /// In place of the one under test.
    pub(crate) binary: Option<PathBuf>,
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

/// Whether `EXECUTOR_TESTS_START` and `EXECUTOR_TESTS_POOL` are heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Start {
    #[default]
    AsAsked,
    WithTheMost,
}

/// Whether the daemon can reach those of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Cgroups {
    #[default]
    AsTheyAre,
    Hidden,
    ReadOnly,
}

/// The settings of the pool.
const POOLS: [&str; 3] = ["POOL_PYTHON", "POOL_JAVASCRIPT", "POOL_SHELL"];

impl Settings {
    /// Without a pool: each run makes its sandbox.
    pub fn new() -> Self {
        POOLS.into_iter().fold(Self::default(), |settings, pool| settings.set(pool, 0))
    }

    /// With sandboxes that wait: most runs get one of them.
    #[must_use]
    pub fn warm(self) -> Self {
        POOLS.into_iter().zip([2, 1, 1]).fold(self, |settings, (pool, size)| settings.set(pool, size))
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

    /// Where `/sys/fs/cgroup` is empty. Takes root.
    #[must_use]
    pub fn without_cgroups(mut self) -> Self {
        self.cgroups = Cgroups::Hidden;
        self
    }

    /// Where `/sys/fs/cgroup` may only be read, as in most containers. Takes root.
    #[must_use]
    pub fn with_read_only_cgroups(mut self) -> Self {
        self.cgroups = Cgroups::ReadOnly;
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

    /// Calls this control plane back.
    #[must_use]
    pub fn calling(self, mock: &Mock) -> Self {
        self.set("CONTROL_PLANE_URL", mock.url()).set("INTERNAL_API_TOKEN", INTERNAL_TOKEN)
    }

    /// A copy of the binary under test, which may then be replaced.
    #[must_use]
    pub fn from_copy(mut self, copy: &Path) -> Self {
        fs::copy(binary(), copy).unwrap();
        self.binary = Some(copy.to_owned());
        self
    }

    /// What the daemon must keep to itself.
    pub(crate) fn internal_token(&self) -> &str {
        self.env.get("INTERNAL_API_TOKEN").map_or(INTERNAL_TOKEN, String::as_str)
    }

    pub(crate) fn calls_back(&self) -> bool {
        self.env.contains_key("CONTROL_PLANE_URL")
    }

    /// With as much as this machine gives, also where tests are asked to run with the least.
    #[must_use]
    pub fn with_the_most(mut self) -> Self {
        self.start = Start::WithTheMost;
        self
    }

    pub fn start(self) -> Daemon {
        Daemon::start(self.in_the_start_asked_for())
    }

    /// `EXECUTOR_TESTS_START=least`: whatever a test does not choose itself is as it is in most containers, `/proc` shared and no
    /// cgroup for a run. `EXECUTOR_TESTS_POOL=1`: sandboxes wait for it.
    fn in_the_start_asked_for(self) -> Self {
        let least = std::env::var_os("EXECUTOR_TESTS_START").is_some_and(|start| start == "least");
        let pool = std::env::var_os("EXECUTOR_TESTS_POOL").is_some_and(|pool| pool == "1");
        let chosen = self.uid.is_some()
            || self.surroundings != Surroundings::None
            || self.cgroups != Cgroups::AsTheyAre
            || self.start == Start::WithTheMost;
        if chosen || !is_root() {
            return self;
        }
        let settings = if pool { self.warm() } else { self };
        if least { settings.behind_masked_proc().without_cgroups() } else { settings }
    }
}

impl Cgroups {
    /// For a shell in a mount namespace of its own.
    fn change(self) -> &'static str {
        match self {
            Self::AsTheyAre => "",
            Self::Hidden => "mount -t tmpfs none /sys/fs/cgroup && ",
            Self::ReadOnly => {
                "for dir in /sys/fs/cgroup /sys/fs/cgroup/*; do \
                   if mountpoint -q $dir; then mount -o remount,bind,ro $dir || exit 1; fi; \
                 done; "
            }
        }
    }
}

impl Surroundings {
    pub(crate) fn command(self, binary: &Path, cgroups: Cgroups) -> Command {
        let in_own_mounts = |options: &[&str], change: &str| {
            let mut command = plain(Path::new("/usr/bin/unshare"));
            let script = format!("{change}{}exec \"$0\"", cgroups.change());
            command.arg("--mount").args(options).args(["/bin/sh", "-c", &script]).arg(binary);
            command
        };
        match self {
            Self::None if cgroups == Cgroups::AsTheyAre => plain(binary),
            // The daemon takes the shell's place, and its number.
            Self::None => in_own_mounts(&[], ""),
            Self::MaskedProc => in_own_mounts(
                &["--pid", "--fork", "--kill-child", "--mount-proc"],
                "mount --bind /dev/null /proc/cmdline && ",
            ),
            Self::Terminal => {
                let mut command = plain(Path::new("/usr/bin/script"));
                let exec = format!("exec '{}'", binary.display());
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
