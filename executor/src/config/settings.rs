//! The table of settings: flags, `--help` and `docs/configuration.md` are all made from it or compared with it.
//!
//! A setting that is not listed here does not exist. Ranges and defaults are stated here and nowhere else.

/// One setting: an environment variable and, unless it is a secret, a flag.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable. The flag is the same name in kebab-case.
    pub name: &'static str,
    pub kind: Kind,
    pub default: Fallback,
    /// One line, for `--help` and the documentation.
    pub help: &'static str,
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A whole number, both ends included.
    Whole { unit: &'static str, from: u64, to: u64 },
    /// One of a few words, in any case.
    Choice(&'static [&'static str]),
    /// On or off. The flag may stand alone.
    Switch,
    /// An IP address.
    Address,
    /// `http://` or `https://`.
    Url,
    /// The path part of a URL.
    UrlPath,
    /// An absolute path.
    Path,
    /// A name that is reported, not interpreted.
    Name,
    /// Names of Python modules, with commas between them.
    Modules,
    /// `uid:gid`.
    Identity,
    /// Never on the command line, never printed.
    Secret,
}

#[derive(Debug, Clone, Copy)]
pub enum Fallback {
    /// The feature is off, or the value is not reported.
    Unset,
    /// As if it had been written.
    Written(&'static str),
    /// Found out at start; the words say how.
    Derived(&'static str),
}

impl Setting {
    pub fn flag(&self) -> String {
        self.name.to_ascii_lowercase().replace('_', "-")
    }

    pub fn unit(&self) -> &'static str {
        match self.kind {
            Kind::Whole { unit, .. } => unit,
            Kind::Choice(_) => "word",
            Kind::Switch => "switch",
            Kind::Address => "IP address",
            Kind::Url => "URL",
            Kind::UrlPath => "URL path",
            Kind::Path => "path",
            Kind::Name => "text",
            Kind::Modules => "modules",
            Kind::Identity => "uid:gid",
            Kind::Secret => "secret",
        }
    }

    /// What may be written, as a phrase that ends a sentence.
    pub fn allowed(&self) -> String {
        match self.kind {
            Kind::Whole { from, to, .. } => format!("{from} to {to}"),
            Kind::Choice(words) => words.join(", "),
            Kind::Switch => "true, false, 1, 0, yes, no, on, off".to_owned(),
            Kind::Address => "an IPv4 or IPv6 address such as 0.0.0.0, 127.0.0.1 or ::".to_owned(),
            Kind::Url => {
                "http:// or https://, a host and perhaps a port and a path; no user, query or fragment"
                    .to_owned()
            }
            Kind::UrlPath => "letters, digits, / - _ . ~ without . or .. parts".to_owned(),
            Kind::Path => "an absolute path other than /, without .. parts".to_owned(),
            Kind::Name => "1 to 256 characters without control characters".to_owned(),
            Kind::Modules => "names of modules such as json or os.path, with commas between them".to_owned(),
            Kind::Identity => "two numbers from 1 to 4294967294, such as 1000:1000".to_owned(),
            Kind::Secret => "1 to 4096 visible ASCII characters".to_owned(),
        }
    }

    /// The default as the help and the documentation show it.
    pub fn shown_default(&self) -> &'static str {
        match self.default {
            Fallback::Unset => "not set",
            Fallback::Written(text) | Fallback::Derived(text) => text,
        }
    }
}

const fn setting(name: &'static str, kind: Kind, default: Fallback, help: &'static str) -> Setting {
    Setting { name, kind, default, help }
}

const fn whole(unit: &'static str, from: u64, to: u64) -> Kind {
    Kind::Whole { unit, from, to }
}

use Fallback::{Derived, Unset, Written};

pub static CONTROL_PLANE_URL: Setting =
    setting("CONTROL_PLANE_URL", Kind::Url, Unset, "where callbacks go; without it there are none");
pub static CONTROL_PLANE_PREFIX: Setting =
    setting("CONTROL_PLANE_PREFIX", Kind::UrlPath, Unset, "path put before /internal/... in every callback");
pub static CALLBACK_FORMAT: Setting = setting(
    "CALLBACK_FORMAT",
    Kind::Choice(&["full", "compact"]),
    Written("full"),
    "compact: for control planes of the first generation",
);
pub static INTERNAL_API_TOKEN: Setting = setting(
    "INTERNAL_API_TOKEN",
    Kind::Secret,
    Unset,
    "sent as Bearer with every callback; this or its file is needed when CONTROL_PLANE_URL is set",
);
pub static INTERNAL_API_TOKEN_FILE: Setting = setting(
    "INTERNAL_API_TOKEN_FILE",
    Kind::Path,
    Unset,
    "file that holds the token instead; read again when the control plane refuses the token",
);
pub static EXECUTOR_HOST: Setting =
    setting("EXECUTOR_HOST", Kind::Address, Written("0.0.0.0"), "address to listen on");
pub static EXECUTOR_PORT: Setting = setting(
    "EXECUTOR_PORT",
    whole("port", 0, 65_535),
    Written("8080"),
    "port to listen on; 0 lets the kernel choose",
);
pub static EXECUTOR_API_TOKEN: Setting = setting(
    "EXECUTOR_API_TOKEN",
    Kind::Secret,
    Unset,
    "when set, every route but health and metrics wants it as Bearer",
);
pub static LOG_LEVEL: Setting = setting(
    "LOG_LEVEL",
    Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
    Written("info"),
    "the least important level that is logged; warning means warn",
);
pub static LOG_FORMAT: Setting = setting(
    "LOG_FORMAT",
    Kind::Choice(&["json", "text"]),
    Written("json"),
    "one JSON object or one line of text per event",
);
pub static DEBUG: Setting =
    setting("DEBUG", Kind::Switch, Written("false"), "LOG_LEVEL is debug when it is not set itself");
pub static WORKSPACE_PATH: Setting =
    setting("WORKSPACE_PATH", Kind::Path, Written("/workspace"), "the container's own workspace");
pub static SESSIONS_PATH: Setting = setting(
    "SESSIONS_PATH",
    Kind::Path,
    Written("/var/lib/sandbox-executor/sessions"),
    "where the workspaces of sessions and fresh runs live",
);
pub static RESULTS_DIR: Setting = setting(
    "RESULTS_DIR",
    Kind::Path,
    Written("/tmp/results"),
    "where results wait until the control plane has them",
);
pub static RESULTS_MAX_MB: Setting = setting(
    "RESULTS_MAX_MB",
    whole("MiB", 1, 1_048_576),
    Written("1024"),
    "how much may wait there; beyond that the oldest is let go, with a line in the log",
);
pub static RESULTS_FSYNC: Setting = setting(
    "RESULTS_FSYNC",
    Kind::Switch,
    Written("false"),
    "each result reaches the disk before it is answered; for a volume that outlives the host",
);
pub static ARTIFACT_RETENTION_SECONDS: Setting = setting(
    "ARTIFACT_RETENTION_SECONDS",
    whole("seconds", 0, 604_800),
    Written("600"),
    "how long a fresh workspace and its artifacts are kept",
);
pub static MAX_REQUEST_BYTES: Setting = setting(
    "MAX_REQUEST_BYTES",
    whole("bytes", 1_024, 268_435_456),
    Written("16777216"),
    "the largest request body, files included",
);
pub static CONTAINER_ID: Setting = setting(
    "CONTAINER_ID",
    Kind::Name,
    Derived("HOSTNAME, else unknown"),
    "names this container in logs and callbacks",
);
pub static POD_NAME: Setting = setting("POD_NAME", Kind::Name, Unset, "reported to the control plane");
pub static SESSION_ID: Setting = setting(
    "SESSION_ID",
    Kind::Name,
    Unset,
    "the session this container serves, reported to the control plane",
);
pub static EXECUTOR_CONCURRENCY: Setting = setting(
    "EXECUTOR_CONCURRENCY",
    whole("executions", 1, 1_024),
    Derived("number of CPUs"),
    "how many executions run at once",
);
pub static EXECUTOR_QUEUE: Setting = setting(
    "EXECUTOR_QUEUE",
    whole("executions", 0, 10_000),
    Written("10"),
    "how many may wait; the next is refused with 503 and Retry-After",
);
pub static RETAINED_EXECUTIONS: Setting = setting(
    "RETAINED_EXECUTIONS",
    whole("executions", 1, 1_000_000),
    Written("1000"),
    "how many finished executions can be looked up; the oldest are forgotten first",
);
pub static RETAINED_MB: Setting = setting(
    "RETAINED_MB",
    whole("MiB", 1, 1_048_576),
    Written("32"),
    "how much of their output is kept in memory for that",
);
pub static SHUTDOWN_GRACE_SECONDS: Setting = setting(
    "SHUTDOWN_GRACE_SECONDS",
    whole("seconds", 0, 3_600),
    Written("0"),
    "how long running executions may go on after SIGTERM",
);
pub static MAX_MEMORY_MB: Setting = setting(
    "MAX_MEMORY_MB",
    whole("MiB", 16, 1_048_576),
    Written("512"),
    "memory of one execution, all its processes together",
);
pub static MAX_PROCESSES: Setting = setting(
    "MAX_PROCESSES",
    whole("processes", 1, 65_536),
    Written("128"),
    "processes and threads of one execution",
);
pub static MAX_OPEN_FILES: Setting = setting(
    "MAX_OPEN_FILES",
    whole("files", 16, 1_048_576),
    Written("1024"),
    "open files of each process of an execution",
);
pub static MAX_FILE_MB: Setting = setting(
    "MAX_FILE_MB",
    whole("MiB", 1, 1_048_576),
    Written("100"),
    "size of any one file an execution writes",
);
pub static MAX_TMP_MB: Setting = setting(
    "MAX_TMP_MB",
    whole("MiB", 1, 65_536),
    Written("64"),
    "size of an execution's /tmp and of its /dev/shm",
);
pub static MAX_OUTPUT_BYTES: Setting = setting(
    "MAX_OUTPUT_BYTES",
    whole("bytes", 1_024, 104_857_600),
    Written("10485760"),
    "how much is kept of each of stdout and stderr",
);
pub static EXECUTOR_RUN_AS: Setting = setting(
    "EXECUTOR_RUN_AS",
    Kind::Identity,
    Written("1000:1000"),
    "who the daemon becomes when root starts it",
);

pub static ISOLATION_MINIMUM: Setting = setting(
    "ISOLATION_MINIMUM",
    Kind::Choice(&["full", "shared-proc"]),
    Written("shared-proc"),
    "the executor does not start on a host that gives less; full needs a /proc that is not masked",
);

pub static POOL_PYTHON: Setting = setting(
    "POOL_PYTHON",
    whole("sandboxes", 0, 256),
    Written("4"),
    "how many booted Python sandboxes wait for requests; 0: each is made when it is asked for",
);
pub static POOL_JAVASCRIPT: Setting = setting(
    "POOL_JAVASCRIPT",
    whole("sandboxes", 0, 256),
    Written("2"),
    "how many booted node sandboxes wait for requests",
);
pub static POOL_SHELL: Setting = setting(
    "POOL_SHELL",
    whole("sandboxes", 0, 256),
    Written("2"),
    "how many sandboxes wait for shell scripts",
);
pub static POOL_MEMORY_MB: Setting = setting(
    "POOL_MEMORY_MB",
    whole("MiB", 0, 1_048_576),
    Written("256"),
    "what all that wait may hold together; fewer wait where that is not enough",
);

pub static FORK_SERVER: Setting = setting(
    "FORK_SERVER",
    Kind::Switch,
    Written("true"),
    "Python sandboxes are made of copies of one that has booted, where the host allows it and POOL_PYTHON is not 0",
);
pub static PRELOAD_PYTHON: Setting = setting(
    "PRELOAD_PYTHON",
    Kind::Modules,
    Unset,
    "what the fork server imports, so that no program has to wait for it; it counts as the program's memory",
);

pub static TRACEPARENT_IN_SANDBOX: Setting = setting(
    "TRACEPARENT_IN_SANDBOX",
    Kind::Switch,
    Written("false"),
    "programs find the trace of their run in the environment variable TRACEPARENT",
);

pub static OTEL_EXPORTER_OTLP_ENDPOINT: Setting = setting(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    Kind::Url,
    Unset,
    "collector that gets the spans of runs, at /v1/traces below it; needs a build with the feature otlp",
);

/// Every setting, in the order of the documentation.
pub static ALL: [&Setting; 42] = [
    &CONTROL_PLANE_URL,
    &CONTROL_PLANE_PREFIX,
    &CALLBACK_FORMAT,
    &INTERNAL_API_TOKEN,
    &INTERNAL_API_TOKEN_FILE,
    &EXECUTOR_HOST,
    &EXECUTOR_PORT,
    &EXECUTOR_API_TOKEN,
    &LOG_LEVEL,
    &LOG_FORMAT,
    &DEBUG,
    &WORKSPACE_PATH,
    &SESSIONS_PATH,
    &RESULTS_DIR,
    &RESULTS_MAX_MB,
    &RESULTS_FSYNC,
    &ARTIFACT_RETENTION_SECONDS,
    &MAX_REQUEST_BYTES,
    &CONTAINER_ID,
    &POD_NAME,
    &SESSION_ID,
    &EXECUTOR_CONCURRENCY,
    &EXECUTOR_QUEUE,
    &RETAINED_EXECUTIONS,
    &RETAINED_MB,
    &SHUTDOWN_GRACE_SECONDS,
    &MAX_MEMORY_MB,
    &MAX_PROCESSES,
    &MAX_OPEN_FILES,
    &MAX_FILE_MB,
    &MAX_TMP_MB,
    &MAX_OUTPUT_BYTES,
    &EXECUTOR_RUN_AS,
    &ISOLATION_MINIMUM,
    &POOL_PYTHON,
    &POOL_JAVASCRIPT,
    &POOL_SHELL,
    &POOL_MEMORY_MB,
    &FORK_SERVER,
    &PRELOAD_PYTHON,
    &TRACEPARENT_IN_SANDBOX,
    &OTEL_EXPORTER_OTLP_ENDPOINT,
];
