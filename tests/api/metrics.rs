//! `GET /metrics`: what a scraper reads, and that it says what `/health` says.

use std::collections::BTreeMap;

use conformance::{Daemon, Settings, can};
use serde_json::json;

use crate::program::is_root;

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Name and labels as written → value. Holds each line to the Prometheus text format, version 0.0.4.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut types = BTreeMap::new();
    let mut samples = BTreeMap::new();
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
        assert!(types.contains_key(name), "{name} has no type");
        let good = |character: char| character.is_ascii_alphanumeric() || character == '_';
        assert!(name.starts_with("sandbox_executor_") && name.chars().all(good), "{line}");
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(samples.insert(series.to_owned(), value).is_none(), "{series} twice");
    }
    samples
}

fn scrape(daemon: &Daemon) -> BTreeMap<String, f64> {
    let answer = daemon.request("GET", "/metrics", &[], vec![]);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(FORMAT)));
    samples(&answer.text())
}

/// The one series of what is in force.
fn isolation(samples: &BTreeMap<String, f64>) -> String {
    let mut all = samples.iter().filter(|(series, _)| series.starts_with("sandbox_executor_isolation_info{"));
    let (Some((series, value)), None) = (all.next(), all.next()) else { panic!("{samples:?}") };
    assert_eq!(*value, 1.0);
    series.clone()
}

fn expected(daemon: &Daemon) -> String {
    let health = daemon.get("/health").json()["isolation"].clone();
    let labels = ["tier", "seccomp", "proc", "cgroup", "memory"]
        .map(|name| format!("{name}=\"{}\"", health[name].as_str().unwrap()));
    format!("sandbox_executor_isolation_info{{{}}}", labels.join(","))
}

#[test]
fn what_is_in_force_is_what_health_says() {
    let daemon = Daemon::default_settings();
    assert_eq!(isolation(&scrape(&daemon)), expected(&daemon));
}

#[test]
fn behind_a_masked_proc_the_metric_says_so() {
    if !can(is_root(), "mounting takes root") {
        return;
    }
    let daemon = Settings::new().behind_masked_proc().start();
    assert!(expected(&daemon).contains("tier=\"shared-proc\""));
    assert_eq!(isolation(&scrape(&daemon)), expected(&daemon));
}

// LG-04
#[test]
fn executions_are_counted_while_they_run_and_no_series_is_made_by_a_caller() {
    let daemon = Daemon::default_settings();
    let before: Vec<String> = scrape(&daemon).into_keys().collect();
    let code = "while [ ! -e go ]; do sleep 0.05; done";
    let request = json!({ "language": "shell", "code": code, "execution_id": "exec_counted" });
    std::thread::scope(|scope| {
        let running = scope.spawn(|| daemon.execute(&request).result());
        daemon.eventually("it runs", |daemon| scrape(daemon)["sandbox_executor_active_executions"] == 1.0);
        std::fs::write(daemon.workspace().join("go"), "").unwrap();
        assert_eq!(running.join().unwrap()["status"], "success");
    });
    let after = scrape(&daemon);
    assert_eq!(after["sandbox_executor_active_executions"], 0.0);
    assert_eq!(after.into_keys().collect::<Vec<_>>(), before);
}

// LG-04
#[test]
fn a_thousand_ids_words_and_paths_make_no_series_and_are_not_repeated() {
    let daemon = Daemon::default_settings();
    let before: Vec<String> = scrape(&daemon).into_keys().collect();
    for number in 0..1_000 {
        let word = format!("canary_{number}");
        let refused = json!({ "language": word, "code": word, "execution_id": format!("exec_{word}"), "session_id": word });
        assert_eq!(daemon.execute(&refused).status, 400);
        for path in [format!("/{word}"), format!("/executions/exec_{word}"), format!("/metrics?{word}=1")] {
            daemon.get(&path);
        }
    }
    for number in 0..20 {
        let request = json!({
            "language": "shell", "code": format!("echo canary; echo canary >&2; exit {number}"),
            "execution_id": format!("exec_canary_{number}"), "session_id": format!("canary-{number}"),
        });
        assert_eq!(daemon.execute(&request).result()["exit_code"], number);
    }
    let text = daemon.request("GET", "/metrics", &[], vec![]).text();
    assert!(text.len() < 100 << 10 && !text.contains("canary"), "{text}");
    let after: Vec<String> = samples(&text).into_keys().collect();
    assert!(after.len() < 300, "{}", after.len());
    assert_eq!(after, before);
}

// LG-01
#[test]
fn no_token_is_needed_and_none_is_shown() {
    let daemon = Settings::new().with_api_token("canary-of-the-api").start();
    let answer = daemon.request("GET", "/metrics", &[], vec![]);
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains("canary"));
    let head = daemon.request("HEAD", "/metrics", &[], vec![]);
    assert_eq!((head.status, head.header("content-type")), (200, Some(FORMAT)));
    assert_eq!(daemon.request("POST", "/metrics", &[], vec![]).status, 405);
}
