//! The daemon.

pub mod artifacts;
pub mod config;
pub mod http;
pub mod intake;
pub mod outlet;
pub mod workspaces;
pub mod admission;
pub mod job;
