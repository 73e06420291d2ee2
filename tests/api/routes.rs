//! Methods and paths that are almost right. Only the exact address is served.

use conformance::Daemon;

use crate::quiet::Quiet;
use crate::raw::Conversation;

const GOOD: &str = r#"{"code":"echo served","language":"shell"}"#;

fn ask(daemon: &Daemon, line: &str, headers: &str) -> Option<crate::raw::Heard> {
    let mut conversation = Conversation::with(daemon);
    conversation.say(format!(
        "{line} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{GOOD}",
        GOOD.len()
    ));
    conversation.hear()
}

// HT-07
#[test]
fn only_the_exact_path_and_method_runs_anything() {
    let daemon = Daemon::default_settings();
    let quiet = Quiet::from_now(&daemon);
    for (line, status) in [
        ("GET /execute", 405),
        ("PUT /execute", 405),
        ("PATCH /execute", 405),
        ("DELETE /execute", 405),
        ("OPTIONS /execute", 405),
        ("TRACE /execute", 405),
        ("BREW /execute", 405),
        ("post /execute", 405),
        ("POST /execute/", 404),
        ("POST //execute", 404),
        ("POST /%65xecute", 404),
        ("POST /Execute", 404),
        ("POST /execute%00", 404),
        ("POST /execute;x=1", 404),
        ("POST /./execute", 404),
        ("POST /health/../execute", 404),
        ("POST /", 404),
        ("POST /health", 405),
        ("OPTIONS *", 404),
        ("POST /executions/exec_a", 405),
        ("GET /executions/exec_a/artifacts/../../etc/passwd", 404),
        ("GET /executions/exec_a/artifacts/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET /openapi.yaml/../../../etc/passwd", 404),
    ] {
        let heard = ask(&daemon, line, "").unwrap_or_else(|| panic!("no answer to {line}"));
        assert_eq!(heard.status, status, "{line}: {}", heard.head);
        let body = heard.json();
        let code = if status == 404 { "Executor.NotFound" } else { "Executor.MethodNotAllowed" };
        assert_eq!(body["error_code"], code, "{line}");
        assert_eq!(heard.header("x-request-id"), body["request_id"].as_str(), "{line}");
        assert_eq!(heard.header("allow").is_some(), status == 405, "{line}");
    }
    let mut head = Conversation::with(&daemon);
    head.say("HEAD /execute HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(head.hear_head().unwrap().status, 405);
    head.is_closed();
    let tunnel = ask(&daemon, "CONNECT example.com:443", "");
    assert!(tunnel.as_ref().is_none_or(|heard| [400, 404, 405].contains(&heard.status)), "{tunnel:?}");
    quiet.still(&daemon);
}

// HT-07
#[test]
fn a_whole_address_or_a_foreign_host_changes_nothing_about_the_path() {
    let daemon = Daemon::default_settings();
    let heard = ask(&daemon, "POST http://elsewhere.example/execute", "").unwrap();
    assert_eq!(heard.json()["stdout"], "served\n", "{}", heard.head);
    let heard = ask(&daemon, "GET http://elsewhere.example/nowhere", "").unwrap();
    assert_eq!(heard.status, 404);
    let heard = ask(&daemon, "POST /execute?execution_id=exec_query&code=x", "").unwrap();
    assert_eq!(heard.json()["stdout"], "served\n", "{}", heard.head);
    assert_ne!(heard.json()["execution_id"], "exec_query");
}

// HT-07
#[test]
fn another_protocol_is_not_switched_to() {
    let daemon = Daemon::default_settings();
    for upgrade in [
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ] {
        let heard = ask(&daemon, "POST /execute", upgrade).unwrap();
        assert_eq!(heard.status, 200, "{}", heard.head);
        assert_eq!(heard.header("upgrade"), None);
    }
    let mut preface = Conversation::with(&daemon);
    preface.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let heard = preface.hear();
    assert!(heard.as_ref().is_none_or(|heard| heard.status == 400), "{heard:?}");
    preface.is_closed();
}

#[test]
fn what_can_be_got_can_be_asked_about_with_head() {
    let daemon = Daemon::default_settings();
    for path in ["/health", "/health/live", "/health/ready", "/info", "/openapi.yaml"] {
        let answer = daemon.request("HEAD", path, &[], Vec::new());
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{path}");
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let answer = daemon.request(method, path, &[], Vec::new());
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method} {path}");
        }
    }
}
