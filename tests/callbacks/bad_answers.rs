//! Answers that no control plane should give: they cost the daemon neither memory, nor its token, nor a result.

use std::collections::BTreeMap;
use std::fs;

use conformance::{Daemon, INTERNAL_TOKEN, Settings};
use control_plane_mock::{Action, Kind, Mock, Options, Rule};

use crate::support::{
    accepted, accepted_in_the_end, attempts, call, daemon, mock, names, nothing_wrong, script, waiting,
};

/// Somewhere in what the control plane says, and never in the log.
const MARKER: &str = "said-by-the-control-plane";

fn saying(code: u16, headers: &[(&str, &str)], body: &str) -> Action {
    let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    Action::Status { code, headers: headers.collect::<BTreeMap<_, _>>(), body: body.to_owned() }
}

fn raw(bytes: impl Into<Vec<u8>>, accepted: bool) -> Action {
    Action::Raw { bytes: bytes.into(), accepted }
}

/// The first result of this execution meets the action.
fn once(mock: &Mock, execution_id: &str, action: Action) {
    mock.script(Rule::new(action).of_execution(execution_id).of_kind(Kind::Result).times(1));
}

/// A line of `/proc/PID/status`, in bytes.
fn memory(daemon: &Daemon, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

/// The daemon has grown by less than 16 MiB, at any moment.
fn not_grown(daemon: &Daemon, before: u64) {
    let peak = memory(daemon, "VmHWM");
    assert!(peak < before + (16 << 20), "{} KiB more", (peak - before) / 1024);
}

#[test]
fn a_redirect_is_not_followed_and_the_token_goes_nowhere_else() {
    let (mock, other) = (mock(), Mock::start(Options::default()).unwrap());
    let daemon = daemon(&mock);
    let codes = [300, 301, 302, 303, 307, 308];
    let ids = codes.map(|code| format!("exec_{code}"));
    for (code, id) in codes.into_iter().zip(&ids) {
        let location = format!("{}/internal/executions/{id}/result", other.url());
        once(&mock, id, Action::Redirect { code, location });
    }
    once(&mock, "exec_here", Action::Redirect { code: 307, location: "/elsewhere".to_owned() });
    let ids: Vec<&str> = ids.iter().map(String::as_str).chain(["exec_here"]).collect();
    for id in &ids {
        daemon.execute(&script(id, "true")).result();
    }
    for id in &ids {
        accepted(&mock, id);
        assert_eq!(attempts(&mock, id).len(), 2, "{id}");
    }
    accepted_in_the_end(&mock, daemon, &ids);
    assert!(other.calls().is_empty(), "{:#?}", other.calls());
    assert!(mock.calls().iter().all(|call| call.kind != Kind::Other));
    nothing_wrong(&mock);
}

#[test]
fn what_a_success_says_does_not_matter() {
    let mock = mock();
    let daemon = daemon(&mock);
    let html = format!("<html><body>{MARKER}</body></html>");
    let answers = [
        ("exec_html", saying(200, &[("content-type", "text/html")], &html)),
        ("exec_json", saying(200, &[("content-type", "application/json")], "{\"error\": \"not at all\"}")),
        ("exec_torn_json", saying(201, &[("content-type", "application/json")], "{\"a\": ")),
        // Nobody unpacks it: neither a bomb nor what is no archive at all.
        ("exec_gzip", saying(200, &[("content-encoding", "gzip")], "this is no archive")),
        ("exec_old", raw("HTTP/1.0 200 OK\r\n\r\nuntil the end", true)),
        ("exec_no_words", raw("HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", true)),
        (
            "exec_hints",
            raw("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
        ),
        ("exec_cookie", saying(204, &[("set-cookie", "a=b"), ("retry-after", "600")], "")),
    ];
    for (id, action) in &answers {
        once(&mock, id, action.clone());
        daemon.execute(&script(id, "true")).result();
    }
    let ids = answers.map(|(id, _)| id);
    for id in ids {
        accepted(&mock, id);
    }
    daemon.eventually("nothing is left on disk", |daemon| names(&daemon.results()).is_empty());
    assert!(!daemon.log().contains(MARKER), "{}", daemon.log());
    assert!(mock.calls().iter().all(|call| !call.headers.contains_key("cookie")));
    drop(daemon);
    for id in ids {
        assert_eq!(attempts(&mock, id).len(), 1, "{id}");
    }
    nothing_wrong(&mock);
}

// CP-03
#[test]
fn garbage_is_no_answer_and_is_not_repeated_in_the_log() {
    let mock = mock();
    let daemon = daemon(&mock);
    let storm = "HTTP/1.1 100 Continue\r\n\r\n".repeat(20_000);
    let long_header = format!("HTTP/1.1 200 OK\r\nx-{MARKER}: {}\r\n\r\n", "a".repeat(10 << 20));
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", format!("x-{MARKER}: a\r\n").repeat(400_000));
    let garbage = [
        ("exec_ssh", raw(format!("SSH-2.0-{MARKER}\r\n"), false)),
        ("exec_0_9", raw(format!("<html>{MARKER}</html>\n"), false)),
        ("exec_zeros", raw(vec![0; 100_000], false)),
        ("exec_no_status", raw(format!("HTTP/1.1 {MARKER}\r\n\r\n"), false)),
        ("exec_four_digits", raw(format!("HTTP/1.1 2000 {MARKER}\r\ncontent-length: 0\r\n\r\n"), false)),
        ("exec_version", raw(format!("HTTP/3.7 200 {MARKER}\r\ncontent-length: 0\r\n\r\n"), false)),
        ("exec_999", raw(format!("HTTP/1.1 999 {MARKER}\r\ncontent-length: 0\r\n\r\n"), false)),
        ("exec_500", raw(format!("HTTP/1.1 500 {MARKER}\r\ncontent-length: 0\r\n\r\n"), false)),
        ("exec_length", raw("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\nx", false)),
        ("exec_lengths", raw("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx", false)),
        ("exec_negative", raw("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nx", false)),
        ("exec_chunk", raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffff\r\nx", false)),
        ("exec_chunk_size", raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nx", false)),
        ("exec_half_head", raw(format!("HTTP/1.1 200 OK\r\nx-{MARKER}: "), false)),
        ("exec_storm", raw(storm, false)),
        (
            "exec_switch",
            raw("HTTP/1.1 101 Switching Protocols\r\nupgrade: tea\r\nconnection: upgrade\r\n\r\n", false),
        ),
        ("exec_long_header", raw(long_header, false)),
        ("exec_many_headers", raw(many_headers, false)),
    ];
    let before = memory(&daemon, "VmHWM");
    for (id, action) in &garbage {
        once(&mock, id, action.clone());
        daemon.execute(&script(id, "true")).result();
    }
    let ids = garbage.map(|(id, _)| id);
    for id in ids {
        accepted(&mock, id);
        let attempts = attempts(&mock, id);
        assert_eq!(attempts.len(), 2, "{id}");
        assert_eq!(attempts[0].body_sha256, attempts[1].body_sha256, "{id}");
    }
    not_grown(&daemon, before);
    for secret in [MARKER, INTERNAL_TOKEN] {
        assert!(!daemon.log().contains(secret), "{}", daemon.log());
    }
    accepted_in_the_end(&mock, daemon, &ids);
    nothing_wrong(&mock);
}

// CP-03
#[test]
fn an_answer_of_gigabytes_counts_and_costs_no_memory() {
    let mock = mock();
    let daemon = daemon(&mock);
    let before = memory(&daemon, "VmHWM");
    mock.script(Rule::new(Action::Huge { bytes: 2 << 30 }).of_kind(Kind::Result));
    for id in ["exec_1", "exec_2", "exec_3"] {
        daemon.execute(&script(id, "true")).result();
        accepted(&mock, id);
    }
    daemon.eventually("nothing is left on disk", |daemon| names(&daemon.results()).is_empty());
    not_grown(&daemon, before);
    drop(daemon);
    for id in ["exec_1", "exec_2", "exec_3"] {
        assert_eq!(attempts(&mock, id).len(), 1);
    }
    nothing_wrong(&mock);
}

// CP-03
#[test]
fn a_refusal_of_gigabytes_costs_no_memory_either() {
    let mock = mock();
    let daemon = daemon(&mock);
    let before = memory(&daemon, "VmHWM");
    let body = format!("{MARKER}{}", "x".repeat(64 << 20));
    once(&mock, "exec_later", saying(503, &[], &body));
    once(&mock, "exec_never", saying(413, &[], &body));
    for id in ["exec_later", "exec_never"] {
        daemon.execute(&script(id, "true")).result();
    }
    accepted(&mock, "exec_later");
    daemon.eventually("one is set aside", |daemon| !daemon.events("callback_set_aside").is_empty());
    not_grown(&daemon, before);
    assert!(!daemon.log().contains(MARKER));
    nothing_wrong(&mock);
}

// CP-02
#[test]
fn an_answer_in_drips_is_one_answer() {
    let mock = mock();
    let daemon = daemon(&mock);
    once(&mock, "exec_slow", Action::Slow { bytes_per_second: 30 });
    daemon.execute(&script("exec_slow", "true")).result();
    accepted(&mock, "exec_slow");
    daemon.execute(&script("exec_quick", "true")).result();
    accepted(&mock, "exec_quick");
    daemon.eventually("nothing is left on disk", |daemon| names(&daemon.results()).is_empty());
    drop(daemon);
    assert_eq!(attempts(&mock, "exec_slow").len(), 1);
    nothing_wrong(&mock);
}

// CP-04
#[test]
fn what_the_control_plane_does_not_want_is_kept_for_a_person_and_not_sent_again() {
    let mock = mock();
    let daemon = Settings::new().calling(&mock).set("LOG_LEVEL", "debug").start();
    call(&mock, |call| call.kind == Kind::Ready);
    let codes = [400, 402, 404, 405, 406, 410, 411, 413, 414, 415, 422, 426, 431, 451, 499];
    let ids = codes.map(|code| format!("exec_{code}"));
    for (code, id) in codes.into_iter().zip(&ids) {
        let refusal = saying(code, &[("x-reason", MARKER), ("retry-after", "1")], MARKER);
        mock.script(Rule::new(refusal).of_execution(id).of_kind(Kind::Result));
        daemon.execute(&script(id, "echo kept")).result();
    }
    daemon.eventually("all are set aside", |daemon| {
        daemon.events("callback_set_aside").len() == codes.len() && waiting(daemon, "pending") == 0
    });
    daemon.eventually("they are counted", |daemon| waiting(daemon, "set_aside") == codes.len() as u64);
    assert_eq!(names(&daemon.results()), ["set-aside"]);
    let aside = daemon.results().join("set-aside");
    assert_eq!(names(&aside).len(), codes.len());
    for (code, id) in codes.into_iter().zip(&ids) {
        let attempts = attempts(&mock, id);
        let key = attempts[0].idempotency_key.clone().unwrap();
        let file = aside.join(format!("{key}.http-{code}.json"));
        let kept: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(kept["result"], *attempts[0].body);
        let of_it = |event: &&serde_json::Value| event["execution_id"] == **id;
        let events = daemon.events("callback_set_aside");
        let event = events.iter().find(of_it).unwrap();
        assert_eq!((&event["http_status"], &event["level"]), (&code.into(), &"error".into()), "{event}");
    }
    for secret in [MARKER, INTERNAL_TOKEN] {
        assert!(!daemon.log().contains(secret), "{}", daemon.log());
    }
    // Everything that still waited is tried once more at the end.
    drop(daemon);
    for id in &ids {
        assert_eq!(attempts(&mock, id).len(), 1, "{id}");
    }
    nothing_wrong(&mock);
}

#[test]
fn what_was_set_aside_stays_so_for_the_next_daemon() {
    let mock = mock();
    let first = daemon(&mock);
    once(&mock, "exec_aside", saying(422, &[], ""));
    first.execute(&script("exec_aside", "true")).result();
    first.eventually("it is set aside", |daemon| !daemon.events("callback_set_aside").is_empty());
    let next = first.kill().restart();
    next.eventually("it is counted", |daemon| waiting(daemon, "set_aside") == 1);
    assert_eq!(waiting(&next, "pending"), 0);
    drop(next);
    assert_eq!(attempts(&mock, "exec_aside").len(), 1);
    nothing_wrong(&mock);
}
