//! What a daemon under measurement is told, and the name under which the report says so.
//!
//! Every setting that a figure depends on is in here, so that it is in the report as well: only the address and the directories,
//! which no figure depends on, are given to the process without it.

use std::{collections::BTreeMap, thread};

use serde::Serialize;

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Settings {
    /// What this daemon is for, in a word or two.
    pub(crate) role: &'static str,
    pub(crate) variables: BTreeMap<String, String>,
}

/// The settings of the pool, and what those are called that wait in it.
pub(crate) const POOLS: [(&str, &str); 3] =
    [("POOL_PYTHON", "python"), ("POOL_JAVASCRIPT", "javascript"), ("POOL_SHELL", "shell")];

impl Settings {
    /// Every run is cold.
    pub(crate) fn cold() -> Self {
        POOLS.iter().fold(Self::as_shipped("cold"), |settings, (pool, _)| settings.with(pool, 0))
    }

    /// As a user starts it: sandboxes wait. Only the queue is longer, because a refusal is no measurement, and a fresh workspace
    /// is gone sooner.
    pub(crate) fn as_shipped(role: &'static str) -> Self {
        let cpus = thread::available_parallelism().map_or(2, usize::from);
        Self { role, variables: BTreeMap::new() }
            .with("EXECUTOR_CONCURRENCY", cpus)
            .with("EXECUTOR_QUEUE", 256)
            .with("ARTIFACT_RETENTION_SECONDS", 30)
    }

    /// As many as `count` of one language wait, and none of the others.
    pub(crate) fn waiting(role: &'static str, pool: &str, count: usize) -> Self {
        Self::cold().with(pool, count).named(role)
    }

    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.variables.insert(name.to_owned(), value.to_string());
        self
    }

    pub(crate) fn named(self, role: &'static str) -> Self {
        Self { role, ..self }
    }
}
