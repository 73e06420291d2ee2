//! An open loop: requests come on a schedule, whatever became of the earlier ones, and each one's latency counts from when it
//! was due.
//!
//! So an answer that comes late makes nobody ask later: who had to wait behind it has waited (no coordinated omission). Where
//! all workers are busy a request is sent late, and that is in its latency as well; how late the benchmark itself sent is told.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    error::{BenchError, Result},
    load::{Worker, closed::on_all, schedule::Arrivals},
    workloads::Workload,
};

/// So many may be under way at once.
pub(crate) const WORKERS: usize = 64;
/// All workers' threads are there before the first request is due.
const LEAD: Duration = Duration::from_millis(30);

#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// From when each was due to its answer's last byte.
    pub(crate) latencies: Vec<Duration>,
    /// From when each was due to when it was sent: our own share, or the lack of a free worker.
    pub(crate) sent_late: Vec<Duration>,
    /// Answered 503. They have no latency.
    pub(crate) refused: usize,
    pub(crate) warm: usize,
    /// From when the first was due to the last answer.
    pub(crate) elapsed: Duration,
}

impl Stream {
    pub(crate) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.sent_late.extend(other.sent_late);
        self.refused += other.refused;
        self.warm += other.warm;
        self.elapsed += other.elapsed;
    }
}

pub(super) fn stream(workers: &mut [Worker<'_>], workload: &Workload, arrivals: Arrivals) -> Result<Stream> {
    let next = AtomicUsize::new(0);
    let begin = Instant::now() + LEAD;
    let own = on_all(workers, |worker| {
        let mut own = Stream::default();
        while let Some(offset) = arrivals.due(next.fetch_add(1, Ordering::Relaxed)) {
            let due = begin + offset;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            own.sent_late.push(due.elapsed());
            match worker.run(workload) {
                Ok(done) => {
                    own.latencies.push(done.ended.saturating_duration_since(due));
                    own.warm += usize::from(done.record["metrics"]["sandbox"] == "warm");
                    own.elapsed = own.elapsed.max(done.ended.saturating_duration_since(begin));
                }
                Err(BenchError::Refused { status: 503, .. }) => own.refused += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(own)
    })?;
    let elapsed = own.iter().map(|own| own.elapsed).max().unwrap_or_default();
    let mut all = own.into_iter().fold(Stream::default(), |mut all, own| {
        all.add(own);
        all
    });
    all.elapsed = elapsed;
    Ok(all)
}
