//! What callers meet: requests good and bad, the HTTP side under abuse, the command line, start and end.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helper functions too")]

mod admission;
mod answers;
mod authorization;
mod bad_bodies;
mod bad_fields;
mod command_line;
mod connections;
mod counted;
mod descriptions;
mod doctor;
mod exec;
mod exec_artifacts;
mod floods;
mod framing;
mod hosts;
mod idempotency;
mod identity;
mod in_force;
mod leaving;
mod logs;
mod metrics;
mod program;
mod quiet;
mod raw;
mod routes;
mod run;
mod shutdown;
mod startup;
mod taken_away;
