//! What a run means: every row of the contract's outcome table, each limit, each language.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends at the first surprise, in its helper functions too"
)]

mod smoke;
