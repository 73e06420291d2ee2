//! A finished run → its spans, and the queue in which they wait for the collector.
//!
//! ```text
//! execution ────────────────────────────────────────────────────
//!   └ queue ─► prepare ─► start ─► run ─► collect ─► journal
//! ```
//! Names and attributes are those of the log line: words, numbers and ids, never code, output or paths. The queue is bounded, and
//! what does not fit is dropped.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status as SpanStatus, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor,
};
use sandbox::outcome::Status;

use super::client::Client;
use crate::config::Config;
use crate::outlet::{mib, milliseconds};
use crate::run::execution::Origin;
use crate::run::record::{Phases, RunRecord};
use crate::telemetry::trace::Trace;

/// Of spans, seven for each run.
const QUEUE: usize = 4_096;
const BATCH: usize = 512;

/// How long one waits for others to go with.
const DELAY: Duration = Duration::from_secs(1);

/// One call, from connecting to the end of the answer.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Collector {
    queue: BatchSpanProcessor,
    scope: InstrumentationScope,
}

impl Collector {
    /// `url`: without `/v1/traces`, as the convention has it. Nothing of the environment is looked at for what is set here.
    pub(super) fn open(url: &str, config: &Config) -> Result<Self, String> {
        let client = Client::open(url).map_err(|error| error.to_string())?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{url}/v1/traces"))
            .with_timeout(CALL_DEADLINE)
            .build()
            .map_err(|error| error.to_string())?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let mut queue = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let mut of_daemon = vec![
            KeyValue::new("service.name", "sandbox-executor"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", config.container_id.clone()),
        ];
        of_daemon.extend(config.pod_name.clone().map(|name| KeyValue::new("k8s.pod.name", name)));
        queue.set_resource(&Resource::builder_empty().with_attributes(of_daemon).build());
        let scope =
            InstrumentationScope::builder("sandbox-executor").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Self { queue, scope })
    }

    pub(super) fn tell(&self, origin: &Origin, record: &RunRecord) {
        for span in spans(origin, record, &self.scope) {
            self.queue.on_end(span);
        }
    }

    pub(super) fn end(&self, patience: Duration) {
        // What could not be sent is lost: `client` has said so in the log.
        self.queue.shutdown_with_timeout(patience).ok();
    }
}

/// The run's own, then its phases, one after another as they were. A phase that was not reached has none.
fn spans(origin: &Origin, record: &RunRecord, scope: &InstrumentationScope) -> Vec<SpanData> {
    let began = SystemTime::from(record.started_at);
    let Phases { queue, prepare, start, run, collect, journal } = record.phases;
    let phases = [
        ("queue", queue),
        ("prepare", prepare),
        ("start", start),
        ("run", run),
        ("collect", collect),
        ("journal", journal),
    ];
    let ended = began + phases.iter().map(|(_, took)| *took).sum::<Duration>();
    let (_, parent, own, _) = origin.trace.numbers();
    let blank = |id: u64, name: &'static str, start_time, end_time| SpanData {
        span_context: context(&origin.trace, id),
        parent_span_id: SpanId::from(own),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: name.into(),
        start_time,
        end_time,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: SpanStatus::Unset,
        instrumentation_scope: scope.clone(),
    };
    let mut spans = vec![SpanData {
        parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: parent.is_some(),
        span_kind: SpanKind::Server,
        attributes: attributes(origin, record),
        status: status(record),
        ..blank(own, "execution", began, ended)
    }];
    let mut at = began;
    for ((name, took), number) in phases.into_iter().zip(1..) {
        if !took.is_zero() {
            // Never that of another span of this trace, as far as chance allows; never zero.
            spans.push(blank((own ^ number).max(1), name, at, at + took));
        }
        at += took;
    }
    spans
}

fn context(trace: &Trace, span: u64) -> SpanContext {
    let (id, _, _, flags) = trace.numbers();
    let state = trace.state().and_then(|state| state.parse::<TraceState>().ok()).unwrap_or_default();
    SpanContext::new(TraceId::from(id), SpanId::from(span), TraceFlags::new(flags), false, state)
}

/// A program that fails has done what it was asked to do.
fn status(record: &RunRecord) -> SpanStatus {
    match record.outcome.status {
        Status::Error | Status::Timeout => SpanStatus::error(record.outcome.cause.name()),
        Status::Success | Status::Failed | Status::Cancelled => SpanStatus::Unset,
    }
}

fn attributes(origin: &Origin, record: &RunRecord) -> Vec<KeyValue> {
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut attributes = vec![
        KeyValue::new("execution_id", record.execution_id.clone()),
        KeyValue::new("request_id", origin.request_id.clone()),
        KeyValue::new("language", record.language.name()),
        KeyValue::new("place", record.place.kind()),
        KeyValue::new("status", record.outcome.status.name()),
        KeyValue::new("cause", record.outcome.cause.name()),
        KeyValue::new("exit_code", i64::from(record.outcome.exit_code)),
        KeyValue::new("cpu_time_ms", milliseconds(record.usage.cpu_time)),
        KeyValue::new("peak_memory_mb", mib(record.usage.peak_memory)),
        KeyValue::new("stdout_bytes", whole(record.stdout.bytes_total)),
        KeyValue::new("stderr_bytes", whole(record.stderr.bytes_total)),
    ];
    attributes.extend(record.sandbox.map(|sandbox| KeyValue::new("sandbox", sandbox.name())));
    attributes
}
