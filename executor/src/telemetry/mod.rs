//! What the daemon says about itself: log lines, the names they go by, and metrics.
//!
//! `events` names every line; `logs` turns what is said anywhere into one flat object per line; `spans` carry the ids
//! that every line of a run has; `throttle` holds back what user code could repeat without end; `metrics` names and writes
//! what scrapers read. Never here: code, output, file contents, environment values, tokens.

pub mod events;
mod fields;
mod lines;
pub mod logs;
pub mod metrics;
mod prometheus_text;
mod render;
pub mod spans;
pub mod throttle;
