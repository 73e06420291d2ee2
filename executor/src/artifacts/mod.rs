//! What a run left in its workspace: looked at before the run, looked at again after it, and the difference told.
//!
//! ```text
//!   before user code starts      Snapshot::take ── walk ─────────────────┐
//!   after the sandbox is dead    collect ── walk ── compare ── choose ── hash ── Manifest
//!   when somebody asks           download ── open ── hash ── still what the Manifest says? ── send
//! ```
//!
//! The workspace is hostile. It is only walked while no user code runs in it, beneath a descriptor opened once; no
//! symbolic link is followed, nothing but regular files is opened, nothing is mapped into memory, nothing is changed.
//! Invariant: time, memory and the size of the answer are bounded by [`Bounds`] whatever the workspace contains, and
//! whatever was left out for that reason is said in the [`Manifest`].
//!
//! Everything here blocks: call it from a blocking thread.

mod bounds;
mod classify;
pub mod download;
mod hash;
mod manifest;
mod record;
mod snapshot;
#[cfg(test)]
mod tests;
mod walk;

pub use bounds::{Bounds, Cut};
pub use hash::Unhashed;
pub use manifest::{Manifest, Notes, collect};
pub use record::{ArtifactKind, ArtifactRecord, Change, Identity};
pub use snapshot::Snapshot;
pub use walk::Skip;
