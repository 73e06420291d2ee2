//! Programs as people write them, each of which must get the right result in a sandbox, and without a word on stderr.
//!
//! They exercise what a filter of system calls, a limit or a missing file of the sandbox would break. Their results are
//! numbers and texts that come out only if everything worked, and a program of this list that stops working is a bug of
//! the sandbox, not of the program.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helper functions too")]

mod program;
mod python;
mod scientific;
mod javascript;
mod shell;
mod compiled;
