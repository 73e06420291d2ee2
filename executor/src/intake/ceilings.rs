//! The most that any run may use, as configured. A request may ask for less, never for more.

use sandbox::limits::Bytes;

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
