//! Bodies that are no request at all: not JSON, not declared as JSON, too large. Nothing is started for any of them.

use std::time::{Duration, Instant};

use conformance::{Daemon, Settings};

use crate::quiet::Quiet;
use crate::raw::{Conversation, post_with};

const GOOD: &str = r#"{"code":"true","language":"shell"}"#;

// IN-02
#[test]
fn what_is_not_one_json_object_in_utf_8_is_refused_as_a_whole() {
    let daemon = Daemon::default_settings();
    let quiet = Quiet::from_now(&daemon);
    let utf_16: Vec<u8> = GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bom = [b"\xef\xbb\xbf", GOOD.as_bytes()].concat();
    let truncated: Vec<&[u8]> = (1..GOOD.len()).map(|end| &GOOD.as_bytes()[..end]).collect();
    let trailing = [format!("{GOOD} x"), format!("{GOOD}{GOOD}"), format!("{GOOD}]"), format!("{GOOD}\0")];
    let mut bodies: Vec<&[u8]> = vec![
        b"",
        b" \r\n\t",
        b"null",
        b"[]",
        b"\"x\"",
        b"17",
        b"true",
        b"{'code':'true','language':'shell'}",
        b"{\"code\":\"true\",\"language\":\"shell\",}",
        b"{/* no */\"code\":\"true\",\"language\":\"shell\"}",
        b"// no\n{\"code\":\"true\",\"language\":\"shell\"}",
        b"{\"code\":\"\xff\",\"language\":\"shell\"}",
        b"{\"code\":\"\xc0\x80\",\"language\":\"shell\"}",
        b"{\"code\":\"\xed\xa0\x80\",\"language\":\"shell\"}",
        b"{\"code\":\"a\nb\",\"language\":\"shell\"}",
        b"code=true&language=shell",
        &utf_16,
        &bom,
    ];
    bodies.extend(truncated);
    bodies.extend(trailing.iter().map(String::as_bytes));
    for body in bodies {
        let answer = daemon.post("/execute", "application/json", body.to_vec());
        let shown = String::from_utf8_lossy(body);
        assert_eq!(answer.status, 400, "{shown}: {}", answer.text());
        let problems = &answer.json()["problems"];
        assert_eq!(problems.as_array().unwrap().len(), 1, "{shown}: {problems}");
        assert_eq!(problems[0]["field"], "body", "{shown}");
    }
    // Only the two required fields are missing here, and both are named.
    let empty = daemon.post("/execute", "application/json", b"{}".to_vec()).json();
    let fields: Vec<_> =
        empty["problems"].as_array().unwrap().iter().map(|problem| &problem["field"]).collect();
    assert_eq!(fields, ["code", "language"]);
    quiet.still(&daemon);
}

// IN-12
#[test]
fn a_body_that_is_not_declared_as_plain_json_is_415_and_never_unpacked() {
    let daemon = Daemon::default_settings();
    let quiet = Quiet::from_now(&daemon);
    for content_type in [
        "text/plain",
        "text/json",
        "application/jsonp",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json; charset=latin1",
        "application/json, text/plain",
        "*/*",
        "",
    ] {
        let answer = daemon.request("POST", "/execute", &[("content-type", content_type)], GOOD.into());
        assert_eq!(answer.status, 415, "{content_type}: {}", answer.text());
        assert_eq!(answer.error_code(), "Executor.UnsupportedMediaType", "{content_type}");
    }
    assert_eq!(daemon.request("POST", "/execute", &[], GOOD.into()).status, 415);
    let json = ("content-type", "application/json");
    assert_eq!(daemon.request("POST", "/execute", &[json, json], GOOD.into()).status, 415);
    for encoding in ["gzip", "br", "deflate", "zstd", "identity, gzip", "nonsense"] {
        let headers = [json, ("content-encoding", encoding)];
        let answer = daemon.request("POST", "/execute", &headers, GOOD.into());
        assert_eq!(answer.status, 415, "{encoding}: {}", answer.text());
    }
    quiet.still(&daemon);
    for content_type in
        ["Application/JSON", "application/json; charset=UTF-8", "application/cloudevents+json"]
    {
        let answer = daemon.request("POST", "/execute", &[("content-type", content_type)], GOOD.into());
        assert_eq!(answer.status, 200, "{content_type}: {}", answer.text());
    }
}

// HT-03
#[test]
fn a_declared_size_beyond_the_limit_is_refused_before_a_byte_of_it_is_sent() {
    let daemon = Settings::new().set("MAX_REQUEST_BYTES", 65_536).start();
    let quiet = Quiet::from_now(&daemon);
    for (length, expect) in [
        ("65537", ""),
        ("10737418240", ""),
        ("9223372036854775807", ""),
        // Nobody is told to go on and send what is not wanted.
        ("65537", "Expect: 100-continue\r\n"),
    ] {
        let mut conversation = Conversation::with(&daemon);
        let asked = Instant::now();
        conversation.say(format!(
            "POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{expect}Content-Length: {length}\r\n\r\n"
        ));
        let heard = conversation.hear().unwrap();
        assert_eq!(heard.status, 413, "{length}: {}", heard.head);
        assert_eq!(heard.json()["error_code"], "Executor.PayloadTooLarge");
        assert!(heard.header("x-request-id").is_some());
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        conversation.is_closed();
    }
    quiet.still(&daemon);
    let padded = |length: usize| format!("{GOOD}{}", " ".repeat(length - GOOD.len()));
    let at = |length: usize| daemon.post("/execute", "application/json", padded(length).into()).status;
    assert_eq!((at(65_536), at(65_537)), (200, 413));
}

// HT-03
#[test]
fn a_body_without_a_declared_size_is_refused_when_it_grows_beyond_the_limit() {
    let daemon = Settings::new().set("MAX_REQUEST_BYTES", 65_536).start();
    let quiet = Quiet::from_now(&daemon);
    let mut endless = Conversation::with(&daemon);
    endless.say("POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    // The daemon throws away what comes for a moment, so that a sender that stops can read the answer.
    let begun = Instant::now();
    while endless.say(&chunk) {
        assert!(begun.elapsed() < Duration::from_secs(10), "the daemon goes on reading");
    }
    let heard = endless.hear();
    // A sender that goes on for ever may find the connection reset before it reads; one that stops gets its answer.
    assert!(heard.is_none_or(|heard| heard.status == 413));
    let mut fair = Conversation::with(&daemon);
    fair.say("POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..17 {
        fair.say(&chunk);
    }
    assert_eq!(fair.hear().unwrap().status, 413);
    quiet.still(&daemon);
}

// HT-03
#[test]
fn a_body_of_64_mib_is_refused_and_costs_no_memory() {
    // The growth of its memory is part of what is checked when the daemon ends.
    let daemon = Daemon::default_settings();
    let quiet = Quiet::from_now(&daemon);
    let answer = daemon.post("/execute", "application/json", vec![b' '; 64 << 20]);
    assert_eq!(answer.error_code(), "Executor.PayloadTooLarge");
    quiet.still(&daemon);
}

#[test]
fn a_caller_that_waits_to_be_told_to_go_on_is_told() {
    let daemon = Daemon::default_settings();
    let mut conversation = Conversation::with(&daemon);
    let request = post_with("Expect: 100-continue\r\n", GOOD);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    conversation.say(format!("{head}\r\n\r\n"));
    assert_eq!(conversation.hear().unwrap().status, 100);
    conversation.say(body);
    assert_eq!(conversation.hear().unwrap().status, 200);
}
