//! The script: which calls are answered in which unusual way.

mod action;
mod rule;
mod script;

pub use action::Action;
pub(crate) use action::is_success;
pub use rule::{BadRule, Matches, Rule};
pub(crate) use script::{Script, ScriptLine, Subject};
