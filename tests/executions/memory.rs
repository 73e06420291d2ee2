//! What is remembered of finished executions has a bound, and so has the daemon's memory.

use std::thread;

use conformance::Settings;
use serde_json::Value;

use crate::asking::{at, finished, look, resident, shell, submit};
use crate::stream::Stream;

const MIB: u64 = 1 << 20;

/// Says so many kibibytes.
fn kibibytes(execution_id: &str, kib: u64) -> Value {
    shell(execution_id, &format!("head -c {} /dev/zero | tr '\\0' x", kib << 10))
}

#[test]
fn output_beyond_the_bound_makes_the_oldest_forgotten_and_never_the_newest() {
    let daemon = Settings::new().set("RETAINED_MB", 1).start();
    // The control: small ones stay, however many.
    for number in 0..5 {
        daemon.execute(&shell(&format!("exec_small_{number}"), "echo small")).result();
    }
    assert_eq!(daemon.get(&at("exec_small_0")).status, 200);
    for id in ["exec_1", "exec_2", "exec_3"] {
        let result = daemon.execute(&kibibytes(id, 600)).result();
        assert_eq!(result["stdout_bytes_total"], 600 << 10);
        assert_eq!(look(&daemon, id)["result"], result);
    }
    for id in ["exec_small_0", "exec_1", "exec_2"] {
        let answer = daemon.get(&at(id));
        assert_eq!(answer.status, 404, "{id}");
        assert!(answer.json()["error_detail"].as_str().unwrap().contains("RETAINED_MB"), "{}", answer.text());
    }
    // One that is larger than all that may be kept is there until the next.
    let result = daemon.execute(&kibibytes("exec_large", 5000)).result();
    assert_eq!(finished(&daemon, "exec_large"), result);
    assert_eq!(daemon.get(&at("exec_3")).status, 404);
}

// XR-06, as far as what is remembered goes.
#[test]
fn two_hundred_runs_that_say_two_hundred_kibibytes_leave_no_more_than_the_bound() {
    let daemon = Settings::new()
        .set("EXECUTOR_CONCURRENCY", 2)
        .set("EXECUTOR_QUEUE", 300)
        .set("RETAINED_MB", 8)
        .start();
    // What a daemon that has worked holds anyway.
    for number in 0..4 {
        daemon.execute(&kibibytes(&format!("exec_warm_{number}"), 200)).result();
    }
    let before = resident(&daemon);
    thread::scope(|scope| {
        for share in 0..4 {
            let daemon = &daemon;
            scope.spawn(move || {
                for number in (share..200).step_by(4) {
                    let id = format!("exec_{number}");
                    match number % 3 {
                        0 => drop(daemon.execute(&kibibytes(&id, 200)).result()),
                        1 => {
                            submit(daemon, &kibibytes(&id, 200));
                        }
                        _ => Stream::from_start(daemon, &kibibytes(&id, 200)).story().is_whole(),
                    }
                }
            });
        }
    });
    daemon.eventually("all are over", |daemon| daemon.log().matches("execution_completed").count() == 204);
    let growth = resident(&daemon).saturating_sub(before);
    assert!(growth < 32 * MIB, "{} MiB", growth / MIB);
    assert_eq!(daemon.get(&at("exec_0")).status, 404);
    // 8 MiB hold at most forty of them.
    let known = (0..200).filter(|number| daemon.get(&at(&format!("exec_{number}"))).status == 200).count();
    assert!((1..=40).contains(&known), "{known}");
}
