//! The most that any run may use, as configured. A request may ask for less, never for more.

use std::time::Duration;

use sandbox::limits::{Bytes, Limits};

use super::bounds::TIMEOUT_DEFAULT;

/// Each field names the setting it comes from. The values are also what a run gets that asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceilings {
    /// `MAX_MEMORY_MB`
    pub memory: Bytes,
    /// `MAX_PROCESSES`
    pub processes: u32,
    /// `MAX_OPEN_FILES`
    pub open_files: u32,
    /// `MAX_FILE_MB`
    pub file_size: Bytes,
    /// `MAX_TMP_MB`: no request field lowers it.
    pub tmp: Bytes,
    /// `MAX_OUTPUT_BYTES`
    pub output: Bytes,
}

impl Ceilings {
    /// What a run gets that asks for nothing.
    pub fn limits(&self) -> Limits {
        Limits {
            wall: Duration::from_secs_f64(TIMEOUT_DEFAULT),
            cpu: None,
            memory: self.memory,
            processes: self.processes,
            open_files: self.open_files,
            file_size: self.file_size,
            tmp: self.tmp,
            output: self.output,
        }
    }
}

impl Default for Ceilings {
    fn default() -> Self {
        Self {
            memory: Bytes::mib(512),
            processes: 128,
            open_files: 1024,
            file_size: Bytes::mib(100),
            tmp: Bytes::mib(64),
            output: Bytes::mib(10),
        }
    }
}
