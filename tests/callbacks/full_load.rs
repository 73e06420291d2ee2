//! Every slot taken by a program that never rests, and the queue full: whoever asks how the daemon is gets an answer, and the
//! control plane hears that its runs live. How fast is for `make soak`; here, that it comes at all.

use std::time::{Duration, Instant};

use conformance::Settings;

use crate::support::{PATIENCE, call, heartbeats, mock, nothing_wrong, script};

const SLOTS: usize = 4;
const QUEUE: usize = 10;

/// For an answer, on a machine that compiles meanwhile.
const ANSWER: Duration = Duration::from_secs(5);

#[test]
fn health_metrics_and_heartbeats_come_when_every_slot_spins_and_the_queue_is_full() {
    let mock = mock();
    let daemon = Settings::new()
        .set("EXECUTOR_CONCURRENCY", SLOTS)
        .set("EXECUTOR_QUEUE", QUEUE)
        .calling(&mock)
        .start();
    let spin = "sh -c 'while :; do :; done' & sh -c 'while :; do :; done' & while :; do :; done";
    let headers = [("content-type", "application/json"), ("prefer", "respond-async")];
    let ids: Vec<String> = (0..SLOTS + QUEUE).map(|number| format!("exec_spin_{number}")).collect();
    let post = |id: &str| daemon.request("POST", "/execute", &headers, script(id, spin).to_string().into());
    for id in &ids {
        let answer = post(id);
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    daemon.eventually("all slots are taken", |daemon| {
        let health = daemon.get("/health").json();
        health["active_executions"] == SLOTS && health["queued_executions"] == QUEUE
    });
    assert_eq!(post("exec_too_many").status, 503);
    for path in ["/health", "/health/live", "/health/ready", "/metrics"] {
        for _ in 0..25 {
            let asked = Instant::now();
            assert_eq!(daemon.get(path).status, 200, "{path}");
            assert!(asked.elapsed() < ANSWER, "{path}: {:?}", asked.elapsed());
        }
    }
    let began = Instant::now();
    for id in &ids {
        // At once, and again: those that wait live, too.
        while heartbeats(&mock, id).len() < 2 {
            assert!(began.elapsed() < PATIENCE, "{id}: {:#?}", heartbeats(&mock, id));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    for id in ids.iter().rev() {
        daemon.request("DELETE", &format!("/executions/{id}"), &[], Vec::new());
        call(&mock, |call| {
            call.accepted && call.execution_id.as_ref() == Some(id) && call.body["status"] == "cancelled"
        });
    }
    nothing_wrong(&mock);
}
