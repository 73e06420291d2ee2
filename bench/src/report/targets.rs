//! What must be reached, in the order of docs/performance.md. `--check` ends with 1 when one of them is missed.

use super::figure::Target;

/// Python and node over bare bubblewrap, cold, in ms.
pub(crate) const OVERHEAD_MS: Target = Target::AtMost(3.0);
pub(crate) const SHELL_RATIO: Target = Target::AtMost(1.6);
pub(crate) const START_MS: Target = Target::AtMost(250.0);
pub(crate) const IDLE_MB: Target = Target::AtMost(15.0);
pub(crate) const LARGE_OUTPUT_MS: Target = Target::AtMost(150.0);
pub(crate) const MANIFEST_MS: Target = Target::AtMost(400.0);
pub(crate) const OUTBOX_MS: Target = Target::AtMost(0.3);
/// The filter takes 0.2 ms of the half millisecond that both may cost (docs/seccomp.md).
pub(crate) const CGROUP_MS: Target = Target::AtMost(0.3);
/// The 95th percentile, of what bare bubblewrap takes at the median.
pub(crate) const WARM_PYTHON_P95: Target = Target::AtMost(0.35);
/// Python handlers a second, of what the best of bare bubblewrap's loops does.
pub(crate) const SUSTAINED: Target = Target::AtLeast(4.0);
/// Of the median, at half of the sustained rate.
pub(crate) const HALF_RATE_P99: Target = Target::AtMost(5.0);
/// Of the daemon's own process, from 1,000 runs to 100,000.
pub(crate) const GROWTH_MB: Target = Target::AtMost(2.0);
pub(crate) const UNCHANGED: Target = Target::AtMost(0.0);
pub(crate) const LATE_MS: Target = Target::AtMost(100.0);

/// Of what bare bubblewrap takes at the median.
pub(crate) fn warm_ratio(workload: &str) -> Option<Target> {
    let ratios = [("shell true", 0.7), ("python handler", 0.16), ("node handler", 0.07)];
    ratios.iter().find(|(name, _)| *name == workload).map(|(_, ratio)| Target::AtMost(*ratio))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first words of each row in docs/performance.md.
    fn documented() -> Vec<(&'static str, Option<Target>)> {
        vec![
            ("start to `/health`", Some(START_MS)),
            ("idle resident memory", Some(IDLE_MB)),
            ("Python or node handler over bare", Some(OVERHEAD_MS)),
            ("shell `true` over", Some(SHELL_RATIO)),
            ("warm shell `true`, p50", warm_ratio("shell true")),
            ("warm Python handler, p50", warm_ratio("python handler")),
            ("warm Python handler, p95", Some(WARM_PYTHON_P95)),
            ("warm node handler, p50", warm_ratio("node handler")),
            ("sustained Python handlers", Some(SUSTAINED)),
            ("p99 at half of that rate", Some(HALF_RATE_P99)),
            ("10 MiB of stdout", Some(LARGE_OUTPUT_MS)),
            ("manifest of 10,000", Some(MANIFEST_MS)),
            ("the outbox adds", Some(OUTBOX_MS)),
            ("a cgroup adds", Some(CGROUP_MS)),
            ("timeout late by", Some(LATE_MS)),
            ("memory of the daemon's own process", Some(GROWTH_MB)),
            ("its descriptors, mounts and processes", Some(UNCHANGED)),
        ]
    }

    fn target(cell: &str) -> Option<Target> {
        let number = || cell.split_whitespace().find_map(|word| word.parse().ok());
        match cell.trim().chars().next()? {
            '≤' => number().map(Target::AtMost),
            '≥' => number().map(Target::AtLeast),
            _ if cell.trim() == "unchanged" => Some(UNCHANGED),
            _ => None,
        }
    }

    #[test]
    fn the_page_promises_what_is_checked() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.md");
        let page = std::fs::read_to_string(path).unwrap();
        let rows: Vec<(&str, Option<Target>)> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "))
            .map(|(name, rest)| (name, target(rest.split('|').next().unwrap_or_default())))
            .filter(|(_, target)| target.is_some())
            .collect();
        let documented = documented();
        assert_eq!(rows.len(), documented.len(), "{rows:?}");
        for ((name, promised), (words, checked)) in rows.iter().zip(&documented) {
            assert!(name.starts_with(words), "{name:?} is where {words:?} should be");
            assert_eq!(promised, checked, "{name}");
        }
    }
}
