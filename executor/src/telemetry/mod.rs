//! What the daemon says about itself: log lines, the names they go by, and metrics.
//!
//! `events` names every line; `logs` turns what is said anywhere into one flat object per line; `spans` carry the ids
//! that every line of a run has; `trace` is the trace that a run belongs to; `export` tells a
//! collector of it; `throttle` and `floods` hold back what user code or a
//! caller could repeat without end; `metrics` names and writes what scrapers read. Never here: code, output, file contents, environment values, tokens.

pub mod events;
pub mod export;
mod fields;
mod floods;
mod lines;
pub mod logs;
pub mod metrics;
mod render;
pub mod spans;
pub mod throttle;
pub mod trace;
