//! The control plane, seen from here: how a message gets to it, and what its answer means. The only room that knows reqwest.
//!
//! | file | what it does |
//! |---|---|
//! | `client.rs` | one message, one answer, every step with a deadline |
//! | `token.rs` | the token, which can change while we run |
//! | `schedule.rs` | when to try again |
//! | `verdict.rs` | what an answer means for the message: pure |
//!
//! Nothing here waits for a better moment or remembers anything: that is the outbox and the announcer. What the control plane says is
//! untrusted: its answers are read up to a bound, never repeated in a log, and a redirect is never followed.

mod client;
mod schedule;
mod token;
mod verdict;

pub use client::{CallError, Client, ClientError, Message, http};
pub use schedule::delays;
pub use verdict::{Answer, Verdict, judge};
