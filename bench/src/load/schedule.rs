//! When each request of an open loop is due, counted from its beginning. Nothing that happens to one moves another.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Arrivals {
    pub(crate) count: usize,
    /// Between one and the next.
    pub(crate) interval: Duration,
}

impl Arrivals {
    /// Evenly spaced. At least one, and none after `time`.
    pub(crate) fn at_rate(per_second: f64, time: Duration) -> Self {
        let interval = Duration::from_secs_f64(1.0 / per_second.max(0.001));
        let count = (time.as_secs_f64() * per_second).floor() as usize;
        Self { count: count.max(1), interval }
    }

    /// All at once.
    pub(crate) fn burst(count: usize) -> Self {
        Self { count, interval: Duration::ZERO }
    }

    /// Nothing after the last.
    pub(crate) fn due(self, index: usize) -> Option<Duration> {
        // Multiplied, not added up: a thousand roundings would be a drift.
        let number = u32::try_from(index).ok().filter(|_| index < self.count)?;
        Some(self.interval * number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_evenly_spaced_from_zero_and_end() {
        let arrivals = Arrivals::at_rate(50.0, Duration::from_secs(2));
        assert_eq!(arrivals.count, 100);
        assert_eq!(arrivals.due(0), Some(Duration::ZERO));
        assert_eq!(arrivals.due(1), Some(Duration::from_millis(20)));
        assert_eq!(arrivals.due(99), Some(Duration::from_millis(1980)));
        assert_eq!(arrivals.due(100), None);
    }

    #[test]
    fn a_rate_that_divides_no_second_does_not_drift() {
        let arrivals = Arrivals::at_rate(333.0, Duration::from_secs(30));
        let last = arrivals.due(arrivals.count - 1).unwrap().as_secs_f64();
        assert!((last - (arrivals.count - 1) as f64 / 333.0).abs() < 1e-4, "{last}");
    }

    #[test]
    fn a_slow_rate_still_asks_once() {
        assert_eq!(Arrivals::at_rate(0.1, Duration::from_secs(1)).count, 1);
        assert_eq!(Arrivals::at_rate(0.0, Duration::from_secs(1)).count, 1);
    }

    #[test]
    fn a_burst_is_due_at_once() {
        let burst = Arrivals::burst(100);
        assert_eq!(
            (burst.due(0), burst.due(99), burst.due(100)),
            (Some(Duration::ZERO), Some(Duration::ZERO), None)
        );
    }
}
