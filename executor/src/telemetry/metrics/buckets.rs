//! Where histograms have their steps. Each step is a series per set of labels, so there are as few as answer the questions that
//! are asked; `docs/metrics.md` says which those are.

use std::iter::Copied;
use std::slice::Iter;

/// Seconds. A warm start takes some milliseconds, a cold one tens to hundreds; from 10 s on they are the numbers that people set
/// as `timeout`, 30 being the default. Rarely is a run longer than ten minutes, and then its log line says how long.
pub(super) const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    600.0,
];

const MIB: f64 = (1_u64 << 20) as f64;

/// Bytes: doubling, because so do the limits that are set. A shell holds about one MiB, the default ceiling is 512.
pub(super) const BYTES: &[f64] = &[
    MIB,
    2.0 * MIB,
    4.0 * MIB,
    8.0 * MIB,
    16.0 * MIB,
    32.0 * MIB,
    64.0 * MIB,
    128.0 * MIB,
    256.0 * MIB,
    512.0 * MIB,
    1024.0 * MIB,
    2048.0 * MIB,
    4096.0 * MIB,
];

pub(super) fn steps(of: &'static [f64]) -> Copied<Iter<'static, f64>> {
    of.iter().copied()
}
