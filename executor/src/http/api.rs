//! What handlers see of the daemon. Made by `app.rs`, shared by all requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use sandbox::limits::Bytes;

use crate::config::Config;
use crate::http::artifacts::Downloads;
use crate::http::guard::{Budget, Gate};
use crate::run::Parts;

/// Bodies being read at once, all callers together.
const BODY_BUDGET: Bytes = Bytes::mib(256);

#[derive(Debug)]
pub struct Api {
    pub config: Config,
    pub parts: Arc<Parts>,
    pub gate: Gate,
    pub bodies: Budget,
    pub downloads: Downloads,
    pub started: Instant,
    /// Opens once and never closes again: a daemon that drains ends.
    draining: AtomicBool,
}

impl Api {
    pub fn new(config: Config, parts: Arc<Parts>) -> Self {
        Self {
            gate: Gate::new(config.api_token.as_ref()),
            bodies: Budget::new(BODY_BUDGET),
            downloads: Downloads::default(),
            started: Instant::now(),
            draining: AtomicBool::new(false),
            parts,
            config,
        }
    }

    /// From now on probes are told that no work should come here.
    pub fn announce_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Why this daemon should get no work now.
    pub fn trouble(&self) -> Option<String> {
        if self.draining.load(Ordering::Relaxed) {
            return Some("the executor is shutting down".to_owned());
        }
        self.parts.workspaces.trouble().or_else(|| self.parts.host.trouble())
    }
}
