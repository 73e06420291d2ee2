//! How long runs have taken lately, for the `Retry-After` of a refusal. A hint, never a promise.

use std::num::NonZeroUsize;
use std::time::Duration;

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// A moving average; each new run counts for a quarter, so that a change shows after a few.
#[derive(Debug, Default)]
pub(super) struct Pace {
    average: Option<Duration>,
}

impl Pace {
    pub(super) fn note(&mut self, took: Duration) {
        self.average = Some(match self.average {
            None => took,
            Some(average) => average.saturating_mul(3).saturating_add(took) / 4,
        });
    }

    /// When one of those who wait now will probably have begun: a place in the queue is free then. Whole seconds.
    pub(super) fn retry_after(&self, waiting: usize, concurrency: NonZeroUsize) -> Duration {
        let average = self.average.unwrap_or(SHORTEST);
        let rounds = u32::try_from(waiting.div_ceil(concurrency.get()).max(1)).unwrap_or(u32::MAX);
        let seconds = average.saturating_mul(rounds).as_secs_f64().ceil();
        // Rounded before it is bounded: both bounds are whole seconds.
        Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).clamp(SHORTEST, LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_whole_seconds_from_1_to_30_and_grows_with_the_queue() {
        let two = NonZeroUsize::new(2).unwrap();
        let mut pace = Pace::default();
        assert_eq!(pace.retry_after(10, two), Duration::from_secs(5));
        pace.note(Duration::from_millis(2));
        assert_eq!(pace.retry_after(0, two), SHORTEST);
        let mut slow = Pace::default();
        slow.note(Duration::from_millis(2_500));
        assert_eq!(slow.retry_after(1, two), Duration::from_secs(3));
        assert_eq!(slow.retry_after(4, two), Duration::from_secs(5));
        slow.note(Duration::MAX);
        assert_eq!(slow.retry_after(usize::MAX, NonZeroUsize::MIN), LONGEST);
    }

    #[test]
    fn the_average_follows_recent_runs() {
        let mut pace = Pace::default();
        pace.note(Duration::from_secs(20));
        (0..20).for_each(|_| pace.note(Duration::from_secs(1)));
        assert!(pace.retry_after(1, NonZeroUsize::MIN) <= Duration::from_secs(2));
    }
}
