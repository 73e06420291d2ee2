//! The wire: the types of the executor API, and nothing else.
//!
//! `openapi/executor-api.yaml` is the promise and these types are its mirror; a test in `executor` compares the two
//! field by field. Nothing here validates or decides: the daemon reads requests through its own `intake`, which reports
//! every problem at once, and these types serve clients, the command line, tests and documentation. No type of this crate
//! travels deeper into the daemon than `intake` and `outlet`.

mod artifact;
mod error;
mod execute_request;
mod execute_response;
mod health;
mod info;
mod metrics;

pub use artifact::{Artifact, ArtifactType, Change};
pub use error::{ErrorBody, FieldProblem};
pub use execute_request::{
    Encoding, ExecuteRequest, InputFile, Language, Mode, RequestLimits, WorkspaceKind,
};
pub use execute_response::{Cause, CauseDetail, ExecuteResponse, Status};
pub use health::{
    CgroupVersion, Health, HealthStatus, IsolationState, IsolationTier, Live, LiveStatus, MemoryWatch,
    ProcMount, Ready, ReadyStatus, SeccompState,
};
pub use info::{Info, LanguageVersion, LimitRange, LimitsInForce, Platform};
pub use metrics::{CpuSource, MemorySource, Metrics, PhasesMs};
