//! `timeout` and `limits`: what the run is held to. A limit may lower a ceiling of the daemon, never raise it.

use std::time::Duration;

use sandbox::limits::{Bytes, Limits};
use serde_json::value::RawValue;

use super::{
    bounds::{
        CPU_SECONDS_MAXIMUM, CPU_SECONDS_MINIMUM, FILE_MB_MINIMUM, MEMORY_MB_MINIMUM, OPEN_FILES_MINIMUM,
        OUTPUT_BYTES_MINIMUM, PROCESSES_MINIMUM, TIMEOUT_MAXIMUM, TIMEOUT_MINIMUM,
    },
    ceilings::Ceilings,
    json::{Fields, kind},
    number::{Range, number, whole_number},
    problem::{Problem, Problems},
};

pub(super) const FIELDS: [&str; 6] =
    ["memory_mb", "cpu_seconds", "max_processes", "max_open_files", "max_file_mb", "max_output_bytes"];

pub(super) fn limits(
    timeout: Option<&RawValue>,
    asked: Option<&RawValue>,
    ceilings: &Ceilings,
    problems: &mut Problems,
) -> Limits {
    let mut limits = ceilings.limits();
    if let Some(wall) = timeout.and_then(|value| seconds("timeout", value, problems)) {
        limits.wall = wall;
    }
    let Some(asked) = asked else { return limits };
    let Some(fields) = Fields::read(asked, &FIELDS, "limits", problems) else {
        problems.report(|| Problem::new("limits", format!("limits must be an object, not {}", kind(asked))));
        return limits;
    };
    limits.cpu = fields.given("cpu_seconds").and_then(|value| seconds("limits.cpu_seconds", value, problems));

    let mut lower = |name: &str, what: &str, minimum: u64, ceiling: u64, setting: &str| {
        let value = fields.given(name)?;
        let why = format!(" (the ceiling of this daemon, {setting})");
        // A ceiling below the minimum is the smaller of two promises: then the ceiling is the only legal value.
        let minimum = minimum.min(ceiling) as f64;
        let range = Range { what, minimum, maximum: ceiling as f64, why: &why };
        whole_number(&format!("limits.{name}"), value, range, problems)
    };
    let mib = "a whole number of MiB";
    let count = "a whole number";
    let of = |ceiling: Bytes| ceiling.0 / Bytes::mib(1).0;
    if let Some(asked) = lower("memory_mb", mib, MEMORY_MB_MINIMUM, of(ceilings.memory), "MAX_MEMORY_MB") {
        limits.memory = Bytes::mib(asked);
    }
    if let Some(asked) =
        lower("max_processes", count, PROCESSES_MINIMUM, ceilings.processes.into(), "MAX_PROCESSES")
    {
        limits.processes = fits(asked);
    }
    if let Some(asked) =
        lower("max_open_files", count, OPEN_FILES_MINIMUM, ceilings.open_files.into(), "MAX_OPEN_FILES")
    {
        limits.open_files = fits(asked);
    }
    if let Some(asked) = lower("max_file_mb", mib, FILE_MB_MINIMUM, of(ceilings.file_size), "MAX_FILE_MB") {
        limits.file_size = Bytes::mib(asked);
    }
    let bytes = "a whole number of bytes";
    if let Some(asked) =
        lower("max_output_bytes", bytes, OUTPUT_BYTES_MINIMUM, ceilings.output.0, "MAX_OUTPUT_BYTES")
    {
        limits.output = Bytes(asked);
    }
    limits
}

fn seconds(field: &str, value: &RawValue, problems: &mut Problems) -> Option<Duration> {
    let (minimum, maximum) = match field {
        "timeout" => (TIMEOUT_MINIMUM, TIMEOUT_MAXIMUM),
        _ => (CPU_SECONDS_MINIMUM, CPU_SECONDS_MAXIMUM),
    };
    let range = Range { what: "a number of seconds", minimum, maximum, why: "" };
    number(field, value, range, problems).map(Duration::from_secs_f64)
}

fn fits(asked: u64) -> u32 {
    u32::try_from(asked).expect("it is at most a ceiling, which is a u32")
}
