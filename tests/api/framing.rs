//! Messages whose frame lies. The connection ends; what was hidden inside is never taken for a request.

use conformance::Daemon;

use crate::quiet::Quiet;
use crate::raw::{Conversation, post};

/// A whole request of its own, to be smuggled in.
fn inner() -> String {
    post(r#"{"code":"echo smuggled","language":"shell"}"#)
}

// HT-04
#[test]
fn broken_framing_is_400_and_hides_no_second_request() {
    let daemon = Daemon::default_settings();
    let quiet = Quiet::from_now(&daemon);
    let json = "Content-Type: application/json\r\n";
    for (head, body) in [
        // Two lengths that differ, a length and chunks, in both orders.
        ("Content-Length: 4\r\nContent-Length: 5", "{}\r\n"),
        ("Content-Length: 4, 5", "{}\r\n"),
        ("Content-Length: 4\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4", "0\r\n\r\n"),
        // Codings that are none of ours.
        ("Transfer-Encoding: xchunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
        ("Transfer-Encoding: gzip", "0\r\n\r\n"),
        // Lengths that are no numbers.
        ("Content-Length: +4", "{}\r\n"),
        ("Content-Length: -1", ""),
        ("Content-Length: 4a", "{}\r\n"),
        ("Content-Length: 0x4", "{}\r\n"),
        ("Content-Length: 99999999999999999999999", ""),
        ("Content-Length:", ""),
        // Characters that do not belong in a header.
        ("X-Null: a\0b\r\nContent-Length: 0", ""),
        ("X-Fold: a\r\n b\r\nContent-Length: 0", ""),
        ("X-Space : a\r\nContent-Length: 0", ""),
        ("X-Return: a\rb\r\nContent-Length: 0", ""),
        (": no name\r\nContent-Length: 0", ""),
        ("no colon\r\nContent-Length: 0", ""),
    ] {
        let mut conversation = Conversation::with(&daemon);
        conversation
            .say(format!("POST /execute HTTP/1.1\r\nHost: x\r\n{json}{head}\r\n\r\n{body}{}", inner()));
        let heard = conversation.hear().unwrap_or_else(|| panic!("no answer to {head:?}"));
        assert_eq!(heard.status, 400, "{head:?}: {}", heard.head);
        conversation.is_closed();
    }
    quiet.still(&daemon);
}

// HT-04
#[test]
fn broken_chunks_end_the_connection_and_hide_no_second_request() {
    let daemon = Daemon::default_settings();
    let quiet = Quiet::from_now(&daemon);
    for chunks in [
        "zz\r\n{}\r\n0\r\n\r\n",
        "-1\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}xx\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\n{}\r\n",
        "2\r\n{}\r\n0\r\nnot a trailer\r\n\r\n",
        "\r\n",
    ] {
        let mut conversation = Conversation::with(&daemon);
        conversation.say(format!(
            "POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{}",
            inner()
        ));
        let heard = conversation.hear();
        assert!(heard.as_ref().is_none_or(|heard| heard.status == 400), "{chunks:?}: {heard:?}");
        conversation.is_closed();
    }
    quiet.still(&daemon);
}

// HT-04
#[test]
fn a_body_is_as_long_as_it_was_declared() {
    let daemon = Daemon::default_settings();
    let quiet = Quiet::from_now(&daemon);
    // Longer than it says: the rest is no request, and is told so.
    let mut longer = Conversation::with(&daemon);
    longer.say(format!(
        "POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}garbage \0\r\n\r\n{}",
        inner()
    ));
    assert_eq!(longer.hear().unwrap().json()["problems"][0]["field"], "code");
    assert_eq!(longer.hear().unwrap().status, 400);
    longer.is_closed();
    // Shorter: it breaks off, and what came is not run.
    let whole = inner();
    let mut shorter = Conversation::with(&daemon);
    shorter.say(whole.replace("Content-Length: 4", "Content-Length: 5"));
    shorter.stream().shutdown(std::net::Shutdown::Write).unwrap();
    let heard = shorter.hear();
    assert!(heard.as_ref().is_none_or(|heard| heard.status == 400), "{heard:?}");
    shorter.is_closed();
    quiet.still(&daemon);
}

// HT-04
#[test]
fn heads_that_are_too_large_or_too_many_are_refused() {
    let daemon = Daemon::default_settings();
    for (request, expected) in [
        (format!("GET /health HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: 1\r\n".repeat(1_000)), [431, 431]),
        (format!("GET /health HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "x".repeat(1 << 20)), [431, 431]),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(64 << 10)), [414, 431]),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(65_530)), [414, 431]),
        (format!("GET /?{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(1 << 20)), [414, 431]),
        ("\0\r\n\r\n".to_owned(), [400, 400]),
        ("GET /health\r\n\r\n".to_owned(), [400, 400]),
        ("GET /health HTTP/3.0\r\n\r\n".to_owned(), [400, 400]),
        ("GET  /health HTTP/1.1\r\n\r\n".to_owned(), [400, 400]),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(), [400, 400]),
    ] {
        let mut conversation = Conversation::with(&daemon);
        conversation.say(&request);
        let heard = conversation.hear().unwrap_or_else(|| panic!("no answer to {request:.40}"));
        assert!(expected.contains(&heard.status), "{request:.40}: {}", heard.head);
        conversation.is_closed();
        assert_eq!(daemon.get("/health/live").status, 200, "the next connection");
    }
}

// HT-04
#[test]
fn lines_that_end_in_a_bare_newline_are_one_request_or_none() {
    let daemon = Daemon::default_settings();
    let mut conversation = Conversation::with(&daemon);
    conversation.say("GET /health/live HTTP/1.1\nHost: x\nConnection: close\n\n");
    let heard = conversation.hear().unwrap();
    assert!([200, 400].contains(&heard.status), "{}", heard.head);
    conversation.is_closed();
}
