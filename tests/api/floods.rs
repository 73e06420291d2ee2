//! What a caller or a program can make the daemon say: bounded, however often they try, and counted to the last one.

use std::thread;

use conformance::{Daemon, Settings};
use serde_json::{Value, json};

/// Of one place in the code, per second (`telemetry::floods`).
const LINES_PER_SECOND: f64 = 20.0;

/// How many requests its lines tell of.
fn told(lines: &[Value]) -> u64 {
    lines.iter().map(|line| 1 + line["suppressed"].as_u64().unwrap_or_default()).sum()
}

#[test]
fn a_flood_of_bad_requests_is_a_few_lines_that_count_every_one() {
    let daemon = Daemon::default_settings();
    let bad = json!({"language": "\n{\"event\":\"forged\"}", "code": "", "x".repeat(5_000): 1});
    let began = std::time::Instant::now();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|_| assert_eq!(daemon.execute(&bad).status, 400)));
        }
    });
    let mut sent = 2_000;
    daemon.eventually("the last lines count all that were held back", |daemon| {
        assert_eq!(daemon.execute(&bad).status, 400);
        sent += 1;
        told(&daemon.events("execution_refused")) == sent
    });
    let lines = daemon.events("execution_refused");
    let most = LINES_PER_SECOND * (began.elapsed().as_secs_f64() + 2.0);
    assert!((lines.len() as f64) < most, "{} lines", lines.len());
    assert!(
        lines.len() < 1_000 && lines.iter().any(|line| line["suppressed"].as_u64() > Some(10)),
        "{lines:?}"
    );
    assert!(daemon.log().lines().all(|line| line.len() < 1_000));
}

const MISUSE: &str = include_str!("../probes/misuse.py");

#[test]
fn programs_that_misuse_the_private_pipe_leave_their_two_lines_and_no_more() {
    const RUNS: usize = 40;
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 2).set("EXECUTOR_QUEUE", 10).start();
    let before = daemon.log().len();
    let run = json!({"language": "python", "mode": "script", "code": MISUSE, "workspace": "fresh"});
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..RUNS / 4 {
                    let result = daemon.execute(&run).result();
                    assert_eq!(result["stdout"], "done\n", "{result}");
                }
            });
        }
    });
    let said = daemon.log()[before..].to_owned();
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    assert_eq!(
        (of("execution_started"), of("execution_completed"), lines.len()),
        (RUNS, RUNS, 2 * RUNS),
        "{said}"
    );
    assert!(said.len() < 2 * RUNS * 1_000, "{} bytes", said.len());
}
