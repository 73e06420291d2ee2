//! Out: from what happened to what is said about it. Mapping only: nothing is decided, measured or left out here.
//!
//! | file | what it does |
//! |---|---|
//! | `response.rs` | [`RunRecord`](crate::run::record::RunRecord) → `protocol::ExecuteResponse` |
//! | `callback.rs` | the same, heartbeats, and what crashed → what the control plane reads |
//! | `execution.rs` | a run under way or over → lookups and events |
//! | `state.rs` | host and configuration → `/health` and `/info` |
//! | `names.rs` | each of our enums → its counterpart on the wire, in full |

mod callback;
mod execution;
mod names;
mod response;
mod state;

pub use callback::{compact, crashed, heartbeat, result as callback};
pub use execution::{execution, output, stored};
pub use response::{hexadecimal, mib, milliseconds, response};
pub use state::{info, isolation, outbox, run_isolation};
