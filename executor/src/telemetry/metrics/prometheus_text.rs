//! OpenMetrics text, which the client library writes → the Prometheus text format 0.0.4, which every scraper reads.
//!
//! For what we have they differ in four things only: 0.0.4 names a counter with its `_total` in `# HELP` and `# TYPE`, too, has
//! no `# UNIT`, no `# EOF` and no examples behind its samples.

use std::collections::BTreeSet;

pub(super) fn from_open_metrics(text: &str) -> String {
    let counters: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut written = String::with_capacity(text.len() + 32 * counters.len());
    for line in text.lines() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        match described(line) {
            Some((kind, name, rest)) if counters.contains(name) => {
                written.extend(["# ", kind, " ", name, "_total ", rest]);
            }
            Some(_) => written.push_str(line),
            // No value of a label of ours has a space before a `#`.
            None => written.push_str(line.split_once(" # {").map_or(line, |(sample, _example)| sample)),
        }
        written.push('\n');
    }
    written
}

/// `# HELP name text` and `# TYPE name type`.
fn described(line: &str) -> Option<(&str, &str, &str)> {
    let (kind, rest) = line.strip_prefix("# ")?.split_once(' ')?;
    let (name, rest) = rest.split_once(' ')?;
    Some((kind, name, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_left_out() {
        let open =
            "# TYPE a histogram\na_bucket{le=\"1.0\"} 1 # {trace_id=\"0af7\"} 0.5 1700000000.5\n# EOF\n";
        assert_eq!(from_open_metrics(open), "# TYPE a histogram\na_bucket{le=\"1.0\"} 1\n");
    }

    #[test]
    fn counters_are_described_under_the_name_they_are_sampled_by() {
        let open = "# HELP a_seconds Time.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                    a_seconds_total{x=\"# TYPE b counter\"} 1\n# HELP b Now.\n# TYPE b gauge\nb 2\n# EOF\n";
        let plain = "# HELP a_seconds_total Time.\n# TYPE a_seconds_total counter\n\
                     a_seconds_total{x=\"# TYPE b counter\"} 1\n# HELP b Now.\n# TYPE b gauge\nb 2\n";
        assert_eq!(from_open_metrics(open), plain);
    }
}
