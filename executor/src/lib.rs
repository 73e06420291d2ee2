//! The daemon: how a request becomes an answer.
//!
//! ```text
//!  bytes ──► http ──► intake ──► admission ──► run::pipeline ──────────────► outlet ──► http ──► bytes
//!            guard    checks     a slot        prepare, start, judge,        maps
//!                     a Job      or a refusal  collect: a RunRecord
//! ```
//!
//! One road, one direction. `http` knows requests and answers and nothing of sandboxes; `intake` and `outlet` are the only
//! places where wire types meet ours; `run` carries an execution through, in a task of its own that outlives its caller; the
//! sandbox itself is the `sandbox` crate. `app` knows everybody, and nobody but `cli` knows `app`.
//!
//! The modules, in the order in which a request meets them:

pub mod cli;
pub mod config;
pub mod lifecycle;
pub mod app;
pub mod http;
pub mod intake;
pub mod job;
pub mod admission;
pub mod run;
pub mod pool;
pub mod workspaces;
pub mod artifacts;
pub mod outlet;
pub mod outbox;
pub mod control_plane;
pub mod telemetry;
