//! What was written: one optional text per setting, and where it came from. Nothing is judged here.
//!
//! Every flag is text and goes the same way as its environment variable, so that both are checked, and complained
//! about, alike. A flag wins over the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::settings::{self, Kind, Setting};

/// Where variables come from: the process, or a map in tests.
pub trait Environment {
    fn variable(&self, name: &str) -> Option<OsString>;

    /// Nobody who looks at this process later finds the variable. Whoever has read it has a copy.
    fn forget(&self, name: &str) -> io::Result<()>;
}

/// The environment this process was started with.
#[derive(Debug, Clone, Copy)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn forget(&self, name: &str) -> io::Result<()> {
        linux::environment::forget(name)
    }
}

impl Environment for BTreeMap<String, OsString> {
    fn variable(&self, name: &str) -> Option<OsString> {
        self.get(name).cloned()
    }

    fn forget(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Flag,
    Environment,
}

/// One setting as written. No `Debug`: it may hold a token.
pub(super) struct Written {
    pub(super) text: OsString,
    pub(super) source: Source,
}

/// All settings as written. No `Debug`: it may hold a token.
pub(super) struct Raw {
    written: BTreeMap<&'static str, Written>,
    /// Not a setting, but the second choice for `CONTAINER_ID`.
    pub(super) hostname: Option<OsString>,
}

impl Raw {
    pub(super) fn get(&self, setting: &Setting) -> Option<&Written> {
        self.written.get(setting.name)
    }
}

pub(super) fn gather(matches: &ArgMatches, environment: &dyn Environment) -> Raw {
    let written = settings::ALL.iter().filter_map(|setting| {
        let written = flag(matches, setting).or_else(|| variable(environment, setting))?;
        Some((setting.name, written))
    });
    Raw { written: written.collect(), hostname: environment.variable("HOSTNAME") }
}

fn flag(matches: &ArgMatches, setting: &Setting) -> Option<Written> {
    // A subcommand that was not given the flags has no such argument: that is an error to clap, and "not set" to us.
    let text = matches.try_get_one::<OsString>(setting.name).ok().flatten()?;
    Some(Written { text: text.clone(), source: Source::Flag })
}

fn variable(environment: &dyn Environment, setting: &Setting) -> Option<Written> {
    let text = environment.variable(setting.name)?;
    Some(Written { text, source: Source::Environment })
}

pub(super) fn flags(command: Command) -> Command {
    settings::ALL.iter().fold(command, |command, setting| command.arg(argument(setting)))
}

fn argument(setting: &'static Setting) -> Arg {
    let argument = Arg::new(setting.name)
        .long(setting.flag())
        .value_parser(clap::value_parser!(OsString))
        .action(ArgAction::Set)
        .allow_negative_numbers(true)
        .help_heading("Settings (each also an environment variable; the flag wins)")
        .help(help(setting));
    match setting.kind {
        Kind::Switch => {
            argument.value_name("BOOLEAN").num_args(0..=1).require_equals(true).default_missing_value("true")
        }
        // Known, so that it can be refused with a sentence that does not repeat it; never shown.
        Kind::Secret => argument.hide(true).num_args(0..=1).default_missing_value(""),
        Kind::Whole { unit, .. } => argument.value_name(unit.to_ascii_uppercase()),
        Kind::Choice(words) => argument.value_name(words.join("|")),
        Kind::Address
        | Kind::Url
        | Kind::UrlPath
        | Kind::Path
        | Kind::Name
        | Kind::Modules
        | Kind::Identity => argument.value_name(setting.unit().to_ascii_uppercase().replace(' ', "_")),
    }
}

fn help(setting: &Setting) -> String {
    format!("{} [env: {}] [default: {}]", setting.help, setting.name, setting.shown_default())
}
