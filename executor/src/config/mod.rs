//! The configuration: what was written in the environment and on the command line, and what it means.
//!
//! `settings` is the one table of names; `raw` gathers what was written; `check` turns it into a [`Config`], which
//! cannot be wrong. Every mistake is reported, not only the first. The environment is read here and nowhere else, and
//! no value of a secret is ever printed.
//!
//! An empty value counts as not set, as compose files and Kubernetes templates leave many of them behind. The two
//! tokens are the exception: an empty one is a mistake, because somebody thought there was protection.

pub(crate) mod address;
mod check;
mod mistake;
mod raw;
mod read;
pub mod secret;
pub mod settings;
mod words;

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use linux::files::Sync;
use sandbox::limits::Bytes;
use sandbox::tier::Tier;

use crate::intake::Ceilings;
use crate::pool;
use crate::run::TraceParent;
use crate::run::registry::Retention;
use crate::telemetry::trace::Spans;
pub use mistake::{ConfigErrors, Mistake};
pub use raw::{Environment, ProcessEnvironment};
pub use secret::Secret;

/// Everything the daemon was told, checked. See `docs/configuration.md` for the meaning of each setting.
#[derive(Debug, Clone)]
pub struct Config {
    /// `None`: callbacks are off.
    pub control_plane: Option<ControlPlane>,
    /// `None`: every caller is let in.
    pub api_token: Option<Secret>,
    pub host: IpAddr,
    /// 0: the kernel chooses one.
    pub port: u16,
    /// `LOG_LEVEL`, or `debug` when it is not set and `DEBUG` is on.
    pub log_level: LogLevel,
    pub log_format: LogFormat,
    pub workspace_path: PathBuf,
    pub workspace_origin: Origin,
    pub sessions_path: PathBuf,
    pub results_dir: PathBuf,
    pub results_max: Bytes,
    pub results_fsync: Sync,
    pub artifact_retention: Duration,
    pub max_request: Bytes,
    /// `CONTAINER_ID`, else `HOSTNAME`, else `unknown`.
    pub container_id: String,
    pub pod_name: Option<String>,
    pub session_id: Option<String>,
    pub concurrency: NonZeroUsize,
    /// How many executions may wait. 0: what cannot run at once is refused.
    pub queue: usize,
    pub retention: Retention,
    pub shutdown_grace: Duration,
    pub run_as: RunAs,
    /// The most that a request's `limits` may ask for, and what it gets when it asks for nothing.
    pub ceilings: Ceilings,
    pub isolation_minimum: Tier,
    pub pool: pool::Sizes,
    /// The modules that the fork server imports. `None`: there shall be no fork server.
    pub preload: Option<Vec<String>>,
    pub traceparent: TraceParent,
    /// Where spans go, without a trailing slash. `None`: nowhere.
    pub collector: Option<String>,
}

impl Config {
    pub fn spans(&self) -> Spans {
        if self.collector.is_some() { Spans::Exported } else { Spans::Unexported }
    }
}

/// Where callbacks go.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    /// Scheme, host, port and base path, without a trailing slash.
    pub url: String,
    /// Empty, or a path with a leading and without a trailing slash.
    pub prefix: String,
    pub token: Secret,
    /// Where the token came from, when it can change while we run: [`secret::read_file`] reads it again.
    pub token_file: Option<PathBuf>,
    pub format: CallbackFormat,
}

impl ControlPlane {
    /// The whole address of a call; `path` starts with a slash.
    pub fn address(&self, path: &str) -> String {
        format!("{}{}{path}", self.url, self.prefix)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackFormat {
    Full,
    Compact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

/// Whether somebody chose a value. A missing default workspace may be created; a missing chosen one is a mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Default,
    Explicit,
}

/// Who the daemon becomes when root starts it. Neither is ever 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunAs {
    pub uid: u32,
    pub gid: u32,
}

/// Adds one flag per setting to a command.
pub fn flags(command: clap::Command) -> clap::Command {
    raw::flags(command)
}

/// Reads and checks everything. Flags win over the environment. A command without the flags gets the environment's
/// values and the defaults.
///
/// # Errors
/// Every mistake there is, in the order of the table of settings.
///
/// The secrets are no longer in the environment afterwards. Call it before any thread exists.
pub fn load(matches: &clap::ArgMatches, environment: &dyn Environment) -> Result<Config, ConfigErrors> {
    let config = check::check(&raw::gather(matches, environment));
    let secrets = settings::ALL.into_iter().filter(|setting| matches!(setting.kind, settings::Kind::Secret));
    let kept: Vec<_> = secrets
        .filter_map(|setting| Some((setting, environment.forget(setting.name).err()?)))
        .map(|(setting, error)| {
            let sentence =
                format!("{} cannot be taken out of this process's environment: {error}", setting.name);
            Mistake::sentence(setting, sentence)
        })
        .collect();
    if kept.is_empty() { config } else { Err(ConfigErrors::new(kept)) }
}

#[cfg(test)]
mod tests;
