//! What is watched while a program runs: the clock, the samples, the streams, and who wants it to end.
//!
//! It looks and says when something is wrong; it kills nobody. Requests and the deadline come before samples, so that a busy
//! sampler delays neither.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::capture::Progress;
use crate::facts::Kill;
use crate::limits::Limits;
use crate::stop::Stopped;
use crate::usage::{Measured, Sampler};

/// What a handler leaves running after its result (exit hooks, threads) gets this long to end by itself.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

/// A program that ends earlier is measured by its parent alone.
const FIRST_SAMPLE: Duration = Duration::from_millis(5);

/// What to do next, when nothing is wrong.
enum Turn {
    Answered,
    Sample,
}

/// What is watched while a program runs.
pub(crate) struct Watch<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) sampler: Sampler,
    pub(crate) measured: Measured,
    pub(crate) streams: [Arc<Progress>; 2],
    pub(crate) began: Instant,
    /// The runner has reported how it ended.
    pub(crate) answer: Arc<Notify>,
    pub(crate) answered_at: Option<Instant>,
    pub(crate) stopped: Stopped,
}

impl Watch<'_> {
    pub(crate) async fn until_something_is_wrong(&mut self) -> Kill {
        let mut next_sample = self.began + FIRST_SAMPLE;
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
                    self.answered_at = Some(Instant::now());
                    self.observe();
                }
                Turn::Sample => {
                    let began = Instant::now();
                    if let Some(kill) = self.observe() {
                        return kill;
                    }
                    // Weighing many large processes takes milliseconds: at most a fifth of a CPU goes into it.
                    next_sample = Instant::now() + self.pause().max(began.elapsed() * 4);
                }
            }
        }
    }

    /// Takes a sample, and says whether it shows a limit crossed.
    pub(crate) fn observe(&mut self) -> Option<Kill> {
        let sample = self.sampler.weighed(self.sampler.sample(), self.limits.memory);
        self.measured.observe(sample);
        if sample.memory > self.limits.memory {
            return Some(Kill::Memory { observed: sample.memory });
        }
        let cpu = self.measured.sampled_cpu();
        self.limits.cpu.filter(|limit| cpu > *limit).map(|_| Kill::Cpu { observed: cpu })
    }

    /// Often at first, because most runs are short; often near a limit, because that is where it matters; else rarely.
    fn pause(&self) -> Duration {
        let age = self.began.elapsed();
        let share = self.measured.peak.memory.0.saturating_mul(100) / self.limits.memory.0.max(1);
        let by_memory = match share {
            80.. => Duration::from_millis(5),
            50..80 => Duration::from_millis(20),
            _ => Duration::from_millis(100),
        };
        let by_cpu =
            self.limits.cpu.map_or(by_memory, |limit| limit.saturating_sub(self.measured.sampled_cpu()) / 4);
        by_memory.min(age).min(by_cpu).max(FIRST_SAMPLE)
    }
}
