//! What is watched while a program runs: the clock, the samples, the streams, and who wants it to end.
//!
//! It looks and says when something is wrong; it kills nobody. Requests and the deadline come before samples, so that a busy
//! sampler delays neither.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::cage::Cage;
use crate::capture::Progress;
use crate::cgroup::Charged;
use crate::facts::Kill;
use crate::limits::{Bytes, Limits};
use crate::live::Live;
use crate::stop::Stopped;
use crate::usage::{Measured, Sampler, pace};

/// What a handler leaves running after its result (exit hooks, threads) gets this long to end by itself.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

/// How long after its result a run usually has ended.
const AFTER_THE_ANSWER: Duration = Duration::from_millis(5);

/// What to do next, when nothing is wrong.
enum Turn {
    Answered,
    Sample,
}

/// What is watched while a program runs.
pub(crate) struct Watch<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) sampler: Sampler,
    pub(crate) cage: &'a Cage,
    pub(crate) measured: Measured,
    /// What was left below the memory limit at the last sample, at least.
    pub(crate) room: Bytes,
    pub(crate) streams: [Arc<Progress>; 2],
    /// Told of every sample.
    pub(crate) live: Live,
    pub(crate) began: Instant,
    /// The runner has reported how it ended.
    pub(crate) answer: Arc<Notify>,
    pub(crate) answered_at: Option<Instant>,
    pub(crate) stopped: Stopped,
}

impl Watch<'_> {
    pub(crate) async fn until_something_is_wrong(&mut self) -> Kill {
        // A program that ends earlier is measured by its parent alone.
        let mut next_sample = self.began + pace::SHORTEST;
        loop {
            let [stdout, stderr] = &self.streams;
            let deadline = self.began + self.limits.wall;
            let leave_by =
                self.answered_at.map_or(deadline, |answered| deadline.min(answered + LEFTOVER_GRACE));
            let turn = tokio::select! {
                // Requests and the clock come before samples: a busy sampler must not delay a deadline.
                biased;
                Some(stop) = self.stopped.wanted() => return Kill::Stopped(stop),
                () = tokio::time::sleep_until(leave_by.into()) => {
                    let observed = self.began.elapsed();
                    return if self.answered_at.is_some() { Kill::Leftovers } else { Kill::WallTimeout { observed } };
                }
                () = stdout.flooded() => return Kill::Output { observed: stdout.bytes() },
                () = stderr.flooded() => return Kill::Output { observed: stderr.bytes() },
                () = self.answer.notified() => Turn::Answered,
                () = tokio::time::sleep_until(next_sample.into()) => Turn::Sample,
            };
            match turn {
                Turn::Answered => {
                    let now = Instant::now();
                    self.answered_at = Some(now);
                    // Most end at once, and a sample would only delay what follows.
                    next_sample = next_sample.max(now + AFTER_THE_ANSWER);
                }
                Turn::Sample => {
                    if let Some(kill) = self.observe() {
                        return kill;
                    }
                    next_sample = Instant::now() + self.pause();
                }
            }
        }
    }

    /// Takes a sample, and says whether it shows a limit crossed.
    pub(crate) fn observe(&mut self) -> Option<Kill> {
        let charged = self.cage.charged();
        let mut sample = match charged {
            // The kernel weighs, and acts.
            Some(_) => self.sampler.look(Bytes(u64::MAX)),
            None => self.sampler.look(self.limits.memory),
        };
        // Pages that processes share are in an unweighed sample once for each.
        sample.memory = sample.memory.min(charged.map_or(sample.memory, |charged| charged.peak));
        // Of a run that has more mapped than it may hold: what was left when it was weighed.
        let held =
            if sample.memory_at_most > self.limits.memory { sample.memory } else { sample.memory_at_most };
        self.room = Bytes(self.limits.memory.0.saturating_sub(held.0));
        self.measured.observe(sample);
        let cpu = self.measured.sampled_cpu();
        self.live.note(cpu, sample.memory);
        match charged {
            // In version 1 it kills one process only, and the others would go on without it.
            Some(Charged { out_of_memory: true, peak }) => return Some(Kill::Memory { observed: peak }),
            None if sample.memory > self.limits.memory => {
                return Some(Kill::Memory { observed: sample.memory });
            }
            Some(_) | None => {}
        }
        self.limits.cpu.filter(|limit| cpu > *limit).map(|_| Kill::Cpu { observed: cpu })
    }

    /// Often at first, because most runs are short; then before the memory limit or that of CPU time can be reached.
    fn pause(&self) -> Duration {
        let age = self.began.elapsed();
        let by_memory = pace::until_full(self.room);
        let by_cpu =
            self.limits.cpu.map_or(by_memory, |limit| limit.saturating_sub(self.measured.sampled_cpu()) / 4);
        by_memory.min(age).min(by_cpu).max(pace::SHORTEST)
    }
}
