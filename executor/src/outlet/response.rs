//! A finished run → the answer to `POST /execute`.

use std::{fmt::Write, time::Duration};

use protocol::{Artifact, CauseDetail, ExecuteResponse, Metrics, PhasesMs};
use sandbox::{limits::Bytes, outcome, usage::Usage};
use serde_json::value::RawValue;

use super::{names, state::run_isolation};
use crate::{
    artifacts::ArtifactRecord,
    run::record::{Phases, RunRecord},
};

pub fn response(record: &RunRecord) -> ExecuteResponse {
    ExecuteResponse {
        execution_id: record.execution_id.clone(),
        status: names::status(record.outcome.status),
        stdout: record.stdout.text.clone(),
        stdout_truncated: record.stdout.truncated,
        stdout_bytes_total: record.stdout.bytes_total,
        stderr: record.stderr.text.clone(),
        stderr_truncated: record.stderr.truncated,
        stderr_bytes_total: record.stderr.bytes_total,
        exit_code: record.outcome.exit_code,
        execution_time: record.execution_time.as_secs_f64(),
        return_value: record.return_value.clone().unwrap_or_else(|| RawValue::NULL.to_owned()),
        cause: names::cause(record.outcome.cause),
        cause_detail: record.outcome.detail.as_ref().map(cause_detail),
        metrics: Metrics {
            sandbox: record.sandbox.map(names::sandbox),
            ..metrics(record.execution_time, &record.usage, &record.phases)
        },
        artifacts: record.artifacts.iter().map(artifact).collect(),
        artifacts_truncated: record.artifacts_truncated,
        isolation: Some(run_isolation(&record.capabilities)),
        callback: names::callback(record.callback),
    }
}

fn cause_detail(detail: &outcome::CauseDetail) -> CauseDetail {
    CauseDetail { limit: detail.limit, observed: detail.observed, message: detail.message.clone() }
}

pub(super) fn metrics(execution_time: Duration, usage: &Usage, phases: &Phases) -> Metrics {
    Metrics {
        duration_ms: milliseconds(execution_time),
        cpu_time_ms: milliseconds(usage.cpu_time),
        peak_memory_mb: mib(usage.peak_memory),
        io_read_bytes: usage.io_read.0,
        io_write_bytes: usage.io_write.0,
        memory_source: names::memory_source(usage.memory_source),
        cpu_source: names::cpu_source(usage.cpu_source),
        sandbox: None,
        phases_ms: PhasesMs {
            queue: milliseconds(phases.queue),
            prepare: milliseconds(phases.prepare),
            start: milliseconds(phases.start),
            run: milliseconds(phases.run),
            collect: milliseconds(phases.collect),
        },
    }
}

fn artifact(record: &ArtifactRecord) -> Artifact {
    Artifact {
        path: record.path.clone(),
        size: record.size.0,
        mime_type: record.mime_type.clone(),
        kind: names::artifact_type(record.kind),
        change: names::change(record.change),
        sha256: record.sha256.as_ref().map(|digest| hexadecimal(digest)),
        created_at: record.created_at.to_string(),
    }
}

/// To the microsecond: finer digits are noise.
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Rounded up to hundredths: what was observed is never reported smaller than it was.
pub fn mib(bytes: Bytes) -> f64 {
    (bytes.0 as f64 / (1024.0 * 1024.0) * 100.0).ceil() / 100.0
}

pub fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        job::Place,
        run::record::{ArtifactKind, Callback, Change, Sandbox},
    };
    use jiff::Timestamp;
    use sandbox::{
        capture::Captured,
        host::{Capabilities, CgroupVersion, MemoryKeeper, ProcView, UserNamespaces},
        outcome::{Cause, Outcome, Status},
        program::Language,
        usage::{CpuSource, MemorySource},
    };

    fn record(return_value: Option<&str>) -> RunRecord {
        RunRecord {
            execution_id: "exec_1".to_owned(),
            place: Place::Container,
            workspace: None,
            language: Language::Python,
            outcome: Outcome { status: Status::Success, exit_code: 0, cause: Cause::Exit, detail: None },
            stdout: Captured { text: "hi\n".to_owned(), truncated: false, bytes_total: 3 },
            stderr: Captured::default(),
            return_value: return_value.map(|text| RawValue::from_string(text.to_owned()).unwrap()),
            execution_time: Duration::from_nanos(1_234_567),
            usage: Usage {
                cpu_time: Duration::from_millis(2),
                peak_memory: Bytes(1024 * 1024 + 1),
                io_read: Bytes(1),
                io_write: Bytes(2),
                memory_source: MemorySource::Poller,
                cpu_source: CpuSource::Rusage,
            },
            sandbox: Some(Sandbox::Cold),
            failure: None,
            phases: Phases { run: Duration::from_nanos(1_234_567), ..Phases::default() },
            artifacts: vec![ArtifactRecord {
                path: "out/a.csv".to_owned(),
                size: Bytes(5),
                mime_type: "text/csv".to_owned(),
                kind: ArtifactKind::Output,
                change: Change::Created,
                sha256: Some([0xab; 32]),
                created_at: Timestamp::from_second(0).unwrap(),
                exact_path: None,
                identity: crate::artifacts::Identity::default(),
            }],
            artifacts_truncated: false,
            capabilities: Capabilities {
                proc: ProcView::Shared,
                user_namespaces: UserNamespaces::LeftToSeccomp,
                memory: MemoryKeeper::Cgroup(CgroupVersion::V2),
                binds_descriptors: true,
            },
            callback: Callback::Off,
            started_at: Timestamp::from_second(0).unwrap(),
            finished_at: Timestamp::from_second(1).unwrap(),
        }
    }

    #[test]
    fn falsy_return_values_survive_and_none_is_null() {
        for value in ["0", "false", "\"\"", "[]", "{}", "null", "12345678901234567890123"] {
            assert_eq!(response(&record(Some(value))).return_value.get(), value);
        }
        assert_eq!(response(&record(None)).return_value.get(), "null");
    }

    #[test]
    fn times_have_fractions_and_memory_is_never_rounded_down() {
        let metrics = response(&record(None)).metrics;
        assert_eq!(metrics.duration_ms, 1.235);
        assert_eq!(metrics.phases_ms.run, metrics.duration_ms);
        assert_eq!(metrics.peak_memory_mb, 1.01);
    }

    #[test]
    fn a_result_says_what_held_its_run() {
        let isolation = serde_json::to_value(response(&record(None)).isolation).unwrap();
        let expected = r#"{"tier":"shared-proc","seccomp":"on","cgroup":"v2","memory":"cgroup"}"#;
        assert_eq!(isolation, serde_json::from_str::<serde_json::Value>(expected).unwrap());
    }

    #[test]
    fn an_artifact_is_written_with_its_digest_in_hexadecimal_and_its_time_in_utc() {
        let artifact = &response(&record(None)).artifacts[0];
        assert_eq!(artifact.sha256, Some("ab".repeat(32)));
        assert_eq!(artifact.created_at, "1970-01-01T00:00:00Z");
    }
}
