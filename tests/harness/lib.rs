//! What every conformance test shares: the real daemon on a port of its own, a client that checks every answer against the
//! OpenAPI document, and a look at what a run leaves behind.
//!
//! A test owns its daemon and its directories; nothing is shared and nothing depends on order. Dropping a [`Daemon`] ends it
//! and, if the test did not already fail, checks what must hold after every case ([`daemon::Daemon::settle`]).

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "a test's own helper: a surprise is a failed test, and what it could not do is said aloud"
)]

mod aftermath;
pub mod answer;
pub mod contract;
pub mod daemon;
mod footprint;
pub mod metrics;
pub mod processes;
pub mod settings;
mod starts;
pub mod tls;

pub use answer::Answer;
pub use daemon::{Daemon, Remains, can};
pub use footprint::leaves;
pub use settings::{INTERNAL_TOKEN, Settings};
pub use starts::{each_start, is_root};
