//! When a message that was not accepted is sent again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// 1, 2, 4, 8 s, then 10 s for ever; each up to a fifth longer, so that executors that failed together do not come back
/// together. backon's own jitter may double a delay, which is more than "every 10 s" allows.
pub fn delays() -> impl Iterator<Item = Duration> {
    let schedule = ExponentialBuilder::new()
        .with_min_delay(Duration::from_secs(1))
        .with_factor(2.0)
        .with_max_delay(Duration::from_secs(10))
        .without_max_times();
    schedule.build().map(|delay| delay.mul_f64(1.0 + 0.2 * random_share()))
}

/// 0 to 1. Without randomness everybody comes at once, which is no reason to stop.
fn random_share() -> f64 {
    f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_after_1_2_4_8_and_then_every_10_seconds_with_little_jitter() {
        let delays: Vec<f64> = delays().take(8).map(|delay| delay.as_secs_f64()).collect();
        for (delay, least) in delays.iter().zip([1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 10.0]) {
            assert!((least..=least * 1.2).contains(delay), "{delays:?}");
        }
        assert!(delays.windows(2).skip(4).any(|pair| pair[0] != pair[1]), "{delays:?}");
    }
}
