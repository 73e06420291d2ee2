//! The life of the container, as others see it: how the daemon begins and ends, and that its runs are alive.
//!
//! | file | what it does |
//! |---|---|
//! | `ground.rs` | what is done while it is still root |
//! | `signals.rs` | which signals end it |
//! | `port.rs` | does its port answer |
//! | `announce.rs` | ready, exited |
//! | `heartbeat.rs` | a run is alive |
//! | `pause.rs` | what is done when no run ends for a while |

pub mod announce;
pub mod ground;
pub mod heartbeat;
pub mod pause;
pub mod port;
pub mod signals;
