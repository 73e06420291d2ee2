//! The HTTP side: the accept loop, what guards it, the routes, and how refusals look. Nothing here runs anything.

mod execute;
pub mod guard;
mod health;
mod info;
pub mod openapi;
pub mod problem;
pub mod router;
pub mod server;
