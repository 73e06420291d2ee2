//! However a run ends, whoever follows it is told how.

use conformance::{Daemon, Settings};
use serde_json::{Value, json};

use crate::asking::{
    accepted, begin, cancel, finished, hear, in_place, is_cancelled, look, mock, python, queued,
    reported_once, shell, submit, until_it_says,
};
use crate::stream::Stream;

#[test]
fn a_stream_ends_with_how_the_run_ended_whether_it_failed_or_hit_a_limit() {
    let daemon = Daemon::default_settings();
    let with = |mut request: Value, field: &str, value: Value| {
        request[field] = value;
        request
    };
    let spin = python("exec_cpu", "print('partial', flush=True)\nwhile True: pass");
    let hog = python(
        "exec_memory",
        "print('partial', flush=True)\nheld = []\nwhile True: held.append(bytearray(b'x') * (8 << 20))",
    );
    for (request, status, cause) in [
        (shell("exec_exit", "echo partial; exit 7"), "failed", "exit"),
        (shell("exec_signal", "echo partial; kill -SEGV $$"), "failed", "signal"),
        (
            with(shell("exec_timeout", "echo partial; sleep 60"), "timeout", json!(1)),
            "timeout",
            "wall_timeout",
        ),
        (with(spin, "limits", json!({"cpu_seconds": 0.5})), "error", "cpu_limit"),
        (with(hog, "limits", json!({"memory_mb": 64})), "error", "memory_limit"),
    ] {
        let story = Stream::from_start(&daemon, &request).story();
        let result = story.result();
        assert_eq!((&result["status"], &result["cause"]), (&json!(status), &json!(cause)), "{result}");
        assert_eq!(story.stdout.text, "partial\n");
        // What the daemon adds to stderr, the program did not say.
        assert!(result["stderr"].as_str().unwrap().starts_with(&story.stderr.text), "{result}");
        assert_eq!(*result, look(&daemon, request["execution_id"].as_str().unwrap())["result"]);
        assert_eq!(*result, daemon.execute(&request).result());
    }
}

#[test]
fn a_stream_of_a_run_that_is_cancelled_ends_with_that() {
    let daemon = Daemon::default_settings();
    let first = Stream::from_start(&daemon, &shell("exec_cancelled", "echo partial; sleep 1000"));
    until_it_says(&daemon, "exec_cancelled");
    let second = Stream::of(&daemon, "exec_cancelled");
    assert_eq!(cancel(&daemon, "exec_cancelled").status, 202);
    let result = finished(&daemon, "exec_cancelled");
    for story in [first, second].map(Stream::story) {
        is_cancelled(story.result());
        assert_eq!(story.stdout.text, "partial\n");
        assert_eq!(*story.result(), result);
    }
}

#[test]
fn a_stream_of_one_that_is_cancelled_while_it_waits_ends_without_a_beginning() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).start();
    submit(&daemon, &shell("exec_hog", "sleep 1000"));
    let first = Stream::from_start(&daemon, &shell("exec_waits", "echo never"));
    let second = Stream::of(&daemon, "exec_waits");
    assert_eq!(cancel(&daemon, "exec_waits").status, 202);
    for mut stream in [first, second] {
        let events: Vec<_> = std::iter::from_fn(|| stream.next()).collect();
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0].name, "finished");
        is_cancelled(&events[0].data);
    }
    cancel(&daemon, "exec_hog");
    finished(&daemon, "exec_hog");
}

#[test]
fn a_shutdown_ends_streams_with_what_the_control_plane_is_told() {
    let mock = mock();
    let mut daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 2).calling(&mock).start();
    let started = Stream::from_start(&daemon, &in_place("exec_started", "echo partial; sleep 1000"));
    until_it_says(&daemon, "exec_started");
    submit(&daemon, &shell("exec_submitted", "echo partial; sleep 1000"));
    until_it_says(&daemon, "exec_submitted");
    submit(&daemon, &shell("exec_waits", "echo never"));
    let waiting = Stream::of(&daemon, "exec_waits");
    let followed = Stream::of(&daemon, "exec_submitted");
    daemon.signal("TERM");
    for (stream, id, stdout) in [
        (started, "exec_started", "partial\n"),
        (followed, "exec_submitted", "partial\n"),
        (waiting, "exec_waits", ""),
    ] {
        let story = stream.story();
        let result = story.result();
        assert_eq!(
            (&result["status"], &result["cause"]),
            (&json!("crashed"), &json!("daemon_shutdown")),
            "{result}"
        );
        assert_eq!((&result["execution_id"], &story.stdout.text), (&json!(id), &stdout.to_owned()));
        assert_eq!(accepted(&mock, id), *result);
    }
    assert_eq!(daemon.wait().code(), Some(143), "{}", daemon.log());
    assert!(!daemon.log().contains("connections_dropped"), "{}", daemon.log());
    reported_once(&mock, daemon, &["exec_started", "exec_submitted", "exec_waits"]);
}

#[test]
fn a_shutdown_ends_the_stream_of_one_that_was_never_promised_and_never_ran() {
    let mut daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).start();
    submit(&daemon, &shell("exec_hog", "sleep 1000"));
    let caller = begin(&daemon, "", &shell("exec_refused", "echo never"));
    daemon.eventually("it waits", |daemon| queued(daemon) == 1);
    let mut stream = Stream::of(&daemon, "exec_refused");
    daemon.signal("TERM");
    let (status, body) = hear(caller);
    assert_eq!((status, &body["error_code"]), (503, &json!("Executor.ShuttingDown")));
    assert_eq!(stream.next(), None);
    assert_eq!(daemon.wait().code(), Some(143), "{}", daemon.log());
}
