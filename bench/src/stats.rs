//! Samples to figures: sorted once, percentiles by nearest rank, no interpolation that invents values.

use std::time::Duration;

use serde::Serialize;

/// Latencies in milliseconds and the throughput they were reached at.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    pub(crate) runs: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) per_second: f64,
}

/// Collects one side's runs: each one's latency, and the wall clock of the blocks they ran in.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    latencies_ms: Vec<f64>,
    elapsed: Duration,
}

impl Samples {
    pub(crate) fn add_block(&mut self, latencies: Vec<Duration>, elapsed: Duration) {
        self.latencies_ms.extend(latencies.into_iter().map(milliseconds));
        self.elapsed += elapsed;
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary {
            runs: self.latencies_ms.len(),
            p50_ms: percentile(&self.latencies_ms, 50.0),
            p95_ms: percentile(&self.latencies_ms, 95.0),
            p99_ms: percentile(&self.latencies_ms, 99.0),
            per_second: self.latencies_ms.len() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
        }
    }
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The smallest sample that at least `percent` of all samples do not exceed; 0 when there is none.
pub(crate) fn percentile(samples: &[f64], percent: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

pub(crate) fn median(samples: &[f64]) -> f64 {
    percentile(samples, 50.0)
}

pub(crate) fn largest(samples: &[f64]) -> f64 {
    percentile(samples, 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (percent, expected) in [(1.0, 1.0), (50.0, 50.0), (95.0, 95.0), (99.0, 99.0), (100.0, 100.0)] {
            assert_eq!(percentile(&hundred, percent), expected, "p{percent}");
        }
    }

    #[test]
    fn a_percentile_between_two_samples_is_the_upper_one() {
        assert_eq!(percentile(&[4.0, 1.0, 3.0, 2.0, 5.0], 50.0), 3.0);
        assert_eq!(percentile(&[10.0, 20.0], 51.0), 20.0);
        assert_eq!(percentile(&[10.0, 20.0], 50.0), 10.0);
    }

    #[test]
    fn one_sample_is_every_percentile_and_none_is_zero() {
        assert_eq!(percentile(&[7.0], 1.0), 7.0);
        assert_eq!(percentile(&[7.0], 99.0), 7.0);
        assert_eq!(percentile(&[], 50.0), 0.0);
    }

    #[test]
    fn throughput_counts_the_wall_clock_of_blocks_not_the_sum_of_latencies() {
        let mut samples = Samples::default();
        samples.add_block(vec![Duration::from_millis(100); 4], Duration::from_millis(200));
        samples.add_block(vec![Duration::from_millis(100); 4], Duration::from_millis(200));
        let summary = samples.summary();
        assert_eq!(summary.runs, 8);
        assert!((summary.per_second - 20.0).abs() < 1e-9, "{summary:?}");
        assert_eq!(summary.p50_ms, 100.0);
    }
}
