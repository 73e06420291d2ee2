//! What can be asked about an execution, and had of it, once it has been started.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helper functions too")]

mod archives;
mod artifacts;
mod artifacts_changed;
mod support;

mod asynchronous;
mod lookups;
mod memory;
mod again;
mod again_after_restarts;
mod events;
mod resumed;
mod readers;
mod endings;
mod cancel;
mod processes;
mod leaving;
mod guards;
mod asking;
mod stream;
