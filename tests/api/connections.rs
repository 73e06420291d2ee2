//! Slow, silent and numerous clients: each costs its own connection and nothing else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use conformance::{Daemon, Settings};
use serde_json::json;

use crate::raw::{Conversation, post};

/// The daemon's own deadlines, with what a busy machine may add.
const HEADERS: Duration = Duration::from_secs(10);
const BODY: Duration = Duration::from_secs(30);
const SLACK: Duration = Duration::from_secs(5);

/// How long `/health` took, on a connection of its own.
fn health_took(daemon: &Daemon) -> Duration {
    let asked = Instant::now();
    let mut conversation = Conversation::with(daemon);
    conversation.say("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(conversation.hear().unwrap().status, 200);
    asked.elapsed()
}

/// True when the daemon has ended this connection.
fn has_ended(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let ended = match stream.read(&mut [0; 1]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    };
    stream.set_nonblocking(false).unwrap();
    ended
}

// HT-01, HT-02
#[test]
fn slow_clients_are_closed_at_their_deadlines_and_hold_up_nobody() {
    linux::rlimits::raise_open_files().unwrap();
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).set("EXECUTOR_QUEUE", 0).start();
    thread::scope(|scope| {
        scope.spawn(|| slow_headers(&daemon));
        scope.spawn(|| slow_body(&daemon));
        scope.spawn(|| half_a_body(&daemon));
    });
}

/// A thousand: half of them say nothing, half a byte now and then.
fn slow_headers(daemon: &Daemon) {
    let opened = Instant::now();
    let mut streams: Vec<TcpStream> = (0..1_000).map(|_| daemon.connect()).collect();
    let mut told = Instant::now();
    for stream in streams.iter_mut().step_by(2) {
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ").unwrap();
    }
    loop {
        let took = health_took(daemon);
        assert!(took < Duration::from_secs(1), "/health took {took:?}");
        streams.retain(|stream| !has_ended(stream));
        if streams.is_empty() {
            break;
        }
        let waited = opened.elapsed();
        assert!(waited < HEADERS + SLACK, "{} are still open after {waited:?}", streams.len());
        if told.elapsed() > Duration::from_secs(4) {
            // Those that were closed meanwhile do not take it.
            streams.iter_mut().for_each(|stream| drop(stream.write(b"x")));
            told = Instant::now();
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert!(opened.elapsed() > HEADERS - Duration::from_secs(1), "{:?}", opened.elapsed());
}

/// One byte per second takes neither a slot nor for ever.
fn slow_body(daemon: &Daemon) {
    let mut conversation = Conversation::with(daemon);
    let begun = Instant::now();
    conversation.say("POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1048576\r\n\r\n");
    let mut trickle = conversation.stream().try_clone().unwrap();
    let trickling = thread::spawn(move || {
        while trickle.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_secs(1));
        }
    });
    assert_eq!(daemon.run("shell", "echo meanwhile")["stdout"], "meanwhile\n");
    timed_out(conversation, begun);
    trickling.join().unwrap();
}

/// So does a body that stops half way.
fn half_a_body(daemon: &Daemon) {
    let mut conversation = Conversation::with(daemon);
    let begun = Instant::now();
    conversation.say("POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{\"code\":");
    timed_out(conversation, begun);
}

fn timed_out(mut conversation: Conversation, begun: Instant) {
    conversation.stream().set_read_timeout(Some(BODY + SLACK)).unwrap();
    let heard = conversation.hear().unwrap();
    let took = begun.elapsed();
    assert_eq!(heard.status, 408, "{}", heard.head);
    assert_eq!(heard.json()["error_code"], "Executor.RequestTimeout");
    assert!(took > BODY - Duration::from_secs(1) && took < BODY + SLACK, "{took:?}");
    conversation.is_closed();
}

// HT-06
#[test]
fn beside_a_thousand_idle_connections_health_answers_within_a_second_and_runs_work() {
    linux::rlimits::raise_open_files().unwrap();
    let daemon = Daemon::default_settings();
    let idle: Vec<Conversation> = (0..1_000)
        .map(|_| {
            let mut conversation = Conversation::with(&daemon);
            conversation.say("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n");
            assert_eq!(conversation.hear().unwrap().status, 200);
            conversation
        })
        .collect();
    for _ in 0..10 {
        let took = health_took(&daemon);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    assert_eq!(daemon.run("shell", "echo works")["stdout"], "works\n");
    // When they leave, their descriptors return: that is checked when the daemon ends.
    drop(idle);
}

// HT-09
#[test]
fn health_answers_within_a_second_under_busy_runs_and_large_answers() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 8).start();
    let busy =
        json!({"language": "shell", "code": "while :; do :; done", "timeout": 3, "workspace": "fresh"});
    let loud = json!({"language": "python", "mode": "script", "code": "print('x' * (10 << 20))", "workspace": "fresh"});
    thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|number| {
                let (daemon, request) = (&daemon, if number < 6 { &busy } else { &loud });
                scope.spawn(move || daemon.execute(request).result())
            })
            .collect();
        let mut worst = Duration::ZERO;
        while runs.iter().any(|run| !run.is_finished()) {
            worst = worst.max(health_took(&daemon));
            thread::sleep(Duration::from_millis(20));
        }
        assert!(worst < Duration::from_secs(1), "{worst:?}");
    });
}

// HT-05
#[test]
fn pipelined_requests_are_answered_in_order() {
    let daemon = Settings::new().set("EXECUTOR_QUEUE", 100).start();
    let mut conversation = Conversation::with(&daemon);
    let requests: String = (0..100)
        .map(|number| match number % 20 {
            0 => post(&format!(r#"{{"code":"echo {number}","language":"shell"}}"#)),
            _ => post(&format!(r#"{{"unknown{number}":1}}"#)),
        })
        .collect();
    conversation.say(requests);
    for number in 0..100 {
        let heard = conversation.hear().unwrap();
        if number % 20 == 0 {
            assert_eq!(heard.json()["stdout"], format!("{number}\n"));
        } else {
            assert_eq!(heard.json()["problems"][0]["field"], format!("unknown{number}"));
        }
    }
}

// HT-05
#[test]
fn nothing_of_a_refused_upload_is_taken_for_the_next_request() {
    let daemon = Settings::new().set("MAX_REQUEST_BYTES", 1_024).start();
    let mut conversation = Conversation::with(&daemon);
    let inner = post(r#"{"code":"echo smuggled","language":"shell"}"#);
    conversation.say(format!(
        "POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2048\r\n\r\n{inner}"
    ));
    assert_eq!(conversation.hear().unwrap().status, 413);
    // The rest of the body and a request behind it, on the same socket: nobody answers.
    conversation.say(format!("{}{inner}", " ".repeat(2048)));
    conversation.is_closed();
    assert!(!daemon.log().contains("execution_started"), "{}", daemon.log());
}

#[test]
fn a_connection_is_used_again_after_a_refusal_whose_body_was_read() {
    let daemon = Daemon::default_settings();
    let mut conversation = Conversation::with(&daemon);
    for _ in 0..3 {
        conversation.say(post("{}"));
        assert_eq!(conversation.hear().unwrap().status, 400);
        conversation.say(post(r#"{"code":"echo again","language":"shell"}"#));
        assert_eq!(conversation.hear().unwrap().json()["stdout"], "again\n");
    }
}
