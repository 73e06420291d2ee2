//! Written text → [`Config`]. Every setting is looked at, whatever is wrong with the others.
//!
//! Each reader returns `None` after it has noted a mistake; a [`Config`] comes out only when there is none.

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use linux::files::Sync;
use sandbox::limits::Bytes;

use crate::intake::Ceilings;
use crate::pool;
use crate::run::TraceParent;
use crate::run::registry::Retention;

use super::address::{self, UrlProblem};
use super::mistake::{ConfigErrors, Mistake};
use super::raw::Raw;
use super::read::{Reader, is_name};
use super::secret::{self, Secret};
use super::settings::Setting;
use super::words::{self, Switch};
use super::{Config, ControlPlane, LogLevel, Origin, settings};

pub(super) fn check(raw: &Raw) -> Result<Config, ConfigErrors> {
    let mut reader = Reader::new(raw);
    let config = reader.config();
    match config {
        Some(config) if reader.mistakes.is_empty() => Ok(config),
        Some(_) | None => Err(ConfigErrors::new(reader.mistakes)),
    }
}

impl Reader<'_> {
    fn config(&mut self) -> Option<Config> {
        // All of these run before the first `?`: that is what makes the report complete.
        let control_plane = self.control_plane();
        let host = self.host();
        let port = self.whole(&settings::EXECUTOR_PORT);
        let api_token = self.secret(&settings::EXECUTOR_API_TOKEN);
        let log_level = self.log_level();
        let log_format = self.choice(&settings::LOG_FORMAT, words::log_format);
        let workspace_path = self.path(&settings::WORKSPACE_PATH);
        let sessions_path = self.path(&settings::SESSIONS_PATH);
        let results_dir = self.path(&settings::RESULTS_DIR);
        let results_max_mb = self.whole(&settings::RESULTS_MAX_MB);
        let results_fsync = self.choice(&settings::RESULTS_FSYNC, words::switch);
        self.apart([&workspace_path, &sessions_path, &results_dir]);
        let artifact_retention = self.seconds(&settings::ARTIFACT_RETENTION_SECONDS);
        let max_request = self.whole(&settings::MAX_REQUEST_BYTES);
        let container_id = self.name(&settings::CONTAINER_ID);
        let pod_name = self.name(&settings::POD_NAME);
        let session_id = self.name(&settings::SESSION_ID);
        let concurrency = self.concurrency();
        let queue = self.whole(&settings::EXECUTOR_QUEUE);
        let retained_executions = self.whole(&settings::RETAINED_EXECUTIONS);
        let retained_mb = self.whole(&settings::RETAINED_MB);
        let shutdown_grace = self.seconds(&settings::SHUTDOWN_GRACE_SECONDS);
        let ceilings = self.ceilings();
        let run_as = self.run_as();
        let isolation_minimum = self.choice(&settings::ISOLATION_MINIMUM, words::tier);
        let pool = self.pool();
        let preload = self.preload();
        let collector = self.collector();
        let traceparent = self.choice(&settings::TRACEPARENT_IN_SANDBOX, words::switch);
        Some(Config {
            control_plane: control_plane?,
            api_token: api_token?,
            host: host?,
            port: port?,
            log_level: log_level?,
            log_format: log_format?,
            workspace_path: workspace_path?,
            workspace_origin: self.origin(&settings::WORKSPACE_PATH),
            sessions_path: sessions_path?,
            results_dir: results_dir?,
            results_max: Bytes::mib(results_max_mb?),
            results_fsync: match results_fsync? {
                Switch::On => Sync::Disk,
                Switch::Off => Sync::PageCache,
            },
            artifact_retention: artifact_retention?,
            max_request: Bytes(max_request?),
            container_id: container_id?.unwrap_or_else(|| self.hostname()),
            pod_name: pod_name?,
            session_id: session_id?,
            concurrency: concurrency?,
            queue: queue?,
            retention: Retention {
                executions: NonZeroUsize::new(retained_executions?)
                    .expect("the table of settings starts at 1"),
                bytes: Bytes::mib(retained_mb?),
            },
            shutdown_grace: shutdown_grace?,
            run_as: run_as?,
            ceilings: ceilings?,
            isolation_minimum: isolation_minimum?,
            preload: preload?.filter(|_| pool.as_ref().is_some_and(|pool| pool.python > 0)),
            pool: pool?,
            collector: collector?,
            traceparent: match traceparent? {
                Switch::On => TraceParent::Told,
                Switch::Off => TraceParent::Withheld,
            },
        })
    }

    fn ceilings(&mut self) -> Option<Ceilings> {
        let memory = self.whole(&settings::MAX_MEMORY_MB);
        let processes = self.whole(&settings::MAX_PROCESSES);
        let open_files = self.whole(&settings::MAX_OPEN_FILES);
        let file_size = self.whole(&settings::MAX_FILE_MB);
        let tmp = self.whole(&settings::MAX_TMP_MB);
        let output = self.whole(&settings::MAX_OUTPUT_BYTES);
        Some(Ceilings {
            memory: Bytes::mib(memory?),
            processes: processes?,
            open_files: open_files?,
            file_size: Bytes::mib(file_size?),
            tmp: Bytes::mib(tmp?),
            output: Bytes(output?),
        })
    }

    fn pool(&mut self) -> Option<pool::Sizes> {
        let python = self.whole(&settings::POOL_PYTHON);
        let javascript = self.whole(&settings::POOL_JAVASCRIPT);
        let shell = self.whole(&settings::POOL_SHELL);
        let memory = self.whole(&settings::POOL_MEMORY_MB);
        Some(pool::Sizes {
            python: python?,
            javascript: javascript?,
            shell: shell?,
            memory: Bytes::mib(memory?),
        })
    }

    /// `Some(None)`: there shall be no fork server.
    fn preload(&mut self) -> Option<Option<Vec<String>>> {
        let wanted = self.choice(&settings::FORK_SERVER, words::switch);
        let modules = self.modules(&settings::PRELOAD_PYTHON)?;
        match wanted? {
            Switch::On => Some(Some(modules)),
            Switch::Off if modules.is_empty() => Some(None),
            Switch::Off => self.refuse(
                &settings::PRELOAD_PYTHON,
                "PRELOAD_PYTHON needs the fork server; leave FORK_SERVER on, or PRELOAD_PYTHON out"
                    .to_owned(),
            ),
        }
    }

    /// `Some(None)`: callbacks are off.
    fn control_plane(&mut self) -> Option<Option<ControlPlane>> {
        let url = self.url(&settings::CONTROL_PLANE_URL);
        let prefix = self.prefix();
        let format = self.choice(&settings::CALLBACK_FORMAT, words::callback_format);
        let value = self.secret(&settings::INTERNAL_API_TOKEN);
        let token_file = self.optional_path(&settings::INTERNAL_API_TOKEN_FILE);
        let from_file = self.token_from(token_file.clone());
        let (url, prefix, format) = (url?, prefix?, format?);
        let (value, token_file, from_file) = (value?, token_file?, from_file?);
        let token = match (value, from_file) {
            (Some(_), Some(_)) => {
                let both =
                    "INTERNAL_API_TOKEN and INTERNAL_API_TOKEN_FILE are both set; take one of them away";
                return self.refuse(&settings::INTERNAL_API_TOKEN, both.to_owned());
            }
            (Some(token), None) | (None, Some(token)) => Some(token),
            (None, None) => None,
        };
        match (url, token) {
            (None, _) => Some(None),
            (Some(url), Some(token)) => Some(Some(ControlPlane { url, prefix, token, token_file, format })),
            (Some(_), None) => {
                let missing = "INTERNAL_API_TOKEN is not set, but CONTROL_PLANE_URL is: every callback needs it; \
                               set it or INTERNAL_API_TOKEN_FILE";
                self.refuse(&settings::INTERNAL_API_TOKEN, missing.to_owned())
            }
        }
    }

    fn url(&mut self, setting: &'static Setting) -> Option<Option<String>> {
        let Some((text, source)) = self.text(setting)? else {
            return Some(None);
        };
        match address::url(&text) {
            Ok(url) => Some(Some(url)),
            Err(UrlProblem::Shown(wrong)) => self.wrong(setting, source, &text, wrong),
            Err(UrlProblem::MayHoldSecret(wrong)) => {
                self.mistakes.push(Mistake::about(setting, source, &format!("(not shown) {wrong}")));
                None
            }
        }
    }

    fn collector(&mut self) -> Option<Option<String>> {
        let setting = &settings::OTEL_EXPORTER_OTLP_ENDPOINT;
        let url = self.url(setting)?;
        if url.is_some() && !cfg!(feature = "otlp") {
            let missing = "OTEL_EXPORTER_OTLP_ENDPOINT is set, but this executor was built without the feature otlp: \
                           build it with --features otlp, or take the setting away";
            return self.refuse(setting, missing.to_owned());
        }
        Some(url)
    }

    fn prefix(&mut self) -> Option<String> {
        let setting = &settings::CONTROL_PLANE_PREFIX;
        let Some((text, source)) = self.text(setting)? else {
            return Some(String::new());
        };
        address::prefix(&text).or_else(|wrong| self.wrong(setting, source, &text, wrong).ok_or(())).ok()
    }

    fn token_from(&mut self, file: Option<Option<PathBuf>>) -> Option<Option<Secret>> {
        let Some(file) = file? else { return Some(None) };
        match secret::read_file(&file) {
            Ok(token) => Some(Some(token)),
            Err(problem @ secret::SecretProblem::Unreadable { .. }) => {
                self.refuse(&settings::INTERNAL_API_TOKEN_FILE, format!("INTERNAL_API_TOKEN_FILE {problem}"))
            }
            Err(problem) => self.refuse(
                &settings::INTERNAL_API_TOKEN_FILE,
                format!(
                    "INTERNAL_API_TOKEN_FILE names {file:?}, and what it holds {problem}; allowed: {}",
                    settings::INTERNAL_API_TOKEN.allowed()
                ),
            ),
        }
    }

    fn log_level(&mut self) -> Option<LogLevel> {
        let debug = self.choice(&settings::DEBUG, words::switch)?;
        let level = self.choice(&settings::LOG_LEVEL, words::log_level)?;
        match (debug, self.origin(&settings::LOG_LEVEL)) {
            (Switch::On, Origin::Default) => Some(LogLevel::Debug),
            (Switch::On, Origin::Explicit) | (Switch::Off, Origin::Default | Origin::Explicit) => Some(level),
        }
    }

    fn concurrency(&mut self) -> Option<NonZeroUsize> {
        let setting = &settings::EXECUTOR_CONCURRENCY;
        if self.text(setting)?.is_none() {
            // Unknown on this host: one at a time is always safe.
            return Some(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
        }
        self.whole(setting).and_then(NonZeroUsize::new)
    }

    /// The workspace is user code's to write: what it could reach by a plain path must not lie in it.
    fn apart(&mut self, [workspace, sessions, results]: [&Option<PathBuf>; 3]) {
        let named = [
            (&settings::WORKSPACE_PATH, workspace),
            (&settings::SESSIONS_PATH, sessions),
            (&settings::RESULTS_DIR, results),
        ];
        for (index, (first, first_path)) in named.iter().enumerate() {
            for (second, second_path) in &named[index + 1..] {
                let (Some(one), Some(other)) = (first_path, second_path) else {
                    continue;
                };
                if one.starts_with(other) || other.starts_with(one) {
                    self.mistakes.push(Mistake::sentence(
                        second,
                        format!(
                            "{} is {other:?} and {} is {one:?}, one inside the other; give each a directory of its own",
                            second.name, first.name
                        ),
                    ));
                }
            }
        }
    }

    /// Nobody wrote `HOSTNAME` for us, so a strange one is no mistake of the operator's.
    fn hostname(&self) -> String {
        let hostname = self.raw.hostname.as_deref().and_then(OsStr::to_str).filter(|name| is_name(name));
        hostname.unwrap_or("unknown").to_owned()
    }
}
