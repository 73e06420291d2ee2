//! `Last-Event-ID`: a reader whose connection breaks goes on where it was, wherever that is.

use conformance::{Daemon, Settings};

use crate::asking::{at, finished, look, python, random, shell, submit, until_it_says};
use crate::stream::{Event, Story, Stream};

/// Four mebibytes in two hundred pieces, with characters of every length, for two seconds and more.
const TALKS: &str = "import sys, time
for block in range(200):
    text = ''.join(f'{block:04}-{line:04} h\\xe9llo \\u20ac \\U0001f600\\n' for line in range(800))
    sys.stdout.write(text)
    sys.stdout.flush()
    sys.stderr.write(f'{block} \\U0001f600\\n')
    time.sleep(0.01)
";

/// Follows with fifty connections that are each cut somewhere, and with one more to the end.
fn follow_with_cuts(daemon: &Daemon, execution_id: &str, seed: u64) -> Story {
    let (mut state, mut story) = (seed, Story::default());
    let mut cuts = 0;
    let take = |story: &mut Story, events: Vec<Event>| events.iter().for_each(|event| story.hear(event));
    for _ in 0..50 {
        let stream = if story.last_id.is_empty() {
            Stream::of(daemon, execution_id)
        } else {
            Stream::behind(daemon, execution_id, &story.last_id)
        };
        // Now and then within the first event.
        let most = if cuts % 5 == 0 { 200 } else { 140_000 };
        let (events, ended) = stream.cut_after(1 + random(&mut state, most) as usize);
        take(&mut story, events);
        if ended {
            break;
        }
        cuts += 1;
    }
    assert!(cuts >= 25, "the stream was over after {cuts} cuts");
    if story.finished.is_none() {
        let mut stream = Stream::behind(daemon, execution_id, &story.last_id);
        let events = std::iter::from_fn(|| stream.next()).collect();
        take(&mut story, events);
    }
    story
}

#[test]
fn fifty_cuts_anywhere_lose_and_repeat_nothing_while_it_runs_and_after() {
    let daemon = Daemon::default_settings();
    submit(&daemon, &python("exec_cut", TALKS));
    let live = follow_with_cuts(&daemon, "exec_cut", 7);
    live.is_whole();
    assert_eq!(live.stdout.text.lines().count(), 160_000);
    let late = follow_with_cuts(&daemon, "exec_cut", 11);
    late.is_whole();
    assert_eq!(late.finished, live.finished);
    assert_eq!(*live.result(), finished(&daemon, "exec_cut"));
}

#[test]
fn every_event_is_a_place_to_go_on_from() {
    let daemon = Daemon::default_settings();
    let code = "import os, time
for part in ('a', '\\xe9', '\\U0001f600' * 3, 'b' * 70000):
    os.write(1, part.encode())
    os.write(2, part.encode())
    time.sleep(0.05)
os.write(1, b'\\xff\\xfe\\xf0\\x9f')
";
    let mut stream = Stream::from_start(&daemon, &python("exec_places", code));
    let events: Vec<_> = std::iter::from_fn(|| stream.next()).collect();
    assert!(events.len() > 8, "{}", events.len());
    for seen in 1..events.len() {
        let mut story = Story::default();
        events[..seen].iter().for_each(|event| story.hear(event));
        let mut rest = Stream::behind(&daemon, "exec_places", &story.last_id);
        while let Some(event) = rest.next() {
            story.hear(&event);
        }
        story.is_whole();
    }
}

#[test]
fn an_id_that_is_none_of_ours_means_the_beginning() {
    let daemon = Daemon::default_settings();
    daemon.execute(&shell("exec_told", "echo told")).result();
    let huge = "9".repeat(1000);
    for last in [
        "nonsense",
        "",
        "0",
        "1-2",
        "1-2-3-4",
        "-1--1--1",
        "1-99999999999999999999-0",
        "Finished",
        "*",
        &huge,
    ] {
        let story = Stream::behind(&daemon, "exec_told", last).story();
        story.is_whole();
        assert_eq!(story.stdout.text, "told\n", "{last}");
    }
}

#[test]
fn a_place_that_was_never_reached_still_leads_to_the_end() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 2).start();
    daemon.execute(&shell("exec_told", "echo told")).result();
    submit(&daemon, &shell("exec_tells", "echo told; sleep 1; echo more"));
    until_it_says(&daemon, "exec_tells");
    for id in ["exec_told", "exec_tells"] {
        for last in ["1-18446744073709551615-18446744073709551615", "1-1000000-0", "0-5-0", "1-3-0"] {
            let mut stream = Stream::behind(&daemon, id, last);
            let events: Vec<_> = std::iter::from_fn(|| stream.next()).collect();
            let end = events.last().unwrap_or_else(|| panic!("{id} {last}: nothing"));
            assert_eq!((end.name.as_str(), &end.data), ("finished", &look(&daemon, id)["result"]), "{last}");
        }
    }
}

#[test]
fn whoever_has_seen_the_end_is_told_not_to_come_back() {
    let daemon = Daemon::default_settings();
    let story = Stream::from_start(&daemon, &shell("exec_over", "echo over")).story();
    assert_eq!(story.last_id, "finished");
    for _ in 0..2 {
        let answer = daemon.request(
            "GET",
            &format!("{}/events", at("exec_over")),
            &[("last-event-id", &story.last_id)],
            Vec::new(),
        );
        assert_eq!((answer.status, answer.body.len()), (204, 0));
    }
}
