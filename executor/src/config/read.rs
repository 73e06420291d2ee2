//! One setting at a time: written text → a value of the kind its table row says, or a mistake.
//!
//! `None` always means that a mistake was noted. A setting that was not written takes its default the same way.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::mistake::Mistake;
use super::raw::{Raw, Source};
use super::secret::{Secret, SecretProblem};
use super::settings::{self, Fallback, Kind, Setting};
use super::{Origin, RunAs};

pub(super) struct Reader<'a> {
    pub(super) raw: &'a Raw,
    pub(super) mistakes: Vec<Mistake>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(raw: &'a Raw) -> Self {
        Self { raw, mistakes: Vec::new() }
    }

    pub(super) fn secret(&mut self, setting: &'static Setting) -> Option<Option<Secret>> {
        let Some(written) = self.raw.get(setting) else {
            return Some(None);
        };
        if written.source == Source::Flag {
            return self.refuse(
                setting,
                format!(
                    "{} cannot be given on the command line, where every process could read it; use the environment{}",
                    setting.name,
                    if setting.name == settings::INTERNAL_API_TOKEN.name { " or INTERNAL_API_TOKEN_FILE" } else { "" }
                ),
            );
        }
        let problem = match written.text.to_str().map(Secret::new) {
            Some(Ok(secret)) => return Some(Some(secret)),
            Some(Err(problem)) => problem,
            None => SecretProblem::NotVisibleAscii,
        };
        self.mistakes.push(Mistake::about(setting, written.source, &problem.to_string()));
        None
    }

    pub(super) fn host(&mut self) -> Option<IpAddr> {
        let setting = &settings::EXECUTOR_HOST;
        let (text, source) = self.text(setting)??;
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&text);
        match bare.parse() {
            Ok(host) => Some(host),
            Err(_says_no_more) => self.wrong(setting, source, &text, "which is not an IP address"),
        }
    }

    pub(super) fn run_as(&mut self) -> Option<RunAs> {
        let setting = &settings::EXECUTOR_RUN_AS;
        let (text, source) = self.text(setting)??;
        let number =
            |part: &str| digits(part).and_then(|id| u32::try_from(id).ok()).filter(|id| *id != u32::MAX);
        match text.split_once(':').map(|(uid, gid)| (number(uid), number(gid))) {
            Some((Some(0), Some(_)) | (Some(_), Some(0))) => {
                self.wrong(setting, source, &text, "which is root; the daemon never serves as root")
            }
            Some((Some(uid), Some(gid))) => Some(RunAs { uid, gid }),
            Some((None, _) | (_, None)) | None => {
                self.wrong(setting, source, &text, "which is not two numbers with a colon between them")
            }
        }
    }

    pub(super) fn path(&mut self, setting: &'static Setting) -> Option<PathBuf> {
        self.optional_path(setting)?
    }

    pub(super) fn optional_path(&mut self, setting: &'static Setting) -> Option<Option<PathBuf>> {
        let Some((text, source)) = self.text(setting)? else {
            return Some(None);
        };
        let path = Path::new(&text);
        let wrong = if !path.is_absolute() {
            "which is not absolute"
        } else if text.contains('\0') {
            "which holds a NUL"
        } else if path.components().any(|part| matches!(part, Component::ParentDir)) {
            "which holds a .. part"
        } else if path.parent().is_none() {
            "which is the root directory"
        } else {
            return Some(Some(path.components().collect()));
        };
        self.wrong(setting, source, &text, wrong)
    }

    pub(super) fn name(&mut self, setting: &'static Setting) -> Option<Option<String>> {
        let Some((text, source)) = self.text(setting)? else {
            return Some(None);
        };
        match is_name(&text) {
            true => Some(Some(text)),
            false => self.wrong(setting, source, &text, "which is too long or holds a control character"),
        }
    }

    pub(super) fn modules(&mut self, setting: &'static Setting) -> Option<Vec<String>> {
        let Some((text, source)) = self.text(setting)? else {
            return Some(Vec::new());
        };
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        match names.iter().all(|name| is_module(name)) {
            true => Some(names),
            false => {
                self.wrong(setting, source, &text, "which has something else in it than names of modules")
            }
        }
    }

    pub(super) fn seconds(&mut self, setting: &'static Setting) -> Option<Duration> {
        self.whole(setting).map(Duration::from_secs)
    }

    /// A whole number in the range of the table, in the type the field has.
    pub(super) fn whole<T: TryFrom<u64>>(&mut self, setting: &'static Setting) -> Option<T> {
        let (text, source) = self.text(setting)??;
        let Kind::Whole { from, to, .. } = setting.kind else {
            return None;
        };
        let Some(number) = digits(&text) else {
            return self.wrong(setting, source, &text, "which is not a whole number in plain digits");
        };
        if !(from..=to).contains(&number) {
            return self.wrong(setting, source, &text, "which is out of range");
        }
        T::try_from(number).ok()
    }

    pub(super) fn choice<T>(
        &mut self,
        setting: &'static Setting,
        meaning: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let (text, source) = self.text(setting)??;
        match meaning(&text.to_ascii_lowercase()) {
            Some(choice) => Some(choice),
            None => self.wrong(setting, source, &text, "which is none of the allowed words"),
        }
    }

    /// What was written, or the default. `Some(None)`: neither; `None`: it is not even text.
    pub(super) fn text(&mut self, setting: &'static Setting) -> Option<Option<(String, Source)>> {
        let written = self.raw.get(setting).filter(|written| !written.text.is_empty());
        let Some(written) = written else {
            return match setting.default {
                Fallback::Written(text) => Some(Some((text.to_owned(), Source::Environment))),
                Fallback::Unset | Fallback::Derived(_) => Some(None),
            };
        };
        match written.text.to_str() {
            Some(text) => Some(Some((text.to_owned(), written.source))),
            None => {
                self.wrong(setting, written.source, &written.text.to_string_lossy(), "which is not UTF-8")
            }
        }
    }

    pub(super) fn origin(&self, setting: &Setting) -> Origin {
        match self.raw.get(setting) {
            Some(written) if !written.text.is_empty() => Origin::Explicit,
            Some(_) | None => Origin::Default,
        }
    }

    pub(super) fn wrong<T>(
        &mut self,
        setting: &Setting,
        source: Source,
        value: &str,
        wrong: &str,
    ) -> Option<T> {
        self.mistakes.push(Mistake::value(setting, source, value, wrong));
        None
    }

    pub(super) fn refuse<T>(&mut self, setting: &Setting, sentence: String) -> Option<T> {
        self.mistakes.push(Mistake::sentence(setting, sentence));
        None
    }
}

/// Digits only: `parse` alone would also take "+5".
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Parts of letters, digits and underscores, with dots between them; none begins with a digit.
fn is_module(text: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    text.len() <= 256 && text.split('.').all(is_part)
}

pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= 256 && !text.chars().any(char::is_control)
}
