//! The HTTP side: the accept loop, what guards it, the routes, and how refusals look. Nothing here runs anything.

pub mod server;
pub mod guard;
pub mod api;
pub mod router;
mod execute;
mod executions;
mod follow;
pub mod artifacts;
mod health;
mod info;
mod metrics;
pub mod openapi;
pub mod problem;
