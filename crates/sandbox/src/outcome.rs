//! What the run means: the one place where facts become a judgement.

/// `status` of a finished run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Success,
    Failed,
    Timeout,
    Error,
    Cancelled,
}

/// Why the run ended as it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Exit,
    Exception,
    Signal,
    WallTimeout,
    CpuLimit,
    MemoryLimit,
    ProcessLimit,
    FileLimit,
    OutputLimit,
    Cancelled,
    DaemonShutdown,
    SandboxError,
}

/// The limit and what was observed, both in the unit of the limit's own field (seconds, MiB, bytes or a count).
#[derive(Debug, Clone, PartialEq)]
pub struct CauseDetail {
    pub limit: Option<f64>,
    pub observed: Option<f64>,
    /// One sentence: what happened, and what to do.
    pub message: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub status: Status,
    /// -1 where the program did not decide it.
    pub exit_code: i32,
    pub cause: Cause,
    pub detail: Option<CauseDetail>,
}
