//! Out: from what happened to what is said about it. Mapping only: nothing is decided, measured or left out here.
//!
//! | file | what it does |
//! |---|---|
//! | `response.rs` | [`RunRecord`](crate::run::record::RunRecord) → `protocol::ExecuteResponse` |
//! | `state.rs` | host and configuration → `/health` and `/info` |
//! | `names.rs` | each of our enums → its counterpart on the wire, in full |

mod names;
mod response;
mod state;

pub use response::response;
pub use state::{info, isolation};
