//! What every route has in common: who may ask, with which method, and the id of the request in every answer.

use conformance::{Answer, Daemon, Settings};
use serde_json::json;

use crate::asking::{at, execute_with, finished, look, shell, submit, until_running};
use crate::stream::Stream;

const TOKEN: &str = "canary-of-the-executions-token-7d1c";

#[test]
fn every_route_wants_the_token_and_does_nothing_without_it() {
    let daemon = Settings::new().with_api_token(TOKEN).start();
    let right = format!("Bearer {TOKEN}");
    let right = ("authorization", &*right);
    let started =
        execute_with(&daemon, &[right, ("prefer", "respond-async")], &shell("exec_mine", "sleep 1000"));
    assert_eq!(started.status, 202, "{}", started.text());
    let events = format!("{}/events", at("exec_mine"));
    let wrong =
        [&[][..], &[("authorization", "Bearer wrong")], &[("x-api-key", TOKEN)]] as [&[(&str, &str)]; 3];
    for headers in wrong {
        for (method, path) in [
            ("GET", at("exec_mine")),
            ("DELETE", at("exec_mine")),
            ("GET", events.clone()),
            ("GET", format!("{events}?token={TOKEN}")),
            ("DELETE", at("exec_unknown")),
            ("GET", at("exec_unknown")),
        ] {
            let answer = daemon.request(method, &path, headers, Vec::new());
            assert_eq!(answer.status, 401, "{method} {path} {headers:?}: {}", answer.text());
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
        for wish in [("prefer", "respond-async"), ("accept", "text/event-stream")] {
            let answer = execute_with(&daemon, &[headers, &[wish]].concat(), &shell("exec_other", "true"));
            assert_eq!(answer.status, 401, "{wish:?} {headers:?}");
        }
    }
    assert_eq!(daemon.request("HEAD", &at("exec_mine"), &[], Vec::new()).status, 401);
    // Nobody without it has ended it or started another one.
    assert_eq!(look(&daemon, "exec_mine")["state"], "running");
    assert_eq!(daemon.get(&at("exec_other")).status, 404);
    assert_eq!(daemon.request("DELETE", &at("exec_mine"), &[right], Vec::new()).status, 202);
    assert_eq!(finished(&daemon, "exec_mine")["status"], "cancelled");
    assert_eq!(daemon.request("GET", &events, &[right], Vec::new()).status, 200);
    assert!(!daemon.log().contains(TOKEN), "{}", daemon.log());
}

#[test]
fn a_method_that_an_address_does_not_take_is_refused_with_those_that_it_does() {
    let daemon = Daemon::default_settings();
    submit(&daemon, &shell("exec_runs", "sleep 1000"));
    until_running(&daemon, "exec_runs");
    for id in ["exec_runs", "exec_unknown"] {
        for (path, allow) in [(at(id), "GET, HEAD, DELETE"), (format!("{}/events", at(id)), "GET, HEAD")] {
            for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
                if allow.contains(method) {
                    continue;
                }
                let answer = daemon.request(method, &path, &[], Vec::new());
                assert_eq!(
                    (answer.status, answer.header("allow")),
                    (405, Some(allow)),
                    "{method} {path}: {}",
                    answer.text()
                );
                assert_eq!(answer.error_code(), "Executor.MethodNotAllowed");
            }
        }
    }
    assert_eq!(look(&daemon, "exec_runs")["state"], "running");
    daemon.request("DELETE", &at("exec_runs"), &[], Vec::new());
    finished(&daemon, "exec_runs");
}

#[test]
fn the_request_s_id_is_in_every_answer_and_in_every_refusal_s_body() {
    let daemon = Daemon::default_settings();
    let events = |id: &str| format!("{}/events", at(id));
    let mine = |method: &str, path: &str, headers: &[(&str, &str)]| -> Answer {
        let id = format!("mine-{method}-{path}");
        let answer = daemon.request(method, path, &[headers, &[("x-request-id", &*id)]].concat(), Vec::new());
        assert_eq!(answer.header("x-request-id"), Some(&*id), "{method} {path}");
        if answer.status >= 400 && method != "HEAD" {
            assert_eq!(answer.json()["request_id"], *id, "{method} {path}");
        }
        // Without one of the caller's, there is one all the same: the harness sees to that.
        assert_eq!(daemon.request(method, path, headers, Vec::new()).status, answer.status);
        answer
    };
    let accepted = execute_with(
        &daemon,
        &[("prefer", "respond-async"), ("x-request-id", "submitted")],
        &shell("exec_done", "echo done"),
    );
    assert_eq!((accepted.status, accepted.header("x-request-id")), (202, Some("submitted")));
    finished(&daemon, "exec_done");
    assert_eq!(mine("GET", &at("exec_done"), &[]).status, 200);
    assert_eq!(mine("HEAD", &at("exec_done"), &[]).status, 200);
    assert_eq!(mine("DELETE", &at("exec_done"), &[]).status, 200);
    assert_eq!(mine("GET", &events("exec_done"), &[]).status, 200);
    assert_eq!(mine("GET", &events("exec_done"), &[("last-event-id", "finished")]).status, 204);
    for method in ["GET", "HEAD", "DELETE"] {
        assert_eq!(mine(method, &at("exec_unknown"), &[]).status, 404);
    }
    assert_eq!(mine("GET", &events("exec_unknown"), &[]).status, 404);
    assert_eq!(mine("PUT", &at("exec_done"), &[]).status, 405);
    let started = execute_with(
        &daemon,
        &[("accept", "text/event-stream"), ("x-request-id", "followed")],
        &shell("exec_followed", "true"),
    );
    assert_eq!((started.status, started.header("x-request-id")), (200, Some("followed")));
}

#[test]
fn a_stream_is_not_for_caches_and_not_held_back_by_proxies() {
    let daemon = Daemon::default_settings();
    let stream = Stream::from_start(&daemon, &shell("exec_told", "echo told"));
    let head = stream.head.to_ascii_lowercase();
    for line in ["\r\ncache-control: no-store\r\n", "\r\nx-accel-buffering: no\r\n"] {
        assert!(head.contains(line), "{head}");
    }
    assert!(!head.contains("content-length"), "{head}");
    assert_eq!(stream.story().stdout.text, "told\n");
}

#[test]
fn a_caller_that_wants_events_gets_them_and_any_other_gets_json() {
    let daemon = Daemon::default_settings();
    for (accept, media) in [
        ("text/event-stream", "text/event-stream"),
        ("application/json;q=0.5, Text/Event-Stream", "text/event-stream"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("text/*", "application/json"),
        ("text/html, application/xhtml+xml", "application/json"),
    ] {
        let answer =
            execute_with(&daemon, &[("accept", accept)], &json!({"language": "shell", "code": "true"}));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(media)), "{accept}");
    }
}
