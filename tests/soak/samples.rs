//! Latencies in ms: percentiles by nearest rank, no interpolation that invents values.

use std::fmt;

#[derive(Debug)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn new(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self(samples)
    }

    /// The smallest sample that at least `percent` of all do not exceed; 0 when there is none.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let rank = (percent / 100.0 * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    }

    pub(crate) fn above(&self, bound: f64) -> usize {
        self.0.iter().filter(|sample| **sample > bound).count()
    }
}

/// `p50 1.0, p95 2.0, p99 3.0, max 4.0 ms`
impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p95, p99, max] = [50.0, 95.0, 99.0, 100.0].map(|percent| self.percentile(percent));
        write!(f, "p50 {p50:.1}, p95 {p95:.1}, p99 {p99:.1}, max {max:.1} ms")
    }
}
