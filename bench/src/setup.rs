//! What every part of the benchmark stands on: the daemon's binary, bare bubblewrap, a directory, and how much to do.

use std::{path::Path, time::Duration};

use serde::Serialize;

use crate::{
    bare::Bare,
    daemon::{Daemon, settings::Settings},
    error::Result,
    workloads::Workload,
};

#[derive(Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) binary: &'a Path,
    /// Reachable for every user; gone after the run.
    pub(crate) directory: &'a Path,
    pub(crate) bare: Bare,
    pub(crate) effort: Effort,
    /// Told to every daemon, whatever the part says.
    pub(crate) overrides: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Effort {
    /// Per side, workload and concurrency.
    pub(crate) runs: usize,
    pub(crate) length: Length,
    pub(crate) long: LongRun,
}

/// When the long part is over: whichever comes first.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct LongRun {
    pub(crate) runs: usize,
    pub(crate) at_most: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Length {
    Full,
    /// Shows that everything works, not how fast it is.
    Quick,
}

impl Effort {
    pub(crate) fn runs(self, workload: &Workload) -> usize {
        (self.runs / workload.runs_divisor).max(2)
    }

    /// For what is done a few times only.
    pub(crate) fn repeats(self) -> usize {
        match self.length {
            Length::Full => 5,
            Length::Quick => 2,
        }
    }

    pub(crate) fn time(self, full: Duration) -> Duration {
        match self.length {
            Length::Full => full,
            Length::Quick => full / 10,
        }
    }
}

impl Setup<'_> {
    pub(crate) fn daemon(&self, settings: Settings) -> Result<Daemon> {
        Daemon::start(self.binary, self.directory, self.with_overrides(settings))
    }

    pub(crate) fn daemon_without_cgroups(&self, settings: Settings) -> Result<Daemon> {
        Daemon::without_cgroups(self.binary, self.directory, self.with_overrides(settings))
    }

    fn with_overrides(&self, settings: Settings) -> Settings {
        self.overrides.iter().fold(settings, |settings, (name, value)| settings.with(name, value))
    }
}
