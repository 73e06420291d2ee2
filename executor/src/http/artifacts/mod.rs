//! `GET /executions/{id}/artifacts/{path}` and `GET /executions/{id}/artifacts.tar.zst`: what executions left.
//!
//! | file | what it does |
//! |---|---|
//! | `address.rs` | which execution and which file a request names |
//! | `find.rs` | the record of that execution, and its workspace |
//! | `file.rs` | one file, or a part of it |
//! | `archive.rs` | all files |
//! | `entity_tag.rs` | `ETag`, `If-None-Match` |
//! | `range.rs` | `Range`, `If-Range` |
//! | `disposition.rs` | `Content-Disposition` for names that hostile programs chose |
//! | `body.rs` | pieces as a body, without a thread that waits for the reader |
//! | `downloads.rs` | how much all downloads together may take |
//!
//! Paths only select entries of a manifest. Nothing a caller sends is ever opened as a path.

pub mod address;
mod archive;
mod body;
mod disposition;
mod downloads;
pub mod entity_tag;
mod file;
mod find;
pub mod range;

pub(super) use archive::archive;
pub use downloads::Downloads;
pub(super) use file::file;
