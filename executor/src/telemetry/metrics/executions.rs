//! What a finished execution adds to the metrics. It is looked at once, when its record is complete; nothing on its road counts
//! anything. Every set of labels that can be is there from the start, at 0, so that no program can add a series.

use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use sandbox::outcome::{Cause, Status};
use sandbox::program::Language;
use sandbox::usage::{CpuSource, MemorySource};

use super::buckets::{self, BYTES, SECONDS};
use super::{Labels, seconds};
use crate::run::record::{Callback, Change, Phases, RunRecord, Sandbox};

/// Every way to end that `sandbox::outcome` knows.
const ENDS: [(Status, Cause); 13] = [
    (Status::Success, Cause::Exit),
    (Status::Failed, Cause::Exit),
    (Status::Failed, Cause::Exception),
    (Status::Failed, Cause::Signal),
    (Status::Timeout, Cause::WallTimeout),
    (Status::Error, Cause::CpuLimit),
    (Status::Error, Cause::MemoryLimit),
    (Status::Error, Cause::ProcessLimit),
    (Status::Error, Cause::FileLimit),
    (Status::Error, Cause::OutputLimit),
    (Status::Error, Cause::DaemonShutdown),
    (Status::Error, Cause::SandboxError),
    (Status::Cancelled, Cause::Cancelled),
];

type Phase = (&'static str, fn(&Phases) -> Duration);

/// In the words of `phases_ms`, and the one that an answer cannot know: it is written down before it is over.
const PHASES: [Phase; 6] = [
    ("queue", |phases| phases.queue),
    ("prepare", |phases| phases.prepare),
    ("start", |phases| phases.start),
    ("run", |phases| phases.run),
    ("collect", |phases| phases.collect),
    ("journal", |phases| phases.journal),
];

const STREAMS: [&str; 2] = ["stdout", "stderr"];
const CHANGES: [Change; 3] = [Change::Created, Change::Modified, Change::Unchanged];

/// Which trace an example belongs to.
type Trace = [(&'static str, String); 1];

#[derive(Debug)]
pub(super) struct Executions {
    ended: Family<Labels<3>, Counter>,
    duration: Family<Labels<1>, HistogramWithExemplars<Trace>, fn() -> HistogramWithExemplars<Trace>>,
    phases: Family<Labels<1>, Histogram, fn() -> Histogram>,
    cpu: Family<Labels<1>, Histogram, fn() -> Histogram>,
    peak_memory: Family<Labels<1>, Histogram, fn() -> Histogram>,
    output_bytes: Family<Labels<1>, Counter>,
    output_truncations: Family<Labels<1>, Counter>,
    artifacts: Family<Labels<1>, Counter>,
    artifact_bytes: Family<Labels<1>, Counter>,
    sandboxes: Family<Labels<2>, Counter>,
    not_durable: Counter,
}

impl Executions {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let executions = Self {
            ended: Family::default(),
            duration: Family::new_with_constructor(|| HistogramWithExemplars::new(buckets::steps(SECONDS))),
            phases: Family::new_with_constructor(|| Histogram::new(buckets::steps(SECONDS))),
            cpu: Family::new_with_constructor(|| Histogram::new(buckets::steps(SECONDS))),
            peak_memory: Family::new_with_constructor(|| Histogram::new(buckets::steps(BYTES))),
            output_bytes: Family::default(),
            output_truncations: Family::default(),
            artifacts: Family::default(),
            artifact_bytes: Family::default(),
            sandboxes: Family::default(),
            not_durable: Counter::default(),
        };
        executions.begin_at_nothing();
        let Self { ended, duration, phases, cpu, peak_memory, .. } = &executions;
        registry.register("executions", "Executions that are over", ended.clone());
        let help = "From the moment an execution was accepted until its result was on its way";
        registry.register("execution_duration_seconds", help, duration.clone());
        let help = "Each phase that an execution reached, in the words of phases_ms; journal: writing its result down";
        registry.register("phase_duration_seconds", help, phases.clone());
        registry.register(
            "execution_cpu_seconds",
            "CPU time of a program, where it was measured",
            cpu.clone(),
        );
        let help = "The most memory that a program held, where it was measured";
        registry.register("execution_peak_memory_bytes", help, peak_memory.clone());
        let help = "What programs wrote, kept or not";
        registry.register("output_bytes", help, executions.output_bytes.clone());
        let help = "Executions that wrote more than is kept";
        registry.register("output_truncations", help, executions.output_truncations.clone());
        let help = "Files that results list";
        registry.register("artifacts", help, executions.artifacts.clone());
        registry.register("artifact_bytes", "Their sizes", executions.artifact_bytes.clone());
        let help = "Sandboxes that were given to executions: warm ones waited in the pool, cold ones were made for it";
        registry.register("sandboxes", help, executions.sandboxes.clone());
        let help = "Results that could not be written to RESULTS_DIR, and live as long as the executor";
        registry.register("results_not_durable", help, executions.not_durable.clone());
        executions
    }

    /// So that a rate can be taken of the first one, too.
    fn begin_at_nothing(&self) {
        for language in Language::ALL {
            for (status, cause) in ENDS {
                drop(self.ended.get_or_create(&ended(language, status, cause)));
            }
            for sandbox in [Sandbox::Warm, Sandbox::Cold] {
                drop(self.sandboxes.get_or_create(&given(language, sandbox)));
            }
            let language = [("language", language.name())];
            drop(self.duration.get_or_create(&language));
            drop(self.cpu.get_or_create(&language));
            drop(self.peak_memory.get_or_create(&language));
        }
        for (phase, _) in PHASES {
            drop(self.phases.get_or_create(&[("phase", phase)]));
        }
        for stream in STREAMS {
            drop(self.output_bytes.get_or_create(&[("stream", stream)]));
            drop(self.output_truncations.get_or_create(&[("stream", stream)]));
        }
        for change in CHANGES {
            drop(self.artifacts.get_or_create(&[("change", word(change))]));
            drop(self.artifact_bytes.get_or_create(&[("change", word(change))]));
        }
    }

    /// `total`: since it was accepted. `trace_id`: of the trace that it belongs to, if that is recorded.
    pub(super) fn add(&self, record: &RunRecord, total: Duration, trace_id: Option<&str>) {
        let language = [("language", record.language.name())];
        let Phases { run, .. } = record.phases;
        self.ended.get_or_create(&ended(record.language, record.outcome.status, record.outcome.cause)).inc();
        let trace = trace_id.map(|id| [("trace_id", id.to_owned())]);
        let now = trace.is_some().then(SystemTime::now);
        self.duration.get_or_create(&language).observe(seconds(total), trace, now);
        for (phase, of) in PHASES {
            // One that was not reached took no time, and is no example of how long it takes.
            let took = of(&record.phases);
            if took > Duration::ZERO {
                self.phases.get_or_create(&[("phase", phase)]).observe(seconds(took));
            }
        }
        // What never ran was not measured, whatever its record says.
        if run > Duration::ZERO && record.usage.cpu_source != CpuSource::NotMeasured {
            self.cpu.get_or_create(&language).observe(seconds(record.usage.cpu_time));
        }
        if run > Duration::ZERO && record.usage.memory_source != MemorySource::NotMeasured {
            self.peak_memory.get_or_create(&language).observe(record.usage.peak_memory.0 as f64);
        }
        for (stream, said) in STREAMS.into_iter().zip([&record.stdout, &record.stderr]) {
            self.output_bytes.get_or_create(&[("stream", stream)]).inc_by(said.bytes_total);
            let truncations = self.output_truncations.get_or_create(&[("stream", stream)]);
            truncations.inc_by(u64::from(said.truncated));
        }
        for change in CHANGES {
            let (count, bytes) = record
                .artifacts
                .iter()
                .filter(|artifact| artifact.change == change)
                .fold((0, 0), |(count, bytes), artifact| (count + 1, bytes + artifact.size.0));
            self.artifacts.get_or_create(&[("change", word(change))]).inc_by(count);
            self.artifact_bytes.get_or_create(&[("change", word(change))]).inc_by(bytes);
        }
        if let Some(sandbox) = record.sandbox {
            self.sandboxes.get_or_create(&given(record.language, sandbox)).inc();
        }
        if record.callback == Callback::NotDurable {
            self.not_durable.inc();
        }
    }
}

fn ended(language: Language, status: Status, cause: Cause) -> Labels<3> {
    [("language", language.name()), ("status", status.name()), ("cause", cause.name())]
}

fn given(language: Language, sandbox: Sandbox) -> Labels<2> {
    let sandbox = match sandbox {
        Sandbox::Warm => "warm",
        Sandbox::Cold => "cold",
    };
    [("language", language.name()), ("sandbox", sandbox)]
}

/// As it is on the wire.
const fn word(change: Change) -> &'static str {
    match change {
        Change::Created => "created",
        Change::Modified => "modified",
        Change::Unchanged => "unchanged",
    }
}
