//! The one line that a finished run leaves in the log: wide, so that a question about it is a search and not a puzzle.
//!
//! Fields have the names that they have in the answer. Sizes and counts only: never code, output, paths or values. The ids are
//! those of the span that the run's task is in.

use crate::outlet::{mib, milliseconds};
use crate::run::record::RunRecord;
use crate::telemetry::events;

/// The same fields whatever the level, and what is said in addition.
macro_rules! wide {
    ($level:ident, $record:expr, $event:expr $(, $name:ident = $value:expr)*) => {{
        let RunRecord { outcome, usage, phases, stdout, stderr, .. } = $record;
        tracing::$level!(
            language = $record.language.name(),
            place = $record.place.kind(),
            sandbox = $record.sandbox.map(|sandbox| sandbox.name()),
            status = outcome.status.name(),
            cause = outcome.cause.name(),
            exit_code = outcome.exit_code,
            limit = outcome.detail.as_ref().and_then(|detail| detail.limit),
            observed = outcome.detail.as_ref().and_then(|detail| detail.observed),
            $($name = $value,)*
            duration_ms = milliseconds($record.execution_time),
            cpu_time_ms = milliseconds(usage.cpu_time),
            peak_memory_mb = mib(usage.peak_memory),
            io_read_bytes = usage.io_read.0,
            io_write_bytes = usage.io_write.0,
            queue_ms = milliseconds(phases.queue),
            prepare_ms = milliseconds(phases.prepare),
            start_ms = milliseconds(phases.start),
            collect_ms = milliseconds(phases.collect),
            journal_ms = milliseconds(phases.journal),
            stdout_bytes = stdout.bytes_total,
            stdout_truncated = stdout.truncated,
            stderr_bytes = stderr.bytes_total,
            stderr_truncated = stderr.truncated,
            artifacts = $record.artifacts.len(),
            artifacts_truncated = $record.artifacts_truncated,
            callback = $record.callback.name(),
            "{}",
            $event
        )
    }};
}

pub(super) fn say(record: &RunRecord) {
    match &record.failure {
        None => wide!(info, record, events::EXECUTION_COMPLETED),
        Some(failure) => {
            let (stage, error) = (failure.stage, failure.error.as_str());
            wide!(error, record, events::EXECUTION_FAILED, stage = stage, error = error);
        }
    }
}
