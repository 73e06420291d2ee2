//! What one run may use, with the units in the types.
//!
//! A [`Limits`] is always complete: whoever builds one (intake, the command line) has already applied defaults and
//! ceilings. Nothing here decides whether the host can enforce a limit; that is `probe.rs`.

use std::time::Duration;

/// A number of bytes. `MB` on the wire and in the configuration means MiB, 1,048,576 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    pub const fn mib(count: u64) -> Self {
        Self(count.saturating_mul(1024 * 1024))
    }

    /// Whole MiB, rounded up: what was observed is never reported smaller than it was.
    pub const fn as_mib(self) -> u64 {
        self.0.div_ceil(1024 * 1024)
    }
}

/// Everything a run is held to. Each field names the request field or setting it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `timeout`: wall clock from the moment the program is handed over.
    pub wall: Duration,
    /// `cpu_seconds`: CPU time of all processes together. `None`: only the wall clock bounds it.
    pub cpu: Option<Duration>,
    /// `memory_mb`: what all processes of the run hold together.
    pub memory: Bytes,
    /// `max_processes`: processes and threads of the run, its own budget, not the user's.
    pub processes: u32,
    /// `max_open_files`: per process.
    pub open_files: u32,
    /// `max_file_mb`: the size of any one file.
    pub file_size: Bytes,
    /// `MAX_TMP_MB`: the size of `/tmp`, and of `/dev/shm`.
    pub tmp: Bytes,
    /// `max_output_bytes`: what is kept of each of stdout and stderr.
    pub output: Bytes,
}
