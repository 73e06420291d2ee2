//! `GET /metrics`: what a scraper reads, and that it says what `/health` says.

use conformance::metrics::{FORMAT, Samples, samples};
use conformance::{Daemon, Settings, can};
use serde_json::json;

use crate::program::is_root;

/// The one series of what is in force.
fn isolation(samples: &Samples) -> String {
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
    assert_eq!(isolation(&daemon.metrics()), expected(&daemon));
}

#[test]
fn behind_a_masked_proc_the_metric_says_so() {
    if !can(is_root(), "mounting takes root") {
        return;
    }
    let daemon = Settings::new().behind_masked_proc().start();
    assert!(expected(&daemon).contains("tier=\"shared-proc\""));
    assert_eq!(isolation(&daemon.metrics()), expected(&daemon));
}

// LG-04
#[test]
fn executions_are_counted_while_they_run_and_no_series_is_made_by_a_caller() {
    let daemon = Daemon::default_settings();
    let before: Vec<String> = daemon.metrics().into_keys().collect();
    let code = "while [ ! -e go ]; do sleep 0.05; done";
    let request = json!({ "language": "shell", "code": code, "execution_id": "exec_counted" });
    std::thread::scope(|scope| {
        let running = scope.spawn(|| daemon.execute(&request).result());
        daemon.eventually("it runs", |daemon| daemon.metric("sandbox_executor_active_executions") == 1.0);
        std::fs::write(daemon.workspace().join("go"), "").unwrap();
        assert_eq!(running.join().unwrap()["status"], "success");
    });
    let after = daemon.metrics();
    assert_eq!(after["sandbox_executor_active_executions"], 0.0);
    assert_eq!(after.into_keys().collect::<Vec<_>>(), before);
}

// LG-04
#[test]
fn a_thousand_ids_words_and_paths_make_no_series_and_are_not_repeated() {
    let daemon = Daemon::default_settings();
    let before: Vec<String> = daemon.metrics().into_keys().collect();
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
    assert!(after.len() < 600, "{}", after.len());
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

#[test]
fn who_asks_for_open_metrics_gets_the_same_with_the_trace_of_an_example() {
    let daemon = Daemon::default_settings();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let run = |flags: &str, trace: &str| {
        let parent = format!("00-{trace}-00f067aa0ba902b7-{flags}");
        let body = json!({ "language": "shell", "code": "true" }).to_string();
        let headers = [("content-type", "application/json"), ("traceparent", &*parent)];
        assert_eq!(daemon.request("POST", "/execute", &headers, body.into()).status, 200);
    };
    run("01", trace);
    // Nobody records this one: it would lead nowhere, and take the other's place.
    run("00", "00000000000000000000000000000bad");
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    let answer = daemon.request("GET", "/metrics", &[("accept", accept)], vec![]);
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(open)));
    let text = answer.text();
    let example = format!(" # {{trace_id=\"{trace}\"}} ");
    let of_shell = |line: &&str| line.starts_with("sandbox_executor_execution_duration_seconds_bucket{le=");
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("trace_id")).collect();
    assert!(!lines.is_empty() && lines.iter().all(of_shell), "{text}");
    assert!(lines.iter().all(|line| line.contains(&example)), "{lines:?}");
    assert!(text.ends_with("\n# EOF\n"));
    // Without examples it is what plain text says, but for what has changed since.
    let plain = daemon.request("GET", "/metrics", &[], vec![]).text();
    assert!(!plain.contains("trace_id"));
    let series = |text: &str| -> Vec<String> {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| line.split_inclusive('}').next().unwrap().split(' ').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(series(&text), series(&plain));
}

#[test]
fn the_daemons_own_process_is_told_under_the_names_everybody_uses() {
    let daemon = Daemon::default_settings();
    let samples = daemon.metrics();
    let own = |name: &str| samples[&format!("process_{name}")];
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let of_status = |field: &str| -> f64 {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let resident = of_status("VmRSS:") * 1024.0;
    assert!((own("resident_memory_bytes") / resident - 1.0).abs() < 0.5, "{resident}: {samples:#?}");
    assert!((own("threads") - of_status("Threads:")).abs() < 8.0, "{samples:#?}");
    assert!((3.0..200.0).contains(&own("open_fds")) && own("max_fds") >= own("open_fds"), "{samples:#?}");
    let before = own("cpu_seconds_total");
    daemon.eventually("its CPU time grows", |daemon| daemon.metric("process_cpu_seconds_total") > before);
}
