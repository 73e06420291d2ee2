//! Heartbeats: on time, true, and without a trace in the run that they tell of. Their times are a promise, so they are taken at
//! the control plane, with 1 s to either side and no more.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, SystemTime};

use conformance::{Daemon, Settings};
use control_plane_mock::{Action, Call, Kind, Mock, Rule};
use serde_json::{Value, json};

use crate::support::{
    accepted, arrived_after, attempts, call, calls_of, daemon, heartbeats, mock, nothing_wrong, script,
    script_in_place,
};

/// Holds 64 MiB, says 100,000 and 77 bytes, burns 3 s of CPU and is there for 11 s.
const BUSY: &str = "import sys, time
end = time.monotonic() + 11
held = bytearray(b'x') * (64 << 20)
sys.stdout.write('x' * 100_000)
sys.stderr.write('y' * 77)
sys.stdout.flush()
sys.stderr.flush()
while time.process_time() < 3:
    pass
time.sleep(max(0, end - time.monotonic()))
";

/// Three processes that burn CPU for 11 s.
const BURNERS: &str = "import os, time
end = time.monotonic() + 11
for _ in range(3):
    if os.fork() == 0:
        while time.monotonic() < end:
            pass
        os._exit(0)
for _ in range(3):
    os.wait()
";

fn progress(beat: &Call, field: &str) -> u64 {
    beat.body["progress"][field].as_u64().unwrap_or_else(|| panic!("{field} of {:?}", beat.body))
}

/// The heartbeats of a run: so many, the first at once, the others 5 s ± 1 s apart, each a message of its own.
fn on_time(mock: &Mock, execution_id: &str, asked: SystemTime, count: usize) -> Vec<Call> {
    let beats = heartbeats(mock, execution_id);
    let at: Vec<Duration> = beats.iter().map(|beat| arrived_after(beat, asked)).collect();
    assert_eq!(beats.len(), count, "{execution_id}: {at:?}");
    assert!(at[0] < Duration::from_secs(1), "{execution_id}: {at:?}");
    for pair in beats.windows(2) {
        let gap = pair[1].arrived_after - pair[0].arrived_after;
        assert!((4.0..=6.0).contains(&gap.as_secs_f64()), "{execution_id}: {at:?}");
        assert!(progress(&pair[0], "elapsed_ms") < progress(&pair[1], "elapsed_ms"));
    }
    let keys: BTreeSet<_> = beats.iter().map(|beat| beat.idempotency_key.clone().unwrap()).collect();
    assert_eq!(keys.len(), beats.len(), "{keys:?}");
    beats
}

/// Answers to requests that are made at the same time.
fn together(daemon: &Daemon, requests: &[Value]) -> Vec<Value> {
    thread::scope(|scope| {
        let callers: Vec<_> =
            requests.iter().map(|request| scope.spawn(move || daemon.execute(request).result())).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    })
}

#[test]
fn they_come_at_once_and_then_every_five_seconds_and_their_numbers_are_true() {
    let mock = mock();
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 2).calling(&mock).start();
    let busy = json!({
        "language": "python", "mode": "script", "code": BUSY, "execution_id": "exec_busy", "workspace": "fresh",
    });
    let asked = SystemTime::now();
    let results = together(&daemon, &[busy, script("exec_idle", "sleep 11")]);
    assert!(results.iter().all(|result| result["status"] == "success"), "{results:?}");
    for id in ["exec_busy", "exec_idle"] {
        let beats = on_time(&mock, id, asked, 3);
        assert!(progress(&beats[0], "elapsed_ms") < 1_000, "{:?}", beats[0].body);
        assert!(progress(&beats[2], "elapsed_ms") > 9_000, "{:?}", beats[2].body);
        for beat in &beats[1..] {
            assert_eq!(beat.body["progress"]["phase"], "run");
        }
    }

    let beats = heartbeats(&mock, "exec_busy");
    for beat in &beats[1..] {
        assert!(progress(beat, "memory_bytes") >= 60 << 20, "{:?}", beat.body);
        assert_eq!((progress(beat, "stdout_bytes"), progress(beat, "stderr_bytes")), (100_000, 77));
    }
    let cpu: Vec<u64> = beats.iter().map(|beat| progress(beat, "cpu_time_ms")).collect();
    assert!(cpu[2] > 2_000 && cpu.is_sorted(), "{cpu:?}");
    // The control: a run that does nothing does not have these numbers.
    for beat in heartbeats(&mock, "exec_idle") {
        assert!(progress(&beat, "cpu_time_ms") < 500, "{:?}", beat.body);
        assert!(progress(&beat, "memory_bytes") < 30 << 20, "{:?}", beat.body);
        assert_eq!(progress(&beat, "stdout_bytes"), 0);
    }
    accepted(&mock, "exec_busy");
    accepted(&mock, "exec_idle");
    nothing_wrong(&mock);
}

// HT-09, CP-08
#[test]
fn they_are_on_time_while_programs_take_every_cpu() {
    let mock = mock();
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 2).calling(&mock).start();
    let shell = "for burner in 1 2 3; do timeout 11 sh -c 'while :; do :; done' & done; wait";
    let asked = SystemTime::now();
    let results = together(
        &daemon,
        &[
            json!({
                "language": "python", "mode": "script", "code": BURNERS,
                "execution_id": "exec_python", "workspace": "fresh",
            }),
            script("exec_shell", shell),
        ],
    );
    let mut burnt = 0.0;
    for (result, id) in results.iter().zip(["exec_python", "exec_shell"]) {
        assert_eq!(result["status"], "success", "{result}");
        burnt += result["metrics"]["cpu_time_ms"].as_f64().unwrap();
        on_time(&mock, id, asked, 3);
        accepted(&mock, id);
    }
    // Or else nothing was busy.
    assert!(burnt > 3_000.0, "{results:?}");
    nothing_wrong(&mock);
}

// CP-08
#[test]
fn a_control_plane_that_stalls_them_delays_neither_the_next_one_nor_the_run() {
    let mock = mock();
    mock.script(Rule::new(Action::Stall { seconds: 60.0 }).of_kind(Kind::Heartbeat));
    let daemon = daemon(&mock);
    let asked = SystemTime::now();
    let answer = daemon.execute(&script("exec_stalled", "sleep 11; echo done")).result();
    assert_eq!((&answer["status"], &answer["stdout"]), (&json!("success"), &json!("done\n")));
    let took = answer["execution_time"].as_f64().unwrap();
    assert!((11.0..13.0).contains(&took), "{answer}");
    on_time(&mock, "exec_stalled", asked, 3);
    assert_eq!(*accepted(&mock, "exec_stalled").body, answer);
    let missed = daemon.events("heartbeat_missed");
    assert!(missed[0]["error"].as_str().unwrap().contains("did not answer within 4 s"), "{missed:?}");
    nothing_wrong(&mock);
}

// CP-08
#[test]
fn one_that_is_answered_with_an_error_is_not_repeated_and_said_in_the_log_now_and_then() {
    let mock = mock();
    for (id, code) in [("exec_500", 500), ("exec_404", 404)] {
        let refuse = Action::Status { code, headers: Default::default(), body: String::new() };
        mock.script(Rule::new(refuse).of_kind(Kind::Heartbeat).of_execution(id));
    }
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 2).calling(&mock).start();
    let asked = SystemTime::now();
    let results = together(&daemon, &[script("exec_500", "sleep 16"), script("exec_404", "sleep 16")]);
    for (result, id) in results.iter().zip(["exec_500", "exec_404"]) {
        assert_eq!((&result["status"], &result["exit_code"]), (&json!("success"), &json!(0)), "{result}");
        on_time(&mock, id, asked, 4);
        accepted(&mock, id);
    }
    nothing_wrong(&mock);
    // Eight were missed. A line says so every ten seconds, and how many others it stands for.
    let lines = daemon.events("heartbeat_missed");
    assert!((2..=3).contains(&lines.len()), "{lines:?}");
    assert!(lines[0]["error"].as_str().unwrap().contains("the control plane answered "), "{lines:?}");
    assert!(lines[1]["suppressed"].as_u64().unwrap() >= 3, "{lines:?}");
}

// CP-08
#[test]
fn none_follows_a_result_even_when_one_is_held_up_at_the_end_of_its_run() {
    let mock = mock();
    mock.script(Rule::new(Action::Stall { seconds: 10.0 }).of_kind(Kind::Heartbeat));
    let daemon = daemon(&mock);
    daemon.execute(&script("exec_held", "sleep 0.5")).result();
    let answered = SystemTime::now();
    let result = accepted(&mock, "exec_held");
    assert!(arrived_after(&result, answered) < Duration::from_secs(5), "{result:?}");
    assert_eq!(heartbeats(&mock, "exec_held").len(), 1);
    // More than an interval.
    let late = mock.wait_for(Duration::from_secs(6), |calls| {
        calls.iter().find(|call| call.kind == Kind::Heartbeat && call.number > result.number).cloned()
    });
    assert!(late.is_none(), "{late:?}");
    nothing_wrong(&mock);
}

#[test]
fn one_that_is_given_up_at_the_end_of_its_run_is_said_in_the_log_too() {
    let mock = mock();
    mock.script(Rule::new(Action::Stall { seconds: 10.0 }).of_kind(Kind::Heartbeat));
    let daemon = daemon(&mock);
    daemon.execute(&script("exec_given_up", "sleep 0.5")).result();
    // The result waits for the end of the heartbeat, so its line comes later.
    daemon.eventually("delivered", |daemon| !daemon.events("callback_delivered").is_empty());
    let lines = daemon.events("heartbeat_missed");
    assert!(lines.iter().any(|line| line["execution_id"] == "exec_given_up"), "{}", daemon.log());
}

#[test]
fn none_follows_the_result_of_a_short_run() {
    let mock = mock();
    let mut daemon = daemon(&mock);
    let ids: Vec<String> = (0..50).map(|number| format!("exec_short_{number}")).collect();
    thread::scope(|scope| {
        for some in ids.chunks(13) {
            scope.spawn(|| {
                some.iter().for_each(|id| drop(daemon.execute(&script(id, "echo short")).result()))
            });
        }
    });
    ids.iter().for_each(|id| drop(accepted(&mock, id)));
    daemon.signal("TERM");
    daemon.wait();
    // After that one, nothing comes.
    call(&mock, |call| call.kind == Kind::Exited);
    nothing_wrong(&mock);
    assert!(ids.iter().all(|id| attempts(&mock, id).len() == 1));
    let beats = calls_of(&mock, Kind::Heartbeat);
    assert!(!beats.is_empty());
    let keys: BTreeSet<_> = beats.iter().map(|beat| beat.idempotency_key.clone().unwrap()).collect();
    assert_eq!(keys.len(), beats.len());
}

#[test]
fn a_run_that_waits_for_a_slot_has_them_too_and_they_say_that_it_waits() {
    let mock = mock();
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).calling(&mock).start();
    thread::scope(|scope| {
        scope.spawn(|| daemon.execute(&script_in_place("exec_first", "touch started; sleep 8")).result());
        daemon.eventually("the first runs", |daemon| daemon.workspace().join("started").exists());
        let asked = SystemTime::now();
        daemon.execute(&script("exec_second", "sleep 5")).result();
        let beats = on_time(&mock, "exec_second", asked, 3);
        let phases: Vec<&str> =
            beats.iter().map(|beat| beat.body["progress"]["phase"].as_str().unwrap()).collect();
        assert_eq!(phases, ["queue", "queue", "run"]);
        assert_eq!(progress(&beats[1], "cpu_time_ms"), 0);
    });
    accepted(&mock, "exec_second");
    nothing_wrong(&mock);
}
