//! What a run left in its workspace: looked at before the run, looked at again after it, and the difference told.
//!
//! ```text
//!   before user code starts      Snapshot::take ── walk ─────────────────┐
//!   after the sandbox is dead    collect ── walk ── compare ── choose ── hash ── Manifest
//!   after the answer             late ── hash what the answer did not wait for
//!   when somebody asks           download ── open ── hash ── still what the Manifest says? ── send
//! ```
//!
//! The workspace is hostile. It is only walked while no user code runs in it (what was seen is thrown away should that turn out not to be so), beneath a descriptor opened once; no
//! symbolic link is followed, nothing but regular files is opened, nothing is mapped into memory, nothing is changed.
//! Invariant: time, memory and the size of the answer are bounded by [`Bounds`] whatever the workspace contains, and
//! whatever was left out for that reason is said in the [`Manifest`].
//!
//! Everything here blocks, but for [`of_nothing`]: call it from a blocking thread.

mod bounds;
mod classify;
pub mod download;
mod hash;
mod late;
mod manifest;
mod record;
mod snapshot;
#[cfg(test)]
mod tests;
mod walk;

pub use bounds::{Bounds, Cut};
pub use hash::Unhashed;
pub use late::{Late, hash_late};
pub use manifest::{Manifest, Notes, collect, of_nothing};
pub use record::{ArtifactKind, ArtifactRecord, Change, Identity};
pub use snapshot::Snapshot;
pub use walk::Skip;
