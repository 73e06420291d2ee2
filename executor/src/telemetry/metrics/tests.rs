use std::collections::{BTreeMap, BTreeSet};

use protocol::{CgroupVersion, IsolationTier, MemoryWatch, ProcMount, SeccompState};

use super::*;
use crate::http::problem::CODES;

const PAGE: &str = include_str!("../../../../docs/metrics.md");

fn metrics() -> Metrics {
    let setting = Setting {
        isolation: IsolationState {
            tier: IsolationTier::SharedProc,
            userns: true,
            seccomp: SeccompState::On,
            proc: ProcMount::Shared,
            disable_userns: false,
            cgroup: CgroupVersion::None,
            memory: MemoryWatch::Poller,
            bwrap_version: None,
        },
        concurrency: 7,
        queue: 8,
        pool: Language::ALL.map(|language| (language, 9)).to_vec(),
        error_codes: CODES.map(|code| code.name).to_vec(),
    };
    Metrics::new(&setting, &Calls::default())
}

fn text(moment: &Moment) -> String {
    metrics().text(moment, Format::Plain)
}

fn moment() -> Moment {
    Moment {
        uptime: Duration::from_millis(1_500),
        active_executions: 2,
        queued_executions: 3,
        waiting_sandboxes: Language::ALL.map(|language| (language, 4)).to_vec(),
        outbox: None,
    }
}

/// A sample's labels. No value of ours has a comma, a quotation mark or a brace.
fn labels(sample: &str) -> BTreeMap<&str, &str> {
    let Some((inside, _)) = sample.split_once('{').and_then(|(_, rest)| rest.split_once('}')) else {
        return BTreeMap::new();
    };
    let pairs = inside.split(',').map(|label| label.split_once('=').unwrap());
    pairs.map(|(name, value)| (name, value.trim_matches('"'))).collect()
}

fn but_le(sample: &str) -> BTreeMap<&str, &str> {
    labels(sample).into_iter().filter(|(label, _)| *label != "le").collect()
}

/// Name → type and samples, as a scraper sees them.
fn written(text: &str) -> BTreeMap<&str, (&str, Vec<&str>)> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let samples_of = |name: &str, kind: &str| -> Vec<&str> {
        let is_its_own = |line: &&str| {
            let series = line.split(['{', ' ']).next().unwrap();
            let rest = series.strip_prefix(name);
            rest.is_some_and(|rest| match kind {
                "histogram" => ["_bucket", "_sum", "_count"].contains(&rest),
                _ => rest.is_empty(),
            })
        };
        text.lines().filter(is_its_own).collect()
    };
    types.map(|(name, kind)| (name, (kind, samples_of(name, kind)))).collect()
}

/// Name → type and labels.
fn described(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    written(text)
        .into_iter()
        .map(|(name, (kind, samples))| {
            assert!(!samples.is_empty(), "{name} has no sample");
            let of = |sample: &&str| -> BTreeSet<String> {
                but_le(sample).into_keys().map(str::to_owned).collect()
            };
            let all: BTreeSet<_> = samples.iter().map(of).collect();
            assert_eq!(all.len(), 1, "{name} has samples with different labels");
            (name.to_owned(), (kind.to_owned(), all.into_iter().flatten().collect()))
        })
        .collect()
}

/// The cells of every row of the page whose first cell is code, under a table head that begins with `head`.
fn rows(head: &str) -> Vec<Vec<&'static str>> {
    let table = PAGE.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    let rows: Vec<Vec<_>> =
        rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect();
    assert!(!rows.is_empty(), "there is no table {head}");
    rows
}

/// `a`, `b` → a, b
fn words(cell: &str) -> BTreeSet<String> {
    let words = cell.split(',').map(|word| word.trim().trim_matches('`').to_owned());
    words.filter(|word| !word.is_empty()).collect()
}

#[test]
fn the_documentation_lists_every_metric_with_its_type_and_labels_and_no_other() {
    let documented: BTreeMap<_, _> = rows("| name |")
        .into_iter()
        .map(|cells| {
            let [name, kind, labels, unit, meaning] = cells[..] else { panic!("five columns: {cells:?}") };
            let name = name.trim_matches('`');
            assert!(!meaning.is_empty(), "{name}");
            if unit != "1" {
                let bare = name.trim_end_matches("_total");
                assert!(bare.ends_with(&format!("_{unit}")), "the unit of {name} is not in its name");
            }
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            (name.to_owned(), (kind.to_owned(), words(labels)))
        })
        .collect();
    assert_eq!(documented, described(&text(&moment())));
}

#[test]
fn the_documentation_lists_the_words_of_every_label_and_no_other() {
    // A label with one name has the same words everywhere; what is said of this one executor is not a list.
    let text = text(&moment());
    let all = written(&text);
    let listed = all.iter().filter(|(name, _)| !name.ends_with("_info"));
    let mut there: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for sample in listed.flat_map(|(_, (_, samples))| samples) {
        for (label, value) in but_le(sample) {
            there.entry(label.to_owned()).or_default().insert(value.to_owned());
        }
    }
    let documented: BTreeMap<_, _> = rows("| label |")
        .iter()
        .map(|cells| (cells[0].trim_matches('`').to_owned(), words(cells[1])))
        .collect();
    assert_eq!(documented, there);
}

#[test]
fn the_documentation_lists_the_steps_of_every_histogram() {
    let text = text(&moment());
    let documented: BTreeMap<&str, Vec<f64>> = rows("| unit |")
        .into_iter()
        .map(|cells| (cells[0], cells[1].split(',').map(|step| step.trim().parse().unwrap()).collect()))
        .collect();
    let mut seen = BTreeSet::new();
    for (name, (_, samples)) in written(&text).into_iter().filter(|(_, (kind, _))| *kind == "histogram") {
        let unit = name.rsplit('_').next().unwrap();
        let first = samples.iter().find(|sample| sample.contains("_bucket{")).unwrap();
        let mut steps: Vec<f64> = samples
            .iter()
            .filter(|sample| sample.contains("_bucket{") && but_le(sample) == but_le(first))
            .map(|sample| labels(sample)["le"].parse().unwrap_or(f64::INFINITY))
            .collect();
        assert_eq!(steps.pop(), Some(f64::INFINITY), "{name}");
        let told: Vec<f64> = documented[unit]
            .iter()
            .map(|step| step * if unit == "bytes" { 1_048_576.0 } else { 1.0 })
            .collect();
        assert_eq!(told, steps, "{name}");
        seen.insert(unit);
    }
    assert_eq!(seen, documented.into_keys().collect());
}

#[test]
fn what_is_in_force_is_said_in_the_words_of_health() {
    let text = text(&moment());
    let line = "sandbox_executor_isolation_info{tier=\"shared-proc\",seccomp=\"on\",proc=\"shared\",cgroup=\"none\",memory=\"poller\"} 1";
    assert!(text.lines().any(|said| said == line), "{text}");
}

#[test]
fn numbers_are_those_of_the_moment() {
    let counts = Counts { pending: 4, oldest: Some(Duration::from_millis(2_500)), set_aside: 5, let_go: 6 };
    let text = text(&Moment { outbox: Some(counts), ..moment() });
    for line in [
        "sandbox_executor_uptime_seconds 1.5",
        "sandbox_executor_active_executions 2",
        "sandbox_executor_queued_executions 3",
        "sandbox_executor_concurrency 7",
        "sandbox_executor_queue_size 8",
        "sandbox_executor_pool_size{language=\"python\"} 9",
        "sandbox_executor_waiting_sandboxes{language=\"shell\"} 4",
        "sandbox_executor_outbox_pending 4",
        "sandbox_executor_outbox_oldest_seconds 2.5",
        "sandbox_executor_outbox_set_aside 5",
        "sandbox_executor_outbox_let_go_total 6",
    ] {
        assert!(text.lines().any(|said| said == line), "{line} is not in:\n{text}");
    }
    assert!(text.ends_with('\n') && !text.contains("# EOF"));
}

#[test]
fn open_metrics_ends_with_its_end_and_names_counters_without_total() {
    let text = metrics().text(&moment(), Format::Open);
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("# TYPE sandbox_executor_executions counter\n"));
}

#[test]
fn what_is_counted_is_told() {
    let metrics = metrics();
    metrics.count_refusal("Executor.QueueFull");
    metrics.count_refill(Language::Shell, Duration::from_millis(3));
    metrics.count_pool_failure(Language::Python);
    let text = metrics.text(&moment(), Format::Plain);
    for line in [
        "sandbox_executor_refusals_total{error_code=\"Executor.QueueFull\"} 1",
        "sandbox_executor_refusals_total{error_code=\"Executor.ShuttingDown\"} 0",
        "sandbox_executor_pool_refill_seconds_bucket{le=\"0.0025\",language=\"shell\"} 0",
        "sandbox_executor_pool_refill_seconds_bucket{le=\"0.005\",language=\"shell\"} 1",
        "sandbox_executor_pool_failures_total{language=\"python\"} 1",
    ] {
        assert!(text.lines().any(|said| said == line), "{line} is not in:\n{text}");
    }
}
