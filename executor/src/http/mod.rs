//! The HTTP side: the accept loop, what guards it, the routes, and how refusals look. Nothing here runs anything.

pub mod server;
pub mod guard;
pub mod api;
pub mod router;
mod execute;
mod health;
mod info;
pub mod openapi;
pub mod problem;
