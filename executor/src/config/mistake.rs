//! What is wrong with the configuration, said so that it can be put right.
//!
//! A mistake holds text that is safe to print: whoever builds one has already left out secrets.

use std::fmt;

use super::raw::Source;
use super::settings::{Kind, Setting};

/// A value longer than this is cut in a message.
const SHOWN_CHARACTERS: usize = 120;

/// One setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub key: &'static str,
    sentence: String,
}

impl Mistake {
    /// `wrong` continues "KEY is VALUE, ..."; of a secret, the value is left out.
    pub(super) fn value(setting: &Setting, source: Source, value: &str, wrong: &str) -> Self {
        if matches!(setting.kind, Kind::Secret) {
            return Self::about(setting, source, &format!("holds a value (not shown) {wrong}"));
        }
        Self::about(setting, source, &format!("is {}, {wrong}", quoted(value)))
    }

    /// `wrong` continues "KEY ...".
    pub(super) fn about(setting: &Setting, source: Source, wrong: &str) -> Self {
        let given = match source {
            Source::Flag => format!(" (given as --{})", setting.flag()),
            Source::Environment => String::new(),
        };
        let sentence = format!("{}{given} {wrong}; allowed: {}", setting.name, setting.allowed());
        Self { key: setting.name, sentence }
    }

    /// A whole sentence of its own, for what concerns more than one setting.
    pub(super) fn sentence(setting: &Setting, sentence: String) -> Self {
        Self { key: setting.name, sentence }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Every mistake of one start; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Mistake>);

impl ConfigErrors {
    pub(super) fn new(mistakes: Vec<Mistake>) -> Self {
        Self(mistakes)
    }

    pub fn mistakes(&self) -> &[Mistake] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a mistake:")?,
            count => write!(f, "the configuration has {count} mistakes:")?,
        }
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// On one line, whatever is in it.
fn quoted(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{:?}... ({} bytes)", &value[..end], value.len()),
        None => format!("{value:?}"),
    }
}
