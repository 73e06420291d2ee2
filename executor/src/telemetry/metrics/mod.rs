//! Metrics: every name, type and label that `GET /metrics` has, and how they are written. `docs/metrics.md` lists them.
//!
//! What only the present moment knows (how many run, what waits) is looked up when somebody asks, never kept up to date
//! between. What happens is counted where it is over: an execution by its record, a refusal by its answer, a call by its
//! verdict. Labels hold words of ours, from enums; nothing that a caller or a program chose may become one, so the number of
//! series is bounded. A unit stands at the end of its name.
//!
//! | file | what it has |
//! |---|---|
//! | `executions.rs` | what a finished execution adds |
//! | `calls.rs` | calls to the control plane |
//! | `process.rs` | the daemon's own process |
//! | `buckets.rs` | the steps of histograms |
//! | `prometheus_text.rs` | the older of the two formats |

mod buckets;
mod calls;
mod executions;
mod process;
mod prometheus_text;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use protocol::IsolationState;
use sandbox::program::Language;
use serde::Serialize;

use crate::outbox::Counts;
use crate::run::record::RunRecord;
use buckets::SECONDS;
pub use calls::{CallResult, Calls, Kind};
use executions::Executions;
use process::OwnProcess;

const PREFIX: &str = "sandbox_executor";

/// What [`Metrics::text`] is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text, which every scraper reads (prometheus.io, exposition formats).
    Plain,
    /// OpenMetrics text, which has examples with trace ids as well.
    Open,
}

impl Format {
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
            Self::Open => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A metric that is 1, and whose labels are what it says.
type Info = Family<Vec<(&'static str, String)>, Gauge>;

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// One for the daemon. It is cheap to ask, and asking changes nothing that others see.
pub struct Metrics {
    registry: Registry,
    now: Now,
    executions: Executions,
    refusals: Family<Labels<1>, Counter>,
    pool_refills: Family<Labels<1>, Histogram, fn() -> Histogram>,
    pool_failures: Family<Labels<1>, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// What does not change as long as the daemon lives.
#[derive(Debug)]
pub struct Setting {
    pub isolation: IsolationState,
    /// How many may run at once.
    pub concurrency: usize,
    /// How many may wait to run.
    pub queue: usize,
    /// How many sandboxes shall wait; none of a language that is not installed.
    pub pool: Vec<(Language, usize)>,
    /// The codes of all refusals there are.
    pub error_codes: Vec<&'static str>,
}

/// What is looked up when somebody asks.
#[derive(Debug)]
pub struct Moment {
    pub uptime: Duration,
    pub active_executions: usize,
    pub queued_executions: usize,
    pub waiting_sandboxes: Vec<(Language, usize)>,
    /// `None`: there is no control plane.
    pub outbox: Option<Counts>,
}

impl Metrics {
    pub fn new(setting: &Setting, calls: &Calls) -> Self {
        let mut root = Registry::default();
        let registry = root.sub_registry_with_prefix(PREFIX);
        register_setting(registry, setting);
        let now = Now::register(registry);
        let executions = Executions::register(registry);

        let refusals = Family::<Labels<1>, Counter>::default();
        for code in &setting.error_codes {
            drop(refusals.get_or_create(&[("error_code", *code)]));
        }
        let help = "Requests that got an error instead of what they asked for";
        registry.register("refusals", help, refusals.clone());

        let pool_refills: Family<Labels<1>, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(buckets::steps(SECONDS)));
        let pool_failures = Family::<Labels<1>, Counter>::default();
        for language in Language::ALL {
            drop(pool_refills.get_or_create(&of(language)));
            drop(pool_failures.get_or_create(&of(language)));
        }
        let help = "How long it took to prepare a sandbox ahead";
        registry.register("pool_refill_seconds", help, pool_refills.clone());
        let help = "Sandboxes that could not be prepared ahead, or died while they waited";
        registry.register("pool_failures", help, pool_failures.clone());

        calls.register(registry);
        root.register_collector(Box::new(OwnProcess));
        Self { registry: root, now, executions, refusals, pool_refills, pool_failures }
    }

    /// An execution is over. `total`: since it was accepted; `trace_id`: of the trace it belongs to, if that is recorded.
    pub fn count_execution(&self, record: &RunRecord, total: Duration, trace_id: Option<&str>) {
        self.executions.add(record, total, trace_id);
    }

    /// A request got an error. `error_code` is one of [`Setting::error_codes`].
    pub fn count_refusal(&self, error_code: &'static str) {
        self.refusals.get_or_create(&[("error_code", error_code)]).inc();
    }

    /// A sandbox waits that did not before.
    pub fn count_refill(&self, language: Language, took: Duration) {
        self.pool_refills.get_or_create(&of(language)).observe(seconds(took));
    }

    /// The pool lacks a sandbox that it should have.
    pub fn count_pool_failure(&self, language: Language) {
        self.pool_failures.get_or_create(&of(language)).inc();
    }

    /// All metrics.
    pub fn text(&self, moment: &Moment, format: Format) -> String {
        self.now.set(moment);
        let mut written = String::new();
        let never = "a String takes every write";
        match format {
            Format::Plain => {
                text::encode_registry(&mut written, &self.registry).expect(never);
                prometheus_text::from_open_metrics(&written)
            }
            Format::Open => {
                text::encode(&mut written, &self.registry).expect(never);
                written
            }
        }
    }
}

fn register_setting(registry: &mut Registry, setting: &Setting) {
    let build = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    registry.register("build_info", "Which executor this is; always 1", info(build));
    let isolation = vec![
        ("tier", word(&setting.isolation.tier)),
        ("seccomp", word(&setting.isolation.seccomp)),
        ("proc", word(&setting.isolation.proc)),
        ("cgroup", word(&setting.isolation.cgroup)),
        ("memory", word(&setting.isolation.memory)),
    ];
    let help = "What is applied to every run, in the words of /health; always 1";
    registry.register("isolation_info", help, info(isolation));

    let start_time = Gauge::<f64, AtomicU64>::default();
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    start_time.set(since_1970.as_secs_f64());
    registry.register("start_time_seconds", "When it started, in seconds since 1970", start_time);

    registry.register("concurrency", "Executions that may run at once", fixed(setting.concurrency));
    registry.register("queue_size", "Executions that may wait", fixed(setting.queue));
    let pool_size = Family::<Labels<1>, Gauge>::default();
    for (language, size) in &setting.pool {
        pool_size.get_or_create(&of(*language)).set(signed(*size));
    }
    let help = "Sandboxes that shall wait in the pool; 0 of a language that is not installed";
    registry.register("pool_size", help, pool_size);
}

/// What is set just before it is written.
struct Now {
    uptime_seconds: Gauge<f64, AtomicU64>,
    active_executions: Gauge,
    queued_executions: Gauge,
    waiting_sandboxes: Family<Labels<1>, Gauge>,
    outbox_pending: Gauge,
    outbox_oldest_seconds: Gauge<f64, AtomicU64>,
    outbox_set_aside: Gauge,
    /// [`Counts::let_go`] counts by itself.
    outbox_let_go: Counter,
}

impl Now {
    fn register(registry: &mut Registry) -> Self {
        let now = Self {
            uptime_seconds: Gauge::default(),
            active_executions: Gauge::default(),
            queued_executions: Gauge::default(),
            waiting_sandboxes: Family::default(),
            outbox_pending: Gauge::default(),
            outbox_oldest_seconds: Gauge::default(),
            outbox_set_aside: Gauge::default(),
            outbox_let_go: Counter::default(),
        };
        registry.register("uptime_seconds", "Since it started", now.uptime_seconds.clone());
        let help = "Executions that run now";
        registry.register("active_executions", help, now.active_executions.clone());
        let help = "Executions that wait for a slot or for their workspace";
        registry.register("queued_executions", help, now.queued_executions.clone());
        let help = "Sandboxes that wait in the pool";
        registry.register("waiting_sandboxes", help, now.waiting_sandboxes.clone());
        let help = "Results that are being delivered to the control plane";
        registry.register("outbox_pending", help, now.outbox_pending.clone());
        let help = "How long the oldest of them has waited; 0 when none does";
        registry.register("outbox_oldest_seconds", help, now.outbox_oldest_seconds.clone());
        let help = "Results that the control plane refused, or whose files are damaged: a person must look";
        registry.register("outbox_set_aside", help, now.outbox_set_aside.clone());
        let help = "Results that were never delivered and are gone: too old, or no room";
        registry.register("outbox_let_go", help, now.outbox_let_go.clone());
        now
    }

    fn set(&self, moment: &Moment) {
        self.uptime_seconds.set(moment.uptime.as_secs_f64());
        self.active_executions.set(signed(moment.active_executions));
        self.queued_executions.set(signed(moment.queued_executions));
        for (language, count) in &moment.waiting_sandboxes {
            self.waiting_sandboxes.get_or_create(&of(*language)).set(signed(*count));
        }
        let outbox = moment.outbox.unwrap_or_default();
        self.outbox_pending.set(signed(outbox.pending));
        self.outbox_oldest_seconds.set(outbox.oldest.unwrap_or_default().as_secs_f64());
        self.outbox_set_aside.set(signed(outbox.set_aside));
        // Two who ask at once must not count it back.
        self.outbox_let_go.inner().fetch_max(outbox.let_go, Ordering::Relaxed);
    }
}

fn of(language: Language) -> Labels<1> {
    [("language", language.name())]
}

fn info(labels: Vec<(&'static str, String)>) -> Info {
    let info = Info::default();
    info.get_or_create(&labels).set(1);
    info
}

fn fixed(count: usize) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(signed(count));
    gauge
}

/// As it is on the wire.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => unreachable!("the enums of /health are words, not {other:?}"),
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[cfg(test)]
mod tests;
