//! `GET /metrics`, as a scraper reads it: each line held to the Prometheus text format, version 0.0.4.

use std::collections::BTreeMap;

use crate::daemon::Daemon;

/// What plain text is declared as.
pub const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Name and labels as written → value.
pub type Samples = BTreeMap<String, f64>;

impl Daemon {
    /// `GET /metrics`, without the token that other routes want.
    pub fn metrics(&self) -> Samples {
        let answer = self.request("GET", "/metrics", &[], vec![]);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(FORMAT)));
        samples(&answer.text())
    }

    /// One series; there must be one.
    #[track_caller]
    pub fn metric(&self, series: &str) -> f64 {
        let samples = self.metrics();
        *samples.get(series).unwrap_or_else(|| panic!("no {series} in {samples:#?}"))
    }
}

#[track_caller]
pub fn samples(text: &str) -> Samples {
    let mut types = BTreeMap::new();
    let mut samples = Samples::new();
    assert!(text.ends_with('\n'), "{text}");
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap();
            assert!(["gauge", "counter", "histogram", "summary", "untyped"].contains(&kind), "{line}");
            assert!(types.insert(name, kind).is_none(), "{name} is described twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let name = series.split('{').next().unwrap();
        let parts = ["_bucket", "_sum", "_count"].into_iter().filter_map(|part| name.strip_suffix(part));
        let is_part = parts.into_iter().any(|whole| types.get(whole) == Some(&"histogram"));
        assert!(is_part || types.get(name).is_some_and(|kind| *kind != "histogram"), "{name} has no type");
        let good = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let ours = ["sandbox_executor_", "process_"].iter().any(|prefix| name.starts_with(prefix));
        assert!(ours && name.chars().all(good), "{line}");
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(samples.insert(series.to_owned(), value).is_none(), "{series} twice");
    }
    samples
}
