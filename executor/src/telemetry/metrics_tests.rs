use std::collections::{BTreeMap, BTreeSet};

use protocol::{CgroupVersion, IsolationTier, MemoryWatch, ProcMount, SeccompState};

use super::*;

fn text(moment: &Moment) -> String {
    Metrics::new(&IsolationState {
        tier: IsolationTier::SharedProc,
        userns: true,
        seccomp: SeccompState::On,
        proc: ProcMount::Shared,
        disable_userns: false,
        cgroup: CgroupVersion::None,
        memory: MemoryWatch::Poller,
        bwrap_version: None,
    })
    .text(moment)
}

fn moment() -> Moment {
    Moment {
        uptime: Duration::from_millis(1_500),
        active_executions: 2,
        queued_executions: 3,
        waiting_sandboxes: vec![(Language::Python, 4)],
        outbox: None,
    }
}

/// Name → type and labels, as a scraper sees them.
fn written(text: &str) -> BTreeMap<String, (String, String)> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .map(|(name, kind)| {
            let samples: Vec<&str> = text
                .lines()
                .filter_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{'])))
                .collect();
            assert!(!samples.is_empty(), "{name} has no sample");
            let labels: BTreeSet<Vec<&str>> = samples.iter().map(|sample| labels(sample)).collect();
            assert_eq!(labels.len(), 1, "{name} has samples with different labels");
            (name.to_owned(), (kind.to_owned(), labels.into_iter().flatten().collect::<Vec<_>>().join(", ")))
        })
        .collect()
}

/// `{a="1",b="2"} 1` → a, b. No value of ours has a quotation mark.
fn labels(sample: &str) -> Vec<&str> {
    let Some((inside, _)) = sample.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        return Vec::new();
    };
    inside.split(',').map(|label| label.split_once('=').unwrap().0).collect()
}

#[test]
fn the_documentation_lists_every_metric_with_its_type_and_labels_and_no_other() {
    let document = include_str!("../../../docs/metrics.md");
    let rows = document.lines().filter(|line| line.starts_with("| `sandbox_executor_"));
    let documented: BTreeMap<String, (String, String)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [name, kind, labels, unit, meaning] = cells[..] else { panic!("five columns: {row}") };
            let name = name.trim_matches('`');
            assert!(!meaning.is_empty(), "{row}");
            if !["", "1"].contains(&unit) {
                let bare = name.trim_end_matches("_total");
                assert!(bare.ends_with(&format!("_{unit}")), "the unit of {name} is not in its name");
            }
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            (name.to_owned(), (kind.to_owned(), labels.replace('`', "")))
        })
        .collect();
    assert_eq!(documented, written(&text(&moment())));
}

#[test]
fn what_is_in_force_is_said_in_the_words_of_health() {
    let text = text(&moment());
    let line = "sandbox_executor_isolation_info{tier=\"shared-proc\",seccomp=\"on\",proc=\"shared\",cgroup=\"none\",memory=\"poller\"} 1";
    assert!(text.lines().any(|said| said == line), "{text}");
}

#[test]
fn numbers_are_those_of_the_moment() {
    let counts = Counts { pending: 4, set_aside: 5, let_go: 6 };
    let text = text(&Moment { outbox: Some(counts), ..moment() });
    for line in [
        "sandbox_executor_uptime_seconds 1.5",
        "sandbox_executor_active_executions 2",
        "sandbox_executor_queued_executions 3",
        "sandbox_executor_outbox_pending 4",
        "sandbox_executor_outbox_set_aside 5",
        "sandbox_executor_outbox_let_go_total 6",
    ] {
        assert!(text.lines().any(|said| said == line), "{line} is not in:\n{text}");
    }
    assert!(text.ends_with('\n') && !text.contains("# EOF"));
}
