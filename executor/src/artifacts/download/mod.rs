//! What an execution left, read again for whoever asks: a file, a part of it, or all of them in one archive.
//!
//! ```text
//!   ArtifactRecord ── open beneath the workspace ── hash ──► as listed: Checked ── pieces ──► sent
//!                          └────────────────────────┴──────► Unavailable: nothing is sent
//! ```
//!
//! Later runs may use the workspace meanwhile, so nothing here may be believed twice: no link is followed, nothing but a
//! regular file is opened, and nothing is written. Invariant: whoever got everything, to the last piece, got what the
//! manifest lists. A file that changes while it is sent is noticed before its last piece is given away, and that piece is
//! not: see [`Pieces`].
//!
//! Everything here blocks: call it from a blocking thread. Memory does not depend on the size of a file, except where the
//! caller asks for it ([`Keep::InMemory`]).

mod archive;
mod check;
mod pieces;
#[cfg(test)]
mod tests;

pub use archive::{Archive, Listing};
pub use check::{Checked, Content, Keep, Sha256Digest, Unavailable, check};
pub use pieces::{Pieces, Section};
