//! How the daemon begins and ends: what is done while it is still root, and which signals end it.

pub mod ground;
pub mod signals;
