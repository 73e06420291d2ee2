//! Readers that are slow, silent or many: they cost little, delay nobody and are told what they missed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use conformance::{Daemon, Settings};
use serde_json::{Value, json};

use crate::asking::{UNTIL_GO, finished, go, in_place, python, resident, shell, submit, until_started};
use crate::stream::{Said, Stream};

const MIB: u64 = 1 << 20;

/// The most that the daemon held while this went on, beyond what it held before.
fn growth_during<T>(daemon: &Daemon, what: impl FnOnce() -> T) -> (u64, T) {
    let (before, most, done) = (resident(daemon), AtomicU64::new(0), AtomicBool::new(false));
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(resident(daemon), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        });
        let _over = Over(&done);
        what()
    });
    (most.load(Ordering::Relaxed).saturating_sub(before), result)
}

/// Also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sixty mebibytes of lines, sixteen bytes each, that say where they are. One of them is kept.
fn flood(execution_id: &str) -> Value {
    let code = "import sys
for block in range(0, 3932160, 65536):
    sys.stdout.write(''.join(f'{line:015}\\n' for line in range(block, block + 65536)))
    sys.stdout.flush()
";
    let mut request = python(execution_id, code);
    request["limits"] = json!({ "max_output_bytes": MIB });
    request
}

const FLOOD: u64 = 60 * MIB;

/// What the lines of a flood say from this byte on.
fn lines_from(offset: u64, length: usize) -> String {
    let first = offset / 16;
    let lines: String = (first..first + length as u64 / 16 + 2).map(|line| format!("{line:015}\n")).collect();
    lines[(offset % 16) as usize..][..length].to_owned()
}

#[test]
fn one_that_does_not_read_neither_slows_the_run_nor_costs_memory_and_is_told_what_it_missed() {
    let daemon = Daemon::default_settings();
    // What a daemon that has worked holds anyway, and how long it takes when nobody follows.
    let alone = daemon.execute(&flood("exec_alone")).result();
    assert_eq!(
        (&alone["status"], &alone["stdout_bytes_total"]),
        (&json!("success"), &json!(FLOOD)),
        "{}",
        alone["cause"]
    );
    let (growth, (mut stream, result)) = growth_during(&daemon, || {
        let stream = Stream::from_start(&daemon, &flood("exec_followed"));
        let asked = Instant::now();
        let result = finished(&daemon, "exec_followed");
        // The promise is about three seconds of not reading.
        thread::sleep(Duration::from_secs(3).saturating_sub(asked.elapsed()));
        (stream, result)
    });
    let took = |result: &Value| result["execution_time"].as_f64().unwrap();
    eprintln!(
        "{:.2} s alone, {:.2} s with a reader that does not read, {} MiB more",
        took(&alone),
        took(&result),
        growth / MIB
    );
    assert_eq!((&result["status"], &result["stdout_bytes_total"]), (&json!("success"), &json!(FLOOD)));
    assert!(took(&result) < 3.0 * took(&alone) + 2.0, "{} s, alone {} s", took(&result), took(&alone));
    assert!(growth < 24 * MIB, "{} MiB", growth / MIB);

    let (mut next, mut missed) = (0, 0);
    while let Some(event) = stream.next() {
        if event.name == "stdout" {
            let number = |field: &str| event.data[field].as_u64().unwrap();
            let text = event.data["text"].as_str().unwrap();
            assert_eq!(number("offset"), next + number("missed_bytes"));
            assert!(text == lines_from(number("offset"), text.len()), "at {}: {text:.64}", number("offset"));
            missed += number("missed_bytes");
            next = number("offset") + text.len() as u64;
        } else if event.name == "finished" {
            assert_eq!(event.data, result);
        }
    }
    assert_eq!(next, FLOOD);
    assert!(missed > 50 * MIB, "{missed}");
}

#[test]
fn a_late_reader_of_a_cut_output_gets_its_head_and_its_tail() {
    let daemon = Daemon::default_settings();
    let result = daemon.execute(&flood("exec_flood")).result();
    assert_eq!(result["stdout_truncated"], true);
    let story = Stream::of(&daemon, "exec_flood").story();
    let kept = story.stdout.text.len() as u64;
    assert_eq!(kept + story.stdout.missed, FLOOD);
    assert!((MIB - 200..=MIB).contains(&kept), "{kept}");
    assert!(story.stdout.text.starts_with("000000000000000\n") && story.stdout.text.ends_with("3932159\n"));
    assert_eq!(*story.result(), result);
}

#[test]
fn two_hundred_who_follow_one_run_all_hear_the_same() {
    let daemon = Daemon::default_settings();
    let code = "import os, sys, time
open('started', 'w').close()
while not os.path.exists('go'):
    time.sleep(0.02)
for line in range(100):
    print(f'{line:04} caf\\xe9 \\U0001f600 ' + 'x' * 700, flush=True)
    print(line, file=sys.stderr)
    time.sleep(0.01)
";
    let mut request = python("exec_shared", code);
    request["workspace"] = json!("persistent");
    // What a daemon that has worked holds anyway.
    daemon.run("python", "print('x' * 100000)");
    submit(&daemon, &request);
    until_started(&daemon);
    let (growth, ()) = growth_during(&daemon, || {
        let streams: Vec<_> = (0..200).map(|_| Stream::of(&daemon, "exec_shared")).collect();
        go(&daemon);
        let stories = thread::scope(|scope| {
            let readers: Vec<_> = streams.into_iter().map(|stream| scope.spawn(|| stream.story())).collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).collect::<Vec<_>>()
        });
        let result = finished(&daemon, "exec_shared");
        assert_eq!(result["status"], "success");
        for story in stories {
            story.is_whole();
            assert_eq!(*story.result(), result);
        }
    });
    eprintln!("two hundred readers: {} MiB more", growth / MIB);
    assert!(growth < 64 * MIB, "{} MiB", growth / MIB);
}

#[test]
fn silence_is_broken_by_a_comment_every_fifteen_seconds() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).start();
    submit(&daemon, &in_place("exec_silent", UNTIL_GO));
    until_started(&daemon);
    submit(&daemon, &shell("exec_waits", "echo mine"));
    let streams = [Stream::of(&daemon, "exec_silent"), Stream::of(&daemon, "exec_waits")];
    let asked = Instant::now();
    thread::scope(|scope| {
        let readers = streams.map(|mut stream| {
            scope.spawn(move || {
                let first_comment = loop {
                    match stream.listen().unwrap() {
                        Said::Event(event) => assert_eq!(event.name, "started"),
                        Said::Comment(_) => break asked.elapsed(),
                    }
                };
                (stream, first_comment)
            })
        });
        let told = readers.map(|reader| reader.join().unwrap());
        go(&daemon);
        for (mut stream, after) in told {
            assert!((10.0..17.0).contains(&after.as_secs_f64()), "{after:?}");
            let last = std::iter::from_fn(|| stream.next()).last().unwrap();
            assert_eq!((last.name.as_str(), &last.data["status"]), ("finished", &json!("success")));
        }
    });
}

// XR-03
#[test]
fn what_thirty_two_runs_say_at_once_is_in_nobody_else_s_stream() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 4).set("EXECUTOR_QUEUE", 64).start();
    let request = |number: usize| {
        let canary = format!("canary-{number:02}-of-this-run");
        let mut request = match number % 2 {
            0 => python(
                &format!("exec_{number}"),
                &format!(
                    "import os, sys\nfor _ in range(20):\n    print('{canary}', os.environ['MINE'], sys.stdin.read(), flush=True)\n    print('{canary}', file=sys.stderr)\nopen('left', 'w').write('{canary}')\n"
                ),
            ),
            _ => shell(
                &format!("exec_{number}"),
                &format!(
                    "for round in 1 2 3 4 5 6 7 8 9 10; do echo {canary} $MINE $(cat); echo {canary} >&2; done; echo {canary} > left"
                ),
            ),
        };
        request["env_vars"] = json!({ "MINE": canary });
        request["stdin"] = json!(canary);
        (canary, request)
    };
    let stories: Vec<_> = thread::scope(|scope| {
        let callers: Vec<_> = (0..32)
            .map(|number| {
                let daemon = &daemon;
                scope.spawn(move || {
                    let (canary, request) = request(number);
                    let id = request["execution_id"].as_str().unwrap().to_owned();
                    let story = match number % 3 {
                        0 => Stream::from_start(daemon, &request).story(),
                        1 => {
                            submit(daemon, &request);
                            Stream::of(daemon, &id).story()
                        }
                        _ => {
                            daemon.execute(&request).result();
                            Stream::of(daemon, &id).story()
                        }
                    };
                    (canary, id, story)
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    for (canary, id, story) in &stories {
        story.is_whole();
        assert_eq!(story.result()["status"], "success", "{}", story.result());
        let told = format!("{} {} {}", story.stdout.text, story.stderr.text, finished(&daemon, id));
        assert_eq!(story.result()["execution_id"], *id);
        assert!(told.matches(canary.as_str()).count() > 20, "{told}");
        let others = told.matches("canary-").count() - told.matches(canary.as_str()).count();
        assert_eq!(others, 0, "{id}: {told}");
    }
}
