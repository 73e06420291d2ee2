//! The numbers of the contract that no configuration changes. `openapi/executor-api.yaml` states the same ones, and a
//! test compares them.

/// `code`, in bytes of UTF-8.
pub const CODE_BYTES: usize = 1024 * 1024;

/// `timeout`, in seconds.
pub const TIMEOUT_MINIMUM: f64 = 1.0;
pub const TIMEOUT_MAXIMUM: f64 = 3600.0;
pub const TIMEOUT_DEFAULT: f64 = 30.0;

/// `cpu_seconds`: the most is the longest timeout on 64 CPUs.
pub const CPU_SECONDS_MINIMUM: f64 = 0.1;
pub const CPU_SECONDS_MAXIMUM: f64 = TIMEOUT_MAXIMUM * 64.0;

/// Below these no language runtime boots, so asking for less can only be a mistake.
pub const MEMORY_MB_MINIMUM: u64 = 16;
pub const PROCESSES_MINIMUM: u64 = 1;
pub const OPEN_FILES_MINIMUM: u64 = 16;
pub const FILE_MB_MINIMUM: u64 = 1;
/// Enough for the sentence that says why a run was ended.
pub const OUTPUT_BYTES_MINIMUM: u64 = 1024;

pub const ENV_VARS: usize = 64;
/// Names and values together.
pub const ENV_BYTES: usize = 32 * 1024;

pub const FILES: usize = 1000;
/// `PATH_MAX` and `NAME_MAX` of Linux.
pub const PATH_BYTES: usize = 4096;
pub const PATH_PART_BYTES: usize = 255;

/// Python's JSON parser gives up at about its recursion limit, 1,000.
pub const EVENT_DEPTH: usize = 1000;
