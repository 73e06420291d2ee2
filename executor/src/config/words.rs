//! Words that settings may have, and what they mean. The table of settings lists them for the reader; a test holds both
//! together. Words come in lower case.

use sandbox::tier::Tier;

use super::{CallbackFormat, LogFormat, LogLevel};

#[derive(Debug, Clone, Copy)]
pub(super) enum Switch {
    On,
    Off,
}

pub(super) fn switch(word: &str) -> Option<Switch> {
    match word {
        "true" | "1" | "yes" | "on" => Some(Switch::On),
        "false" | "0" | "no" | "off" => Some(Switch::Off),
        _ => None,
    }
}

pub(super) fn log_level(word: &str) -> Option<LogLevel> {
    match word {
        "error" => Some(LogLevel::Error),
        "warn" | "warning" => Some(LogLevel::Warn),
        "info" => Some(LogLevel::Info),
        "debug" => Some(LogLevel::Debug),
        "trace" => Some(LogLevel::Trace),
        _ => None,
    }
}

pub(super) fn log_format(word: &str) -> Option<LogFormat> {
    match word {
        "json" => Some(LogFormat::Json),
        "text" => Some(LogFormat::Text),
        _ => None,
    }
}

pub(super) fn callback_format(word: &str) -> Option<CallbackFormat> {
    match word {
        "full" => Some(CallbackFormat::Full),
        "compact" => Some(CallbackFormat::Compact),
        _ => None,
    }
}

pub(super) fn tier(word: &str) -> Option<Tier> {
    Tier::ALL.into_iter().find(|tier| tier.name() == word)
}
