//! One program in one sandbox. No HTTP, no control plane, no knowledge of who asked.
//!
//! # The life of a sandbox
//!
//! ```text
//!  Host::probe      plan()          prepare()              start()              finish()         judge()
//!  what this   ──►  the policy ──►  namespaces, mounts, ─► job handed over, ──► everything ──►  Outcome
//!  host can do      as data         runtime booted         program runs         dead, or at rest
//!                                   = Prepared             = Running            = Finished
//! ```
//!
//! A sandbox is used once. [`prepare::Prepared`] knows nothing of a job, so it can be made before one exists; what is handed
//! to [`start`](prepare::Prepared::start) is used up with it. One task per run (`supervise.rs`) owns the sandbox from then on;
//! dropping anything that owns one kills it (`cage.rs`). Nothing here falls back in silence: what cannot be applied is a
//! [`prepare::PrepareError`] or a [`probe::ProbeError`].
//!
//! # The modules, in the order in which a run meets them

pub mod limits;
pub mod program;
pub mod paths;
pub mod host;
pub mod tier;
mod strays;
pub mod probe;
pub mod self_test;
pub mod seccomp;
pub mod plan;
pub mod bwrap;
pub mod cgroup;
pub mod runtimes;
pub mod launch;
pub mod channel;
pub mod cage;
mod wires;
pub mod standby;
pub mod prepare;
pub mod fork_server;
pub mod news;
pub mod capture;
pub mod usage;
pub mod live;
pub mod facts;
pub mod stop;
mod watch;
pub mod supervise;
pub mod outcome;
