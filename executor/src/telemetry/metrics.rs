//! Metrics: every name, type and label that `GET /metrics` has, and how they are written. `docs/metrics.md` lists them.
//!
//! What only the present moment knows (how many run, what waits) is looked up when somebody asks, never kept up to date
//! between. Labels hold words of ours, from enums; nothing that a caller or a program chose may become one, so the number of
//! series is bounded. A unit stands at the end of its name.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use protocol::IsolationState;
use sandbox::program::Language;
use serde::Serialize;

use crate::outbox::Counts;
use crate::run::record::Sandbox;
use crate::telemetry::prometheus_text;

/// What [`Metrics::text`] is written in (prometheus.io, exposition formats).
pub const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

const PREFIX: &str = "sandbox_executor";

/// A metric that is 1, and whose labels are what it says.
type Info = Family<Vec<(&'static str, String)>, Gauge>;

/// One for the daemon. It is cheap to ask, and asking changes nothing that others see.
pub struct Metrics {
    registry: Registry,
    uptime_seconds: Gauge<f64, AtomicU64>,
    active_executions: Gauge,
    queued_executions: Gauge,
    sandboxes: Family<Vec<(&'static str, &'static str)>, Counter>,
    waiting_sandboxes: Family<Vec<(&'static str, &'static str)>, Gauge>,
    outbox_pending: Gauge,
    outbox_set_aside: Gauge,
    /// [`Counts::let_go`] counts by itself.
    outbox_let_go: Counter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
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
    pub fn new(isolation: &IsolationState) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let metrics = Self {
            uptime_seconds: Gauge::default(),
            active_executions: Gauge::default(),
            queued_executions: Gauge::default(),
            sandboxes: Family::default(),
            waiting_sandboxes: Family::default(),
            outbox_pending: Gauge::default(),
            outbox_set_aside: Gauge::default(),
            outbox_let_go: Counter::default(),
            registry: Registry::default(),
        };

        let build = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        registry.register("build_info", "Which executor this is; always 1", info(build));
        let isolation = vec![
            ("tier", word(&isolation.tier)),
            ("seccomp", word(&isolation.seccomp)),
            ("proc", word(&isolation.proc)),
            ("cgroup", word(&isolation.cgroup)),
            ("memory", word(&isolation.memory)),
        ];
        let help = "What is applied to every run, in the words of /health; always 1";
        registry.register("isolation_info", help, info(isolation));

        let start_time = Gauge::<f64, AtomicU64>::default();
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        start_time.set(since_1970.as_secs_f64());
        registry.register("start_time_seconds", "When it started, in seconds since 1970", start_time);
        registry.register("uptime_seconds", "Since it started", metrics.uptime_seconds.clone());

        let help = "Executions that run now";
        registry.register("active_executions", help, metrics.active_executions.clone());
        let help = "Executions that wait for a slot or for their workspace";
        registry.register("queued_executions", help, metrics.queued_executions.clone());

        let help = "Sandboxes that were given to executions: warm ones waited in the pool, cold ones were made for it";
        registry.register("sandboxes", help, metrics.sandboxes.clone());
        for language in Language::ALL {
            for sandbox in [Sandbox::Warm, Sandbox::Cold] {
                // There from the start, at 0.
                drop(metrics.sandboxes.get_or_create(&labels(language, sandbox)));
            }
        }
        let help = "Sandboxes that wait in the pool";
        registry.register("waiting_sandboxes", help, metrics.waiting_sandboxes.clone());

        let help = "Results that are being delivered to the control plane";
        registry.register("outbox_pending", help, metrics.outbox_pending.clone());
        let help = "Results that the control plane refused, or whose files are damaged: a person must look";
        registry.register("outbox_set_aside", help, metrics.outbox_set_aside.clone());
        let help = "Results that were never delivered and are gone: too old, or no room";
        registry.register("outbox_let_go", help, metrics.outbox_let_go.clone());

        Self { registry, ..metrics }
    }

    /// An execution got a sandbox.
    pub fn count_sandbox(&self, language: Language, sandbox: Sandbox) {
        self.sandboxes.get_or_create(&labels(language, sandbox)).inc();
    }

    /// All metrics, in [`FORMAT`].
    pub fn text(&self, moment: &Moment) -> String {
        self.uptime_seconds.set(moment.uptime.as_secs_f64());
        self.active_executions.set(signed(moment.active_executions));
        self.queued_executions.set(signed(moment.queued_executions));
        for (language, count) in &moment.waiting_sandboxes {
            self.waiting_sandboxes.get_or_create(&vec![("language", language.name())]).set(signed(*count));
        }
        let outbox = moment.outbox.unwrap_or(Counts { pending: 0, set_aside: 0, let_go: 0 });
        self.outbox_pending.set(signed(outbox.pending));
        self.outbox_set_aside.set(signed(outbox.set_aside));
        // Two who ask at once must not count it back.
        self.outbox_let_go.inner().fetch_max(outbox.let_go, Ordering::Relaxed);
        let mut text = String::new();
        encode_registry(&mut text, &self.registry).expect("a String takes every write");
        prometheus_text::from_open_metrics(&text)
    }
}

fn labels(language: Language, sandbox: Sandbox) -> Vec<(&'static str, &'static str)> {
    let sandbox = match sandbox {
        Sandbox::Warm => "warm",
        Sandbox::Cold => "cold",
    };
    vec![("language", language.name()), ("sandbox", sandbox)]
}

fn info(labels: Vec<(&'static str, String)>) -> Info {
    let info = Info::default();
    info.get_or_create(&labels).set(1);
    info
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

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
