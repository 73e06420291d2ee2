//! The runbooks of `docs/operations.md`, tried: each situation is brought about with a real daemon, the alert's own metric is seen to
//! change, the log and `/health` say what the page says they do, and after what the page says to do it is over.
//!
//! Whether an alert fires on such a metric is `tests/monitoring`'s to say.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helper functions too")]

mod alert;
mod control_plane;
mod isolation;
mod memory;
mod pool;
mod queue;
mod sandbox;
