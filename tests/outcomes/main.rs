//! What a run means: every row of the contract's outcome table, each limit, each language.
//!
//! | file | what it claims |
//! |---|---|
//! | `smoke.rs` | the shortest road through everything |
//! | `endings.rs` | success, failure, exit codes, signals |
//! | `handlers.rs` | which functions count as handlers, and what they may return |
//! | `sources.rs` | code behaves as if it were saved to a file |
//! | `events.rs` | what the caller gives arrives unchanged |
//! | `markers.rs` | a value returned by printing it |
//! | `packages.rs` | helper modules and installed packages are found |
//! | `output.rs` | stdout and stderr to the byte, however they are written |
//! | `timeouts.rs` | the wall clock wins against everything a program does |
//! | `limit_cpu.rs`, `limit_memory.rs`, `limit_processes.rs`, `limit_files.rs`, `limit_output.rs` | each limit has its own cause |
//! | `sandbox_errors.rs` | what is not the program's fault |
//! | `standbys.rs` | sandboxes begun before anybody asked |
//! | `pool.rs` | sandboxes booted before anybody asked |
//! | `metrics.rs` | what was measured, in every kind of end |
//! | `report_channel.rs` | a program that abuses the private pipe changes nothing but its own return value |
//! | `leftovers.rs` | what a program leaves running |
//! | `signals.rs` | dispositions and masks that programs start with |
//! | `departures.rs` | clients that leave and daemons that are stopped, at random moments |

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helper functions too")]

mod ask;
mod departures;
mod endings;
mod events;
mod handlers;
mod leftovers;
mod limit_cpu;
mod limit_files;
mod limit_memory;
mod limit_output;
mod limit_processes;
mod markers;
mod metrics;
mod output;
mod packages;
mod pool;
mod report_channel;
mod sandbox_errors;
mod signals;
mod smoke;
mod sources;
mod standbys;
mod timeouts;
