//! The mock as its users see it: over real sockets, with a client that shows every byte.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helper functions too")]

mod client;
mod messages;
mod judging;
mod once;
mod sabotage;
mod script;
mod outage;
mod control;
mod program;
