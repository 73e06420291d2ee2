//! Work, sent to bare bubblewrap and to daemons in the same way: a *side* is one of them with as many workers as may be busy.
//!
//! A worker does one run at a time and checks that it did the work. Who asks, and when, is decided by the loop: *closed*, where
//! the next run begins when one has ended, or *open*, where it begins on a schedule whatever became of the others.

pub(crate) mod closed;
pub(crate) mod open;
pub(crate) mod schedule;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    bare::Bare,
    client::{Answer, Client},
    daemon::{Daemon, pool::Pool},
    error::{BenchError, Result, doing},
    load::{
        closed::{Block, Quota},
        open::Stream,
        schedule::Arrivals,
    },
    workloads::{Expect, Workload},
};

#[derive(Debug)]
pub(crate) enum Worker<'a> {
    Bare(&'a Bare),
    Client(Client),
}

/// One run that did its work.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) elapsed: Duration,
    pub(crate) ended: Instant,
    /// The daemon's answer; null from bare bubblewrap.
    pub(crate) record: Value,
}

impl Worker<'_> {
    pub(crate) fn run(&mut self, workload: &Workload) -> Result<Done> {
        match self {
            Worker::Bare(bare) => {
                let elapsed = bare.run(workload)?;
                Ok(Done { elapsed, ended: Instant::now(), record: Value::Null })
            }
            Worker::Client(client) => {
                let answer = client.execute(&workload.request)?;
                let record = check(workload, &answer)?;
                Ok(Done { elapsed: answer.elapsed, ended: answer.ended, record })
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Side<'a> {
    pub(crate) name: &'static str,
    workers: Vec<Worker<'a>>,
    pool: Option<&'a Pool<'a>>,
}

impl<'a> Side<'a> {
    pub(crate) fn bare(bare: &'a Bare, workers: usize) -> Self {
        Self { name: "bare", workers: (0..workers).map(|_| Worker::Bare(bare)).collect(), pool: None }
    }

    /// A daemon in which nothing waits.
    pub(crate) fn cold(daemon: &Daemon, workers: usize) -> Result<Self> {
        Ok(Self { name: daemon.settings.role, workers: connect(daemon, workers)?, pool: None })
    }

    pub(crate) fn warm(pool: &'a Pool<'a>, workers: usize) -> Result<Self> {
        Ok(Self { pool: Some(pool), ..Self::cold(pool.daemon, workers)? })
    }

    /// Waits until it has prepared what it prepares: nobody else's time may be spent on that.
    pub(crate) fn rest(&self) -> Result<()> {
        self.pool.map_or(Ok(()), Pool::wait_until_full)
    }

    /// As many runs as were prepared while nobody asked. They are not counted: in a load that lasts, every run pays for the
    /// sandbox that takes its place.
    pub(crate) fn spend_what_waits(&mut self, workload: &Workload) -> Result<()> {
        match self.pool {
            Some(pool) => self.closed(workload, Quota::Runs(pool.size())).map(drop),
            None => Ok(()),
        }
    }

    pub(crate) fn closed(&mut self, workload: &Workload, quota: Quota) -> Result<Block> {
        closed::block(&mut self.workers, workload, quota)
    }

    pub(crate) fn open(&mut self, workload: &Workload, arrivals: Arrivals) -> Result<Stream> {
        open::stream(&mut self.workers, workload, arrivals)
    }
}

pub(crate) fn connect<'a>(daemon: &Daemon, count: usize) -> Result<Vec<Worker<'a>>> {
    (0..count)
        .map(|_| Client::connect(daemon.address).map(Worker::Client).map_err(doing("connect to the daemon")))
        .collect()
}

fn check(workload: &Workload, answer: &Answer) -> Result<Value> {
    let record = answer.json()?;
    let right = record["status"] == "success"
        && match &workload.expect {
            Expect::Json(value) => record["return_value"] == *value,
            Expect::StdoutBytes(bytes) => record["stdout"].as_str().is_some_and(|text| text.len() == *bytes),
            Expect::Nothing => record["stdout"] == "",
        };
    if right {
        return Ok(record);
    }
    let why: String = record.to_string().chars().take(600).collect();
    Err(BenchError::WrongWork { who: "the daemon", workload: workload.name, why })
}
