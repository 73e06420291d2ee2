//! An alert and its runbook, as they are written down.

use std::sync::OnceLock;

use conformance::Daemon;
use conformance::metrics::Samples;
use serde_json::Value;

const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yaml");
const PAGE: &str = include_str!("../../docs/operations.md");

pub(crate) struct Alert {
    expression: String,
    runbook: &'static str,
}

impl Alert {
    #[track_caller]
    pub(crate) fn named(name: &str) -> Self {
        static FILE: OnceLock<Value> = OnceLock::new();
        let file = FILE.get_or_init(|| serde_saphyr::from_str(ALERTS).unwrap());
        let rules = file["groups"][0]["rules"].as_array().unwrap();
        let rule = rules.iter().find(|rule| rule["alert"] == name).unwrap_or_else(|| panic!("no {name}"));
        let mut runbooks = PAGE.split("\n### ").skip(1);
        let runbook = runbooks.find(|runbook| runbook.contains(&format!("`{name}`"))).unwrap();
        Self { expression: rule["expr"].as_str().unwrap().to_owned(), runbook }
    }

    /// The sum of what `selector`, as it stands in the alert's expression, selects now.
    #[track_caller]
    pub(crate) fn sees(&self, daemon: &Daemon, selector: &str) -> f64 {
        assert!(self.expression.contains(selector), "{} does not look at {selector}", self.expression);
        sum(&daemon.metrics(), selector)
    }

    /// The runbook names this event, and the daemon has said it.
    #[track_caller]
    pub(crate) fn is_logged(&self, daemon: &Daemon, event: &str) {
        self.names(event);
        daemon.eventually(event, |daemon| !daemon.events(event).is_empty());
    }

    /// A field of `/health`, `outbox.pending`, that the runbook names.
    #[track_caller]
    pub(crate) fn health(&self, daemon: &Daemon, field: &str) -> Value {
        self.names(field);
        let health = daemon.get("/health").json();
        field.split('.').fold(health, |value, name| value[name].clone())
    }

    /// One more metric that the runbook names, labels and all.
    #[track_caller]
    pub(crate) fn also(&self, daemon: &Daemon, selector: &str) -> f64 {
        self.names(selector);
        sum(&daemon.metrics(), selector)
    }

    #[track_caller]
    fn names(&self, what: &str) {
        assert!(self.runbook.contains(&format!("`{what}`")), "the runbook does not name {what}");
    }
}

/// `name{a="1",b!="2"}` → the sum of the samples that have that. No value of ours has a comma.
#[track_caller]
fn sum(samples: &Samples, selector: &str) -> f64 {
    let (name, matchers) = selector.split_once('{').unwrap_or((selector, ""));
    let matchers: Vec<&str> =
        matchers.trim_end_matches('}').split(',').filter(|text| !text.is_empty()).collect();
    let of_name = |series: &&String| series.split('{').next() == Some(name);
    assert!(samples.keys().any(|series| of_name(&series)), "there is no {name}");
    let fits = |series: &String| {
        matchers.iter().all(|matcher| match matcher.split_once("!=") {
            Some((label, value)) => !series.contains(&format!("{label}={value}")),
            None => series.contains(matcher),
        })
    };
    samples.iter().filter(|(series, _)| of_name(series) && fits(series)).map(|(_, value)| value).sum()
}
