//! bubblewrap: what it is told, and what it says.

pub mod argv;
pub mod stderr;
pub mod status;
