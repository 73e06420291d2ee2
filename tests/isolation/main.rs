//! What a program can see and do, by class of the catalogue of cases, each with a control outside the sandbox.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helper functions too")]

mod artifacts;
mod cgroups;
mod cgroups_v2;
mod copies;
mod exhaustion;
mod filesystem;
mod interpreters;
mod memory;
mod namespaces;
mod network;
mod residue;
mod secrets;
mod support;
mod witness;
mod system_calls;
mod thousand;
