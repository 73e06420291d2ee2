//! Results as the control plane reads them. What the daemon took down with it has crashed, in its eyes.

use std::time::Duration;

use jiff::Timestamp;
use protocol::{CompactResult, CompactStatus, ExecuteResponse, Heartbeat, Progress, Status};
use sandbox::capture::Captured;
use sandbox::host::Capabilities;
use sandbox::outcome::Cause;
use sandbox::usage::{CpuSource, MemorySource, Usage};
use serde_json::value::RawValue;

use super::names;
use super::response::{metrics, response};
use super::state::run_isolation;
use crate::run::progress::{Numbers, Snapshot};
use crate::run::record::{Callback, Phases, RunRecord};

/// The answer, but for runs that the daemon's own end has ended.
pub fn result(record: &RunRecord) -> ExecuteResponse {
    let response = response(record);
    match record.outcome.cause {
        Cause::DaemonShutdown => ExecuteResponse { status: Status::Crashed, ..response },
        Cause::Exit
        | Cause::Exception
        | Cause::Signal
        | Cause::WallTimeout
        | Cause::CpuLimit
        | Cause::MemoryLimit
        | Cause::ProcessLimit
        | Cause::FileLimit
        | Cause::OutputLimit
        | Cause::Cancelled
        | Cause::SandboxError => response,
    }
}

/// A run that died with the daemon, as far as it was seen.
///
/// `capabilities`: of the daemon that it died with, where that is known.
pub fn crashed(execution_id: &str, seen: &Snapshot, capabilities: Option<&Capabilities>) -> ExecuteResponse {
    let message = "the executor died while the program ran, and the program with it";
    let usage = Usage {
        cpu_time: seen.cpu,
        cpu_source: if seen.cpu.is_zero() { CpuSource::NotMeasured } else { CpuSource::Poller },
        peak_memory: seen.memory,
        memory_source: if seen.memory.0 == 0 { MemorySource::NotMeasured } else { MemorySource::Poller },
        ..Usage::default()
    };
    let [stdout, stderr] = seen.streams.clone();
    let stderr = said_last(stderr, message);
    ExecuteResponse {
        execution_id: execution_id.to_owned(),
        status: Status::Crashed,
        stdout: stdout.text,
        stdout_truncated: stdout.truncated,
        stdout_bytes_total: stdout.bytes_total,
        stderr: stderr.text,
        stderr_truncated: stderr.truncated,
        stderr_bytes_total: stderr.bytes_total,
        exit_code: -1,
        execution_time: seen.running.as_secs_f64(),
        return_value: RawValue::NULL.to_owned(),
        cause: protocol::Cause::DaemonShutdown,
        cause_detail: Some(protocol::CauseDetail {
            limit: None,
            observed: None,
            message: message.to_owned(),
        }),
        metrics: metrics(seen.running, &usage, &Phases { run: seen.running, ..Phases::default() }),
        artifacts: Vec::new(),
        // What it left is not known.
        artifacts_truncated: true,
        isolation: capabilities.map(run_isolation),
        callback: names::callback(Callback::Journalled),
    }
}

fn said_last(mut stderr: Captured, message: &str) -> Captured {
    if !stderr.text.is_empty() && !stderr.text.ends_with('\n') {
        stderr.text.push('\n');
    }
    stderr.text.push_str(&format!("sandbox-executor: {message}\n"));
    stderr
}

/// For control planes of the first generation.
pub fn compact(result: ExecuteResponse) -> CompactResult {
    CompactResult {
        execution_id: result.execution_id,
        status: match result.status {
            Status::Success => CompactStatus::Success,
            Status::Failed | Status::Error | Status::Cancelled => CompactStatus::Failed,
            Status::Timeout => CompactStatus::Timeout,
            Status::Crashed => CompactStatus::Crashed,
        },
        stdout: result.stdout,
        stdout_truncated: result.stdout_truncated,
        stdout_bytes_total: result.stdout_bytes_total,
        stderr: result.stderr,
        stderr_truncated: result.stderr_truncated,
        stderr_bytes_total: result.stderr_bytes_total,
        exit_code: result.exit_code,
        execution_time: result.execution_time,
        return_value: result.return_value,
        cause: result.cause,
        cause_detail: result.cause_detail,
        metrics: result.metrics,
        artifacts: result.artifacts.into_iter().map(|artifact| artifact.path).collect(),
        artifacts_truncated: result.artifacts_truncated,
        isolation: result.isolation,
    }
}

pub fn heartbeat(now: Timestamp, numbers: &Numbers) -> Heartbeat {
    Heartbeat { timestamp: now.to_string(), progress: progress(numbers) }
}

pub(super) fn progress(numbers: &Numbers) -> Progress {
    let whole_milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Progress {
        phase: names::phase(numbers.phase),
        elapsed_ms: whole_milliseconds(numbers.elapsed),
        cpu_time_ms: whole_milliseconds(numbers.cpu),
        memory_bytes: numbers.memory.0,
        stdout_bytes: numbers.stdout_bytes,
        stderr_bytes: numbers.stderr_bytes,
    }
}
