//! What callers meet: requests good and bad, the HTTP side under abuse, the command line, start and end.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends at the first surprise, in its helper functions too"
)]
