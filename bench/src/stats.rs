//! Samples to figures: sorted once, percentiles by nearest rank, no interpolation that invents values, and no percentile that
//! is only the largest sample under another name.

use std::time::Duration;

use serde::Serialize;

/// Latencies in milliseconds and the throughput they were reached at. What there are too few samples for is absent.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    pub(crate) runs: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) p999_ms: Option<f64>,
    pub(crate) per_second: f64,
}

/// The columns of [`Summary::cells`].
pub(crate) const SUMMARY_HEAD: [&str; 6] = ["runs", "p50", "p95", "p99", "p99.9", "/s"];

impl Summary {
    pub(crate) fn cells(&self) -> Vec<String> {
        let told = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        let percentiles = [Some(self.p50_ms), self.p95_ms, self.p99_ms, self.p999_ms].map(told);
        let mut cells = vec![self.runs.to_string()];
        cells.extend(percentiles);
        cells.push(format!("{:.0}", self.per_second));
        cells
    }
}

/// Collects one side's runs: each one's latency, and the wall clock of the blocks they ran in.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    latencies_ms: Vec<f64>,
    elapsed: Duration,
}

impl Samples {
    pub(crate) fn add_block(&mut self, latencies: impl IntoIterator<Item = Duration>, elapsed: Duration) {
        self.latencies_ms.extend(latencies.into_iter().map(milliseconds));
        self.elapsed += elapsed;
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary {
            runs: self.latencies_ms.len(),
            p50_ms: median(&self.latencies_ms),
            p95_ms: told_percentile(&self.latencies_ms, 95.0),
            p99_ms: told_percentile(&self.latencies_ms, 99.0),
            p999_ms: told_percentile(&self.latencies_ms, 99.9),
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
    sorted.get(rank(sorted.len(), percent).saturating_sub(1)).copied().unwrap_or(0.0)
}

/// The same where at least one sample lies beyond it: 99.9 takes a thousand samples.
pub(crate) fn told_percentile(samples: &[f64], percent: f64) -> Option<f64> {
    (rank(samples.len(), percent) < samples.len()).then(|| percentile(samples, percent))
}

/// How many samples are at or below the percentile.
fn rank(samples: usize, percent: f64) -> usize {
    // 99.9 / 100 × 1000 is a little more than 999 in binary, and would be rounded up to the next sample.
    ((percent * samples as f64 / 100.0) - 1e-9).ceil() as usize
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

    fn one_to(last: u32) -> Vec<f64> {
        (1..=last).rev().map(f64::from).collect()
    }

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        for (percent, expected) in [(1.0, 1.0), (50.0, 50.0), (95.0, 95.0), (99.0, 99.0), (100.0, 100.0)] {
            assert_eq!(percentile(&one_to(100), percent), expected, "p{percent}");
        }
        assert_eq!(percentile(&one_to(1000), 99.9), 999.0);
        assert_eq!(percentile(&one_to(3000), 99.9), 2997.0);
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
    fn a_percentile_that_would_only_be_the_largest_sample_is_not_told() {
        for (percent, enough) in [(95.0, 20), (99.0, 100), (99.9, 1000)] {
            assert_eq!(told_percentile(&one_to(enough - 1), percent), None, "p{percent}");
            assert_eq!(told_percentile(&one_to(enough), percent), Some(f64::from(enough - 1)), "p{percent}");
        }
        assert_eq!(told_percentile(&[], 50.0), None);
    }

    #[test]
    fn too_few_samples_are_a_dash_in_the_table() {
        let mut samples = Samples::default();
        samples.add_block(vec![Duration::from_millis(100); 20], Duration::from_secs(2));
        assert_eq!(samples.summary().cells(), ["20", "100.0", "100.0", "-", "-", "10"]);
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
