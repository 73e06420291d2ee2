//! bubblewrap: what it is told, and what it says.

pub mod argv;
pub mod status;
pub mod find;
pub mod obstacle;
pub mod stderr;
