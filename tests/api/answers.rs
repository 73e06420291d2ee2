//! What every answer has, whatever it says: an id, and for an error a body that helps and tells nothing of the inside.

use std::collections::BTreeSet;
use std::thread;

use conformance::{Answer, Daemon, Settings};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");
const GOOD: &str = r#"{"code":"true","language":"shell","execution_id":"exec_first"}"#;

/// One refusal of each kind that a request alone can cause.
fn refusals(daemon: &Daemon) -> Vec<(u16, Answer)> {
    assert_eq!(daemon.request("POST", "/execute", &[JSON], GOOD.into()).status, 200);
    let other = GOOD.replace("true", "false");
    let ask = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        let headers = [headers, &[("x-request-id", "mine-1")]].concat();
        daemon.request(method, path, &headers, body.into())
    };
    vec![
        (400, ask("POST", "/execute", &[JSON], "{")),
        (400, ask("POST", "/execute", &[JSON], r#"{"cod":1}"#)),
        (404, ask("GET", "/nowhere", &[], "")),
        (405, ask("GET", "/execute", &[], "")),
        (409, ask("POST", "/execute", &[JSON], &other)),
        (413, ask("POST", "/execute", &[JSON], &" ".repeat(70_000))),
        (415, ask("POST", "/execute", &[], GOOD)),
    ]
}

// LG-05
#[test]
fn each_refusal_has_all_five_fields_and_tells_nothing_of_the_inside() {
    let daemon = Settings::new().set("MAX_REQUEST_BYTES", 65_536).start();
    for (status, answer) in refusals(&daemon) {
        assert_eq!(answer.status, status, "{}", answer.text());
        helps_and_leaks_nothing(&daemon, &answer);
        assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    }
}

fn helps_and_leaks_nothing(daemon: &Daemon, answer: &Answer) {
    let body = answer.json();
    for field in ["error_code", "description", "solution", "request_id"] {
        assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {body}");
    }
    assert!(body.get("error_detail").is_some(), "{body}");
    assert_eq!(body["request_id"].as_str(), answer.header("x-request-id"));
    let text = answer.text();
    let home = daemon.home().to_str().unwrap();
    for inside in [home, "/usr/", "/proc/", ".rs:", "panicked", "RUST_", "backtrace", "bwrap"] {
        assert!(!text.contains(inside), "{inside}: {text}");
    }
}

#[test]
fn a_sane_request_id_is_taken_over_and_any_other_replaced() {
    let daemon = Daemon::default_settings();
    let longest = "x".repeat(128);
    for sane in ["a", "req-1", r#"{"level":"error"}"#, longest.as_str()] {
        for path in ["/health", "/nowhere"] {
            let answer = daemon.request("GET", path, &[("x-request-id", sane)], Vec::new());
            assert_eq!(answer.header("x-request-id"), Some(sane));
        }
    }
    let too_long = "x".repeat(129);
    let mut made = Vec::new();
    for strange in ["", "a b", "a\tb", too_long.as_str()] {
        let answer = daemon.request("GET", "/health", &[("x-request-id", strange)], Vec::new());
        made.push(answer.header("x-request-id").unwrap().to_owned());
    }
    let twice = [("x-request-id", "one"), ("x-request-id", "two")];
    made.push(
        daemon.request("GET", "/health", &twice, Vec::new()).header("x-request-id").unwrap().to_owned(),
    );
    assert!(
        made.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())),
        "{made:?}"
    );
    let different: BTreeSet<_> = made.iter().collect();
    assert_eq!(different.len(), made.len());
}

#[test]
fn the_request_id_and_the_trace_are_in_every_line_of_its_run() {
    let daemon = Daemon::default_settings();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let headers = [JSON, ("x-request-id", "traced-7"), ("traceparent", &parent)];
    assert_eq!(daemon.request("POST", "/execute", &headers, GOOD.into()).status, 200);
    assert_eq!(daemon.request("POST", "/execute", &headers, b"{}".into()).status, 400);
    daemon.eventually("both are logged", |daemon| {
        daemon.events("execution_refused").len() == 1 && daemon.events("execution_completed").len() == 1
    });
    assert_eq!(daemon.events("execution_refused")[0]["trace_id"], trace);
    let log = daemon.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_the_run: Vec<_> = lines.iter().filter(|line| line["execution_id"] == "exec_first").collect();
    assert!(of_the_run.len() >= 2, "{log}");
    assert!(of_the_run.iter().all(|line| line["request_id"] == "traced-7"), "{log}");
    assert!(of_the_run.iter().all(|line| line["trace_id"] == trace), "{log}");
}

#[test]
fn a_run_without_a_trace_gets_one_whatever_its_caller_wrote() {
    let daemon = Daemon::default_settings();
    let mut seen = BTreeSet::new();
    for (number, written) in
        ["nonsense", "00-\"}-x-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01"]
            .into_iter()
            .enumerate()
    {
        let body = json!({"code": "true", "language": "shell", "execution_id": format!("exec_{number}")});
        let headers = [JSON, ("traceparent", written), ("tracestate", "\"}=x")];
        assert_eq!(daemon.request("POST", "/execute", &headers, body.to_string().into()).status, 200);
        daemon.eventually("it is logged", |daemon| daemon.events("execution_started").len() > number);
        let line = &daemon.events("execution_started")[number];
        let trace = line["trace_id"].as_str().unwrap().to_owned();
        assert!(trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
        assert!(seen.insert(trace), "{line}");
    }
    assert!(!daemon.log().contains("nonsense") && !daemon.log().contains("=x"), "{}", daemon.log());
    assert!(!daemon.get("/metrics").text().contains(seen.first().unwrap()));
}

#[test]
fn a_program_finds_its_trace_only_where_that_is_wanted() {
    let show = "echo \"${TRACEPARENT:-none}\"";
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let body = json!({"code": show, "language": "shell", "workspace": "fresh"}).to_string();
    let headers = [JSON, ("traceparent", parent)];
    let shown = |daemon: &Daemon, body: &str| {
        daemon.request("POST", "/execute", &headers, body.to_owned().into()).result()["stdout"].clone()
    };
    assert_eq!(shown(&Daemon::default_settings(), &body), "none\n");
    let daemon = Settings::new().set("TRACEPARENT_IN_SANDBOX", "true").start();
    assert_eq!(shown(&daemon, &body), format!("{parent}\n"));
    let own =
        json!({"code": show, "language": "shell", "workspace": "fresh", "env_vars": {"TRACEPARENT": "mine"}});
    assert_eq!(shown(&daemon, &own.to_string()), "mine\n");
}

#[test]
fn answers_stay_apart_when_many_are_asked_at_once() {
    let daemon = Settings::new().set("EXECUTOR_QUEUE", 50).start();
    thread::scope(|scope| {
        for number in 0..20 {
            let daemon = &daemon;
            scope.spawn(move || {
                let id = format!("parallel-{number}");
                let body =
                    json!({"code": format!("echo {number}"), "language": "shell", "workspace": "fresh"});
                let headers = [JSON, ("x-request-id", &*id)];
                let answer = daemon.request("POST", "/execute", &headers, body.to_string().into());
                assert_eq!(answer.header("x-request-id"), Some(&*id));
                assert_eq!(answer.result()["stdout"], format!("{number}\n"));
            });
        }
    });
}
