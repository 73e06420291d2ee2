//! The wall clock: whatever a program does, it ends on time, and what it had done is kept.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ask::{assert_end, assert_says, run, run_all, shown, wide};

/// A loaded machine may be late; nobody may be early.
const LATE: f64 = 1.0;

#[track_caller]
fn assert_timed_out(result: &Value, timeout: f64) {
    assert_end(result, "timeout", -1, "wall_timeout");
    assert_says(result, "stderr", &[&format!("timeout of {timeout} s")]);
    let phases = &result["metrics"]["phases_ms"];
    let took = (phases["start"].as_f64().unwrap() + phases["run"].as_f64().unwrap()) / 1000.0;
    assert!(took >= timeout && took < timeout + LATE, "{}", shown(result));
    let detail = &result["cause_detail"];
    assert_eq!(detail["limit"], json!(timeout));
    let observed = detail["observed"].as_f64().unwrap();
    assert!((observed - timeout).abs() < LATE, "{}", shown(result));
}

#[test]
fn a_program_that_does_not_end_times_out_in_each_language_and_what_it_did_is_kept() {
    let daemon = wide();
    let one = || json!({ "timeout": 1 });
    let results = run_all(
        &daemon,
        &[
            (
                "python",
                "import time\ndef handler(event):\n  print('before')\n  open('kept.txt', 'w').write('kept')\n  time.sleep(60)",
                one(),
            ),
            (
                "javascript",
                "console.log('before'); require('fs').writeFileSync('kept.txt', 'kept'); setTimeout(() => 0, 60000)",
                one(),
            ),
            ("shell", "echo before; echo -n kept > kept.txt; sleep 60", one()),
            ("python", "print('before')\nopen('kept.txt', 'w').write('kept')\nwhile True: pass", one()),
            (
                "javascript",
                "console.log('before'); require('fs').writeFileSync('kept.txt', 'kept'); for (;;);",
                one(),
            ),
            ("shell", "echo before; echo -n kept > kept.txt; while :; do :; done", one()),
        ],
    );
    for result in &results {
        assert_timed_out(result, 1.0);
        assert_eq!(result["stdout"], "before\n");
        assert_eq!(result["artifacts"][0]["path"], "kept.txt", "{}", shown(result));
        assert_eq!(result["artifacts"][0]["size"], 4);
    }
}

// LC-13
#[test]
fn fractions_of_seconds_count() {
    let daemon = wide();
    assert_timed_out(&run(&daemon, "shell", "sleep 60", &json!({ "timeout": 1.25 })), 1.25);
}

// RC-05
#[test]
fn a_promise_that_never_settles_ends_at_once_and_says_so() {
    let daemon = wide();
    let asked = Instant::now();
    let result = daemon.run("javascript", "exports.handler = () => new Promise(() => {})");
    assert_end(&result, "failed", 1, "exception");
    assert_says(&result, "stderr", &["never settled"]);
    assert!(asked.elapsed() < Duration::from_secs(10));
}

// LC-01
#[test]
fn a_program_that_ignores_every_signal_still_ends() {
    let daemon = wide();
    let ignore = "import signal, time\n\
                  for number in signal.valid_signals() - {9, 19}:\n  try: signal.signal(number, signal.SIG_IGN)\n  except (OSError, ValueError): pass\n\
                  signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n\
                  print('deaf', flush=True)\ntime.sleep(60)";
    let results = run_all(
        &daemon,
        &[
            ("python", ignore, json!({ "timeout": 1, "mode": "script" })),
            (
                "shell",
                "for n in {1..64}; do trap '' $n 2>/dev/null; done; echo deaf; sleep 60 & sleep 60",
                json!({ "timeout": 1 }),
            ),
        ],
    );
    for result in &results {
        assert_timed_out(result, 1.0);
        assert_eq!(result["stdout"], "deaf\n");
    }
}

// LC-02
#[test]
fn a_stopped_program_is_not_an_ended_one() {
    let daemon = wide();
    let one = || json!({ "timeout": 1 });
    let results = run_all(
        &daemon,
        &[
            ("shell", "echo before; kill -STOP $$; echo after", one()),
            ("shell", "echo before; (kill -TSTP $PPID; kill -STOP $$); echo after", one()),
            ("python", "import os\nprint('before')\nos.kill(os.getpid(), 19)", one()),
        ],
    );
    for result in &results {
        assert_timed_out(result, 1.0);
        assert_eq!(result["stdout"], "before\n");
    }
}

// LC-02
#[test]
fn a_parent_that_waits_for_stopped_children_still_ends() {
    let daemon = wide();
    let code = "import os, signal, time\n\
                children = []\n\
                for _ in range(5):\n  pid = os.fork()\n  if pid == 0:\n    while True: time.sleep(1)\n  children.append(pid)\n\
                for pid in children: os.kill(pid, signal.SIGSTOP)\n\
                os.wait()";
    let result = run(&daemon, "python", code, &json!({ "timeout": 1, "mode": "script" }));
    assert_timed_out(&result, 1.0);
}

// RS-15
#[test]
fn slow_drips_are_there_up_to_the_end() {
    let daemon = wide();
    let code = "import time\nfor n in range(1000):\n  print(n, end='', flush=True)\n  time.sleep(0.1)";
    let result = run(&daemon, "python", code, &json!({ "timeout": 1, "mode": "script" }));
    assert_timed_out(&result, 1.0);
    assert!(result["stdout"].as_str().unwrap().starts_with("012345"), "{}", shown(&result));
}

// LC-13
#[test]
fn a_timeout_is_a_number_between_one_and_an_hour() {
    let daemon = wide();
    for good in ["1", "1.0", "3600", "null", "1e3"] {
        let body = format!(r#"{{"language":"shell","code":"true","workspace":"fresh","timeout":{good}}}"#);
        let answer = daemon.post("/execute", "application/json", body.into_bytes());
        assert_eq!(answer.result()["status"], "success", "{good}");
    }
    for bad in [
        "0",
        "0.5",
        "0.999",
        "-1",
        "3600.001",
        "3601",
        "1e308",
        "1e400",
        "9223372036854775808",
        "\"10\"",
        "true",
        "[]",
    ] {
        let body = format!(r#"{{"language":"shell","code":"true","workspace":"fresh","timeout":{bad}}}"#);
        let answer = daemon.post("/execute", "application/json", body.into_bytes());
        assert_eq!((answer.status, answer.error_code().as_str()), (400, "Executor.ValidationError"), "{bad}");
        assert!(answer.text().contains("timeout"), "{bad}: {}", answer.text());
    }
}
