//! The wire: the types of both APIs, the executor's and the control plane's, and nothing else.
//!
//! `openapi/` is the promise and these types are its mirror; a test in `executor` compares the two field by field. Nothing here validates or decides: the daemon reads requests through its own `intake`, which reports
//! every problem at once, and these types serve clients, the command line, tests and documentation. No type of this crate
//! travels deeper into the daemon than `intake` and `outlet`.

mod artifact;
mod callbacks;
mod error;
mod execute_request;
mod execution;
mod execute_response;
mod health;
mod info;
mod metrics;

pub use artifact::{Artifact, ArtifactType, Change};
pub use callbacks::{
    CompactResult, CompactStatus, ContainerExited, ContainerReady, ExitReason, Heartbeat, Phase, Progress,
};
pub use error::{ErrorBody, FieldProblem};
pub use execute_request::{
    Encoding, ExecuteRequest, InputFile, Language, Mode, OnDisconnect, RequestLimits, WorkspaceKind,
};
pub use execute_response::{Callback, Cause, CauseDetail, ExecuteResponse, Status};
pub use execution::{Execution, ExecutionState, OutputEvent, StartedEvent};
pub use health::{
    CgroupVersion, Health, HealthStatus, IsolationState, IsolationTier, Live, LiveStatus, MemoryWatch,
    OutboxState, ProcMount, Ready, ReadyStatus, RunIsolation, SeccompState,
};
pub use info::{Info, LanguageVersion, LimitRange, LimitsInForce, Platform};
pub use metrics::{CpuSource, MemorySource, Metrics, PhasesMs, Sandbox};
