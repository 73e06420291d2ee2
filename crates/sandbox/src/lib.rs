//! One program in one sandbox.

pub mod limits;
pub mod outcome;
pub mod program;
