//! What a stream of events tells: everything, in order, byte for byte, and when it was said.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use conformance::{Daemon, Settings};
use serde_json::{Value, json};

use crate::asking::{
    UNTIL_GO, at, cancel, finished, go, in_place, look, python, shell, submit, until_started,
};
use crate::stream::Stream;

#[test]
fn it_begins_tells_what_is_said_as_it_is_said_and_ends_with_the_result() {
    let daemon = Daemon::default_settings();
    let code = "echo one; touch started; while [ ! -e go ]; do sleep 0.02; done; echo two; echo err >&2";
    let mut stream = Stream::from_start(&daemon, &in_place("exec_told", code));
    let event = stream.next().unwrap();
    assert_eq!((event.name.as_str(), &event.data), ("started", &json!({"execution_id": "exec_told"})));
    let event = stream.next().unwrap();
    assert_eq!(
        (event.name.as_str(), &event.data),
        ("stdout", &json!({"offset": 0, "text": "one\n", "missed_bytes": 0}))
    );
    // Only now: nothing of it was held back.
    go(&daemon);
    let mut rest: Vec<_> = std::iter::from_fn(|| stream.next()).collect();
    let last = rest.pop().unwrap();
    assert_eq!((last.name.as_str(), last.id.as_str()), ("finished", "finished"));
    rest.sort_by(|one, other| one.name.cmp(&other.name));
    let rest: Vec<_> = rest.iter().map(|event| (event.name.as_str(), &event.data)).collect();
    assert_eq!(
        rest,
        [
            ("stderr", &json!({"offset": 0, "text": "err\n", "missed_bytes": 0})),
            ("stdout", &json!({"offset": 4, "text": "two\n", "missed_bytes": 0})),
        ]
    );
    assert_eq!(last.data, look(&daemon, "exec_told")["result"]);
    assert_eq!(last.data["stdout"], "one\ntwo\n");
}

#[test]
fn whoever_starts_it_and_whoever_joins_hear_the_same() {
    let daemon = Daemon::default_settings();
    let code = format!("echo before; {UNTIL_GO}; echo after; echo err >&2; exit 3");
    let first = Stream::from_start(&daemon, &in_place("exec_shared", &code));
    until_started(&daemon);
    let second = Stream::of(&daemon, "exec_shared");
    go(&daemon);
    let result = finished(&daemon, "exec_shared");
    let third = Stream::of(&daemon, "exec_shared");
    for stream in [first, second, third] {
        let story = stream.story();
        story.is_whole();
        assert_eq!((story.stdout.text.as_str(), story.stderr.text.as_str()), ("before\nafter\n", "err\n"));
        assert_eq!(*story.result(), result);
    }
}

/// Of one, two, three and four bytes.
const CHARACTERS: &str = "h\u{e9}llo \u{20ac} \u{1f600} caf\u{e9}\u{1f468}\u{200d}\u{1f469}";

#[test]
fn a_character_that_is_written_byte_by_byte_is_told_once_it_is_whole() {
    let daemon = Daemon::default_settings();
    let code = format!(
        "import os, time\nfor byte in {}.encode():\n    for stream in (1, 2):\n        os.write(stream, bytes([byte]))\n    time.sleep(0.03)\n",
        literal(CHARACTERS)
    );
    let mut stream = Stream::from_start(&daemon, &python("exec_bytes", &code));
    let mut story = crate::stream::Story::default();
    let mut pieces = 0;
    while let Some(event) = stream.next() {
        if let Some(text) = event.data["text"].as_str().filter(|_| event.name != "finished") {
            assert!(!text.contains('\u{FFFD}'), "half a character: {event:?}");
            pieces += 1;
        }
        story.hear(&event);
    }
    story.is_whole();
    assert_eq!((story.stdout.text.as_str(), story.stderr.text.as_str()), (CHARACTERS, CHARACTERS));
    assert!(pieces > 10, "nothing was told meanwhile: {pieces}");
}

/// The text as Python writes it in ASCII.
fn literal(text: &str) -> String {
    let escaped: String = text.chars().map(|char| format!("\\U{:08x}", u32::from(char))).collect();
    format!("'{escaped}'")
}

#[test]
fn bytes_that_are_no_text_are_replaced_as_they_are_in_the_result() {
    let daemon = Daemon::default_settings();
    let code = "import os, time
for part in (b'ok \\xff\\xfe', b'\\xc3', b'(', b'\\xf0\\x9f\\x98', b'x\\x80\\x80', b'\\xed\\xa0\\x80', b'\\xf4\\x90\\x80\\x80', b'\\xe2\\x82', b'\\xac', bytes(range(256)), b'\\xf0\\x9f'):
    for stream in (1, 2):
        os.write(stream, part)
    time.sleep(0.03)
";
    let live = Stream::from_start(&daemon, &python("exec_garbage", code)).story();
    live.is_whole();
    assert!(live.stdout.text.contains('\u{FFFD}') && live.stdout.text.contains('\u{20ac}'));
    assert!(live.stdout.text.ends_with('\u{FFFD}'), "{:?}", live.stdout.text);
    let late = Stream::of(&daemon, "exec_garbage").story();
    late.is_whole();
    assert_eq!(late.finished, live.finished);
}

#[test]
fn five_mebibytes_of_lines_arrive_whole() {
    let daemon = Daemon::default_settings();
    let code = "import sys
for block in range(0, 327680, 4096):
    sys.stdout.write(''.join(f'{line:015}\\n' for line in range(block, block + 4096)))
    sys.stdout.flush()
    sys.stderr.write(f'{block}\\n')
";
    let live = Stream::from_start(&daemon, &python("exec_lines", code)).story();
    live.is_whole();
    assert_eq!(live.stdout.text.len(), 5 << 20);
    let lines = live.stdout.text.lines().enumerate();
    assert!(lines.into_iter().all(|(number, line)| line.parse() == Ok(number)));
    let late = Stream::of(&daemon, "exec_lines").story();
    late.is_whole();
    assert_eq!(late.finished, live.finished);
}

#[test]
fn what_is_said_arrives_within_fifty_milliseconds() {
    let daemon = Daemon::default_settings();
    let code = "import time\nfor _ in range(21):\n    print(time.time(), flush=True)\n    time.sleep(0.07)\n";
    let mut stream = Stream::from_start(&daemon, &python("exec_timed", code));
    let mut delays = Vec::new();
    let mut result = Value::Null;
    while let Some(event) = stream.next() {
        match event.name.as_str() {
            "stdout" => {
                for line in event.data["text"].as_str().unwrap().lines() {
                    let said = UNIX_EPOCH + Duration::from_secs_f64(line.parse().unwrap());
                    delays.push(event.arrived.duration_since(said).unwrap_or_default());
                }
            }
            "finished" => result = event.data,
            _ => {}
        }
    }
    assert_eq!((&result["status"], delays.len()), (&json!("success"), 21), "{result}");
    delays.sort_unstable();
    let (median, longest) = (delays[10], delays[20]);
    eprintln!("from the program to the reader: median {median:?}, longest {longest:?}");
    assert!(median <= Duration::from_millis(50), "{delays:?}");
    assert!(longest <= Duration::from_secs(2), "{delays:?}");
}

#[test]
fn the_stream_of_one_that_waits_is_silent_until_it_begins() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).start();
    submit(&daemon, &in_place("exec_hog", UNTIL_GO));
    until_started(&daemon);
    let first = Stream::from_start(&daemon, &shell("exec_waits", "echo mine"));
    let second = Stream::of(&daemon, "exec_waits");
    assert_eq!(look(&daemon, "exec_waits")["state"], "queued");
    let asked = SystemTime::now();
    go(&daemon);
    for mut stream in [first, second] {
        let event = stream.next().unwrap();
        assert_eq!(event.name, "started");
        assert!(event.arrived >= asked, "it was told before it began");
        let mut story = crate::stream::Story::default();
        story.hear(&event);
        while let Some(event) = stream.next() {
            story.hear(&event);
        }
        story.is_whole();
        assert_eq!(story.stdout.text, "mine\n");
    }
}

#[test]
fn one_that_says_nothing_has_a_beginning_and_an_end() {
    let daemon = Daemon::default_settings();
    let mut stream = Stream::from_start(&daemon, &shell("exec_silent", "true"));
    let names: Vec<_> = std::iter::from_fn(|| stream.next()).map(|event| event.name).collect();
    assert_eq!(names, ["started", "finished"]);
}

#[test]
fn a_handler_s_value_is_in_the_result_and_not_in_its_stream() {
    let daemon = Daemon::default_settings();
    let code = "def handler(event):\n    print('said')\n    return {'value': event}";
    let request = json!({"language": "python", "code": code, "event": [1], "execution_id": "exec_value"});
    let story = Stream::from_start(&daemon, &request).story();
    story.is_whole();
    assert_eq!(
        (story.stdout.text.as_str(), &story.result()["return_value"]),
        ("said\n", &json!({"value": [1]}))
    );
}

#[test]
fn looking_at_a_stream_with_head_neither_waits_nor_disturbs() {
    let daemon = Daemon::default_settings();
    submit(&daemon, &in_place("exec_asked", UNTIL_GO));
    until_started(&daemon);
    for path in [at("exec_asked"), format!("{}/events", at("exec_asked"))] {
        let answer = daemon.request("HEAD", &path, &[], Vec::new());
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{path}");
    }
    assert_eq!(look(&daemon, "exec_asked")["state"], "running");
    go(&daemon);
    assert_eq!(finished(&daemon, "exec_asked")["status"], "success");
    for path in [at("exec_asked"), format!("{}/events", at("exec_asked"))] {
        assert_eq!(daemon.request("HEAD", &path, &[], Vec::new()).status, 200, "{path}");
    }
    assert_eq!(cancel(&daemon, "exec_asked").status, 200);
}
