//! What every request passes before its handler sees it: an id, the token, and a body that is bounded in size, time and
//! memory.
//!
//! Each part is a plain function or a small type that knows nothing of routes and answers; the router decides where it
//! applies, and `problem` how a refusal looks. Nothing here logs or repeats a token.

mod bearer;
mod body;
mod content;
mod request_id;
mod trace;

pub use bearer::Gate;
pub use body::{Budget, Received, read_body};
pub use request_id::{REQUEST_ID, RequestId, identify};
pub use trace::trace;
