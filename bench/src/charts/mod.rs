//! What a part of the benchmark wants to be seen: lines over one axis, drawn as SVG, one file each.
//!
//! What a point is, is decided here and in the parts; `plotters` only draws it.

mod draw;
mod scale;

use std::path::Path;

use crate::error::{BenchError, Result};

#[derive(Debug, Clone)]
pub(crate) struct Chart {
    /// Without its ending.
    pub(crate) file: String,
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) label: String,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// From zero.
    Linear,
    /// What is not above zero has no place on it.
    Logarithmic,
}

#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Axis {
    pub(crate) fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), kind: Kind::Linear }
    }

    pub(crate) fn logarithmic(label: impl Into<String>) -> Self {
        Self { label: label.into(), kind: Kind::Logarithmic }
    }
}

impl Line {
    pub(crate) fn new(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { name: name.into(), points: points.into_iter().collect() }
    }

    /// Latencies as "one in n takes longer": a percentile p is at 100 / (100 - p), so that the far end of the tail has as much
    /// room as the middle. Each point is a sample; the largest has none that takes longer, and no point.
    pub(crate) fn tail(name: impl Into<String>, samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let mut points: Vec<(f64, f64)> = Vec::new();
        for (at, sample) in sorted.iter().enumerate().take(count.saturating_sub(1)) {
            let one_in = count as f64 / (count - at - 1) as f64;
            // Closer together than this nobody sees them, and a file of thousands of points is no picture.
            if points.last().is_none_or(|(last, _)| one_in > last * 1.03) {
                points.push((one_in, *sample));
            }
        }
        Self { name: name.into(), points }
    }
}

impl Chart {
    /// Nothing is written where no line has a point.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        if self.lines.iter().all(|line| line.points.is_empty()) {
            return Ok(());
        }
        let path = directory.join(format!("{}.svg", self.file));
        let drawn = draw::svg(self).map_err(|why| BenchError::Chart { path: path.clone(), why })?;
        std::fs::create_dir_all(directory)
            .and_then(|()| std::fs::write(&path, drawn))
            .map_err(|source| BenchError::Report { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_has_each_percentile_where_one_in_so_many_takes_longer() {
        let samples: Vec<f64> = (1..=1000).map(f64::from).collect();
        let line = Line::tail("some", &samples);
        let at = |one_in: f64| line.points.iter().rev().find(|(x, _)| *x <= one_in + 1e-9).unwrap().1;
        // To within the three percent that are left out between points.
        assert!((at(2.0) - 500.0).abs() <= 15.0, "{}", at(2.0));
        assert!((at(100.0) - 990.0).abs() <= 1.0, "{}", at(100.0));
        assert_eq!(*line.points.last().unwrap(), (1000.0, 999.0));
        assert!(line.points.len() < 250, "{}", line.points.len());
    }

    #[test]
    fn a_tail_of_one_sample_or_none_is_empty() {
        assert_eq!(Line::tail("some", &[1.0]).points, []);
        assert_eq!(Line::tail("some", &[]).points, []);
    }

    #[test]
    fn a_chart_says_its_names_and_is_written_only_when_there_is_something_to_see() {
        let directory = tempfile::tempdir().unwrap();
        let mut chart = Chart {
            file: "some".to_owned(),
            title: "A title & more".to_owned(),
            x: Axis::logarithmic("how many"),
            y: Axis::linear("ms"),
            lines: vec![Line::new("warm", [])],
        };
        chart.write(directory.path()).unwrap();
        assert!(!directory.path().join("some.svg").exists());
        chart.lines[0].points = vec![(1.0, 2.0), (100.0, 3.0)];
        chart.write(directory.path()).unwrap();
        let svg = std::fs::read_to_string(directory.path().join("some.svg")).unwrap();
        for text in ["<svg", "A title &amp; more", "how many", "ms", "warm"] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
    }
}
