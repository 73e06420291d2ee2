//! What waits in a daemon: how many when no more come, and when they are all there again.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Daemon, settings::POOLS};
use crate::{
    client::Client,
    error::{BenchError, Result, doing},
};

const DEADLINE: Duration = Duration::from_secs(20);
/// A caller who asks now and then finds the daemon so.
const AT_REST: Duration = Duration::from_millis(20);

/// A daemon whose pool has been full.
#[derive(Debug)]
pub(crate) struct Pool<'a> {
    pub(crate) daemon: &'a Daemon,
    full: [u64; 3],
}

impl<'a> Pool<'a> {
    /// Looks on until no more come.
    pub(crate) fn of(daemon: &'a Daemon) -> Result<Self> {
        let mut full = waiting(daemon)?;
        loop {
            thread::sleep(Duration::from_secs(1));
            let now = waiting(daemon)?;
            if now == full {
                return Ok(Self { daemon, full });
            }
            full = now;
        }
    }

    /// Of all languages.
    pub(crate) fn size(&self) -> usize {
        usize::try_from(self.full.iter().sum::<u64>()).unwrap_or(usize::MAX)
    }

    pub(crate) fn wait_until_full(&self) -> Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < DEADLINE {
            if waiting(self.daemon)? == self.full {
                // It has been filled, and what filled it is at rest.
                thread::sleep(AT_REST);
                return Ok(());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Err(BenchError::Protocol { why: "the pool does not fill".to_owned() })
    }
}

/// How many of each language wait now.
fn waiting(daemon: &Daemon) -> Result<[u64; 3]> {
    let mut client = Client::connect(daemon.address).map_err(doing("connect to the daemon"))?;
    let metrics = client.get("/metrics")?;
    let text = String::from_utf8_lossy(&metrics.body);
    Ok(POOLS.map(|(_, language)| {
        let series = format!("sandbox_executor_waiting_sandboxes{{language=\"{language}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.and_then(|number| number.parse().ok()).unwrap_or_default()
    }))
}
