//! A closed loop: as many runs at once as there are workers, and each worker begins the next when its last has ended.
//!
//! It says what a side can do, not how long a caller waits: a slow answer delays the questions behind it, and so hides them. For
//! that there is the open loop.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{error::Result, load::Worker, workloads::Workload};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Quota {
    Runs(usize),
    /// No run begins later than this after the first.
    For(Duration),
}

#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) latencies: Vec<Duration>,
    /// From the first run's beginning to the last one's end.
    pub(crate) elapsed: Duration,
    /// Each run's `metrics.phases_ms`, as the daemon reports them.
    pub(crate) phases: Vec<Value>,
    /// How many found a sandbox that waited.
    pub(crate) warm: usize,
}

pub(super) fn block(workers: &mut [Worker<'_>], workload: &Workload, quota: Quota) -> Result<Block> {
    let (done, elapsed) = share_out(workers, quota, |worker| {
        let done = worker.run(workload)?;
        let metrics = &done.record["metrics"];
        Ok((done.elapsed, metrics["phases_ms"].clone(), metrics["sandbox"] == "warm"))
    })?;
    let warm = done.iter().filter(|(_, _, warm)| *warm).count();
    let (latencies, phases) = done.into_iter().map(|(latency, phases, _)| (latency, phases)).unzip();
    Ok(Block { latencies, elapsed, phases, warm })
}

/// Does pieces of work with all workers at once; whoever is free takes the next.
pub(crate) fn share_out<W: Send, Done: Send>(
    workers: &mut [W],
    quota: Quota,
    work: impl Fn(&mut W) -> Result<Done> + Sync,
) -> Result<(Vec<Done>, Duration)> {
    let taken = AtomicUsize::new(0);
    let begin = Instant::now();
    let more = || match quota {
        Quota::Runs(runs) => taken.fetch_add(1, Ordering::Relaxed) < runs,
        Quota::For(time) => begin.elapsed() < time,
    };
    let done = on_all(workers, |worker| {
        let mut done = Vec::new();
        while more() {
            done.push(work(worker)?);
        }
        Ok(done)
    })?;
    Ok((done.into_iter().flatten().collect(), begin.elapsed()))
}

/// One thread for each worker; what they return, or the first failure once all have ended.
pub(super) fn on_all<W: Send, Done: Send>(
    workers: &mut [W],
    work: impl Fn(&mut W) -> Result<Done> + Sync,
) -> Result<Vec<Done>> {
    thread::scope(|scope| {
        let threads: Vec<_> = workers.iter_mut().map(|worker| scope.spawn(|| work(worker))).collect();
        threads
            .into_iter()
            .map(|thread| {
                thread.join().expect("a worker of the benchmark returns its failures, it does not panic")
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_runs_is_shared_by_all_workers_and_kept() {
        let mut workers = [0; 4];
        let (done, _) = share_out(&mut workers, Quota::Runs(10), |own| {
            *own += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!((done.len(), workers.iter().sum::<i32>()), (10, 10));
    }

    #[test]
    fn a_time_ends_with_the_run_that_was_under_way() {
        let work = |_: &mut ()| {
            thread::sleep(Duration::from_millis(20));
            Ok(())
        };
        let (done, elapsed) = share_out(&mut [()], Quota::For(Duration::from_millis(50)), work).unwrap();
        assert!(
            (1..=3).contains(&done.len()) && elapsed >= Duration::from_millis(50),
            "{done:?} {elapsed:?}"
        );
    }
}
