//! What the control plane hears: class CP of the catalogue, and every promise about callbacks, checked with a control plane
//! that misbehaves as it is told to.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helper functions too")]

mod support;

mod results;
mod delivery;
mod full_load;
mod heartbeats;
mod bad_answers;
mod disk;
mod lifecycle;
mod restarts;
mod tokens;
mod process_one;
mod tls;
mod names;
mod compact;
mod outbox_command;
