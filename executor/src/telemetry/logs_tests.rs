use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::{debug, error, info};

use super::super::fields::LONGEST;
use super::super::{events, spans};
use super::*;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that `say` leaves behind.
fn logged(level: LogLevel, format: LogFormat, say: impl FnOnce()) -> String {
    painted(level, format, Paint::Plain, say)
}

fn painted(level: LogLevel, format: LogFormat, paint: Paint, say: impl FnOnce()) -> String {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = subscriber(level, format, paint, "container-1", move || writer.clone());
    tracing::subscriber::with_default(subscriber, say);
    let bytes = captured.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn one_object(lines: &str) -> Value {
    assert_eq!(lines.lines().count(), 1, "{lines:?}");
    assert!(lines.ends_with('\n'));
    serde_json::from_str(lines).unwrap()
}

#[test]
fn a_json_line_is_one_flat_object_with_the_ids_of_its_run() {
    let lines = logged(LogLevel::Info, LogFormat::Json, || {
        let _entered = spans::execution("exec_1", "request-1", Some("trace-1")).entered();
        info!(
            exit_code = -1_i64,
            duration_ms = 12_u64,
            share = 0.5,
            warm = true,
            "{}",
            events::EXECUTION_COMPLETED
        );
    });
    let object = one_object(&lines);
    assert!(lines.starts_with("{\"timestamp\":\""), "{lines}");
    let timestamp = object["timestamp"].as_str().unwrap();
    assert!(timestamp.len() == 24 && timestamp.ends_with('Z'), "{timestamp}");
    for (field, expected) in [
        ("level", Value::from("info")),
        ("event", Value::from("execution_completed")),
        ("container_id", Value::from("container-1")),
        ("execution_id", Value::from("exec_1")),
        ("request_id", Value::from("request-1")),
        ("trace_id", Value::from("trace-1")),
        ("exit_code", Value::from(-1)),
        ("duration_ms", Value::from(12)),
        ("share", Value::from(0.5)),
        ("warm", Value::from(true)),
    ] {
        assert_eq!(object[field], expected, "{field} in {lines}");
    }
}

#[test]
fn the_ids_of_a_run_are_there_even_when_only_errors_are_logged() {
    let lines = logged(LogLevel::Error, LogFormat::Json, || {
        let _entered = spans::execution("exec_1", "request-1", Some("trace-1")).entered();
        info!("{}", events::EXECUTION_STARTED);
        error!("{}", events::EXECUTION_FAILED);
    });
    assert_eq!(one_object(&lines)["execution_id"], "exec_1");
}

const HOSTILE: &str = "a\n{\"level\":\"error\"}\r\u{1b}[31m\u{9b}31m\u{2028}\u{202e}\"\\ \0";

// LG-02
#[test]
fn no_value_can_break_a_line_or_reach_the_terminal() {
    for format in [LogFormat::Json, LogFormat::Text] {
        let lines = logged(LogLevel::Info, format, || {
            let _entered = spans::request(HOSTILE).entered();
            info!(path = HOSTILE, shown = ?HOSTILE, "{}", events::CLEANUP_FAILED);
        });
        assert_eq!(lines.chars().filter(|character| character.is_control()).count(), 1, "{lines:?}");
        assert!(lines.ends_with('\n') && !lines.contains(['\u{2028}', '\u{202e}', '\u{9b}']), "{lines:?}");
        if format == LogFormat::Json {
            assert_eq!(one_object(&lines)["path"], HOSTILE);
        }
    }
}

#[test]
fn a_text_line_reads_from_left_to_right() {
    let lines = logged(LogLevel::Info, LogFormat::Text, || {
        let _entered = spans::execution("exec_1", "request-1", None).entered();
        info!(path = "/tmp/a b", count = 2_u64, empty = "", "{}", events::CLEANUP_FAILED);
    });
    let (_, rest) = lines.split_once(' ').unwrap();
    let expected = "INFO  cleanup_failed path=\"/tmp/a b\" count=2 empty=\"\" execution_id=exec_1 request_id=request-1 \
                    container_id=container-1\n";
    assert_eq!(rest, expected);
}

#[test]
fn colours_are_around_a_line_and_never_from_a_value() {
    let lines = painted(LogLevel::Info, LogFormat::Text, Paint::Coloured, || {
        error!(path = HOSTILE, "{}", events::CLEANUP_FAILED);
    });
    let without = ["\x1b[2m", "\x1b[31m", "\x1b[1m", "\x1b[0m"]
        .iter()
        .fold(lines.clone(), |line, colour| line.replace(colour, ""));
    assert!(lines.contains("\x1b[31mERROR\x1b[0m \x1b[1mcleanup_failed\x1b[0m path="), "{lines:?}");
    assert_eq!(without.chars().filter(|character| character.is_control()).count(), 1, "{lines:?}");
}

#[test]
fn a_place_that_does_not_stop_talking_is_held_back_and_a_run_never_is() {
    let lines = logged(LogLevel::Info, LogFormat::Json, || {
        for _ in 0..1_000 {
            info!("{}", events::EXECUTION_REFUSED);
            info!("{}", events::EXECUTION_COMPLETED);
        }
        error!("{}", events::EXECUTION_REFUSED);
    });
    let count = |event: &str| lines.lines().filter(|line| line.contains(event)).count();
    assert_eq!(count("execution_completed"), 1_000);
    // A machine that is busy may need more than a second for it.
    let refused = count("execution_refused");
    assert!((21..200).contains(&refused), "{refused}");
}

// LG-02
#[test]
fn a_long_value_is_cut_and_its_length_told() {
    let long = "ü".repeat(500_000);
    let lines = logged(LogLevel::Info, LogFormat::Json, || {
        info!(path = %long, debug = ?long, "{}", events::CLEANUP_FAILED);
    });
    let object = one_object(&lines);
    let path = object["path"].as_str().unwrap();
    assert!(path.len() < LONGEST + 64 && path.ends_with("... (1000000 bytes)"), "{}", path.len());
    assert!(lines.len() < 3 * LONGEST, "{}", lines.len());
}

#[test]
fn a_field_cannot_take_the_place_of_the_head_of_the_line() {
    let lines = logged(LogLevel::Info, LogFormat::Json, || {
        info!(level = "error", container_id = "other", event = "forged", "{}", events::EXECUTION_STARTED);
    });
    let object = one_object(&lines);
    assert_eq!(
        (&object["level"], &object["event"]),
        (&Value::from("info"), &Value::from("execution_started"))
    );
    assert_eq!(lines.matches("container_id").count(), 1, "{lines}");
}

#[test]
fn libraries_are_heard_from_warn_up_and_keep_their_own_words() {
    let lines = logged(LogLevel::Trace, LogFormat::Json, || {
        debug!(target: "reqwest::connect", "Authorization: Bearer canary");
        error!(target: "hyper::proto", "went wrong");
        debug!("{}", events::LIFECYCLE_CHANGED);
    });
    assert!(!lines.contains("canary"), "{lines}");
    let objects: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 2, "{lines}");
    assert_eq!(
        (&objects[0]["event"], &objects[0]["message"]),
        (&"library_message".into(), &"went wrong".into())
    );
    assert_eq!(objects[0]["library"], "hyper::proto");
    assert_eq!(objects[1]["event"], "lifecycle_changed");
}

#[test]
fn an_error_is_logged_with_its_causes() {
    let outer = AlreadyStarted(tracing::subscriber::set_global_default(Registry::default()).map_or_else(
        |error| error,
        |()| tracing::subscriber::set_global_default(Registry::default()).expect_err("the second one"),
    ));
    let lines = logged(LogLevel::Info, LogFormat::Json, || {
        error!(error = &outer as &dyn std::error::Error, "{}", events::CLEANUP_FAILED);
    });
    let said = one_object(&lines)["error"].as_str().unwrap().to_owned();
    assert!(said.starts_with("cannot start logging") && said.contains(": a global default"), "{said}");
}
