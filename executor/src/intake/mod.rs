//! In: from the bytes of a request to a [`Job`](crate::job::Job) that cannot be wrong.
//!
//! Two stages. [`decode`] knows JSON and the names of fields: bytes → [`RawRequest`]. [`check`] knows the rules of the
//! contract: [`RawRequest`] → `Job`. Every problem of a request is reported in one answer, up to a bound. Nothing here
//! does I/O, and nothing here recurses over untrusted nesting.
//!
//! | file | what it does |
//! |---|---|
//! | `raw.rs` | bytes → fields by name: syntax, unknown and repeated names |
//! | `check.rs` | fields → `Job`: the order of the checks, and the rules between fields |
//! | `text.rs`, `number.rs` | one string, one number, with its bounds |
//! | `identifier.rs` | execution and session ids; makes the former when the caller gave none |
//! | `environment.rs`, `files.rs`, `limits.rs`, `event.rs` | one field each |
//! | `fingerprint.rs` | tells whether two requests with the same id ask for the same thing |
//! | `ceilings.rs`, `bounds.rs` | what is configured, and what the contract fixes |
//! | `json.rs`, `nearest.rs`, `problem.rs` | walking raw JSON, "did you mean", collecting problems |

pub mod bounds;
mod ceilings;
mod check;
mod environment;
mod event;
mod files;
mod fingerprint;
mod identifier;
mod json;
mod limits;
mod nearest;
mod number;
mod problem;
mod raw;
#[cfg(test)]
mod tests;
mod text;

pub use ceilings::Ceilings;
pub use check::{check, from_request};
pub use identifier::{is_execution_id, new_execution_id};
pub use problem::Problem;
pub use raw::{RawRequest, decode};
