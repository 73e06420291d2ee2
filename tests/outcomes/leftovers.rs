//! What a program leaves running: its result stands, and nothing outlives the run.

use std::fs;

use serde_json::{Value, json};

use crate::ask::{assert_end, run, run_all, shown, wide};

// RC-13
#[test]
fn a_result_stands_although_something_keeps_running() {
    let daemon = wide();
    let results = run_all(
        &daemon,
        &[
            (
                "python",
                "import threading, time\ndef handler(event):\n  threading.Thread(target=time.sleep, args=[60]).start()\n  return 7",
                Value::Null,
            ),
            (
                "python",
                "import atexit, time\ndef handler(event):\n  atexit.register(time.sleep, 60)\n  return 7",
                Value::Null,
            ),
            (
                "python",
                "import os, time\ndef handler(event):\n  if os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\n  return 7",
                Value::Null,
            ),
            ("javascript", "exports.handler = () => { setInterval(() => 0, 1000); return 7 }", Value::Null),
            (
                "javascript",
                "exports.handler = () => { process.on('exit', () => { for (;;); }); return 7 }",
                Value::Null,
            ),
            (
                "javascript",
                "exports.handler = () => { require('child_process').spawn('sleep', ['60'], { detached: true }); return 7 }",
                Value::Null,
            ),
        ],
    );
    for result in &results {
        assert_end(result, "success", 0, "exit");
        assert_eq!(result["return_value"], 7);
        assert!(result["execution_time"].as_f64().unwrap() < 3.0, "{}", shown(result));
    }
}

#[test]
fn what_ends_by_itself_after_the_result_may_finish() {
    let daemon = wide();
    let code = "import atexit, time\ndef handler(event):\n  atexit.register(lambda: (time.sleep(0.2), print('bye')))\n  return 7";
    let result = run(&daemon, "python", code, &Value::Null);
    assert_end(&result, "success", 0, "exit");
    assert_eq!((&result["stdout"], &result["return_value"]), (&json!("bye\n"), &json!(7)));
}

#[test]
fn a_failure_stands_although_something_keeps_running() {
    let daemon = wide();
    let code = "import threading, time\ndef handler(event):\n  threading.Thread(target=time.sleep, args=[60]).start()\n  raise ValueError('boom')";
    let result = run(&daemon, "python", code, &Value::Null);
    assert_end(&result, "failed", 1, "exception");
    assert!(result["execution_time"].as_f64().unwrap() < 3.0, "{}", shown(&result));
}

#[test]
fn a_background_job_of_a_script_ends_with_it() {
    let daemon = wide();
    let result = run(&daemon, "shell", "sleep 60 & echo done", &Value::Null);
    assert_end(&result, "success", 0, "exit");
    assert_eq!(result["stdout"], "done\n");
    assert!(result["execution_time"].as_f64().unwrap() < 3.0);
}

// XR-02
#[test]
fn a_daemon_that_hides_from_its_parent_stops_when_the_run_ends() {
    let daemon = wide();
    let hide = "import os, signal, sys, time\n\
                if os.fork():\n  \
                  while not os.path.exists('alive'): time.sleep(0.01)\n  \
                  sys.exit()\n\
                os.setsid()\n\
                if os.fork(): os._exit(0)\n\
                for number in signal.valid_signals() - {9, 19}: signal.signal(number, signal.SIG_IGN)\n\
                os.closerange(0, 100)\n\
                n = 0\n\
                while True:\n  n += 1\n  open('alive', 'w').write(str(n))\n  time.sleep(0.01)";
    let session = json!({ "session_id": "haunted", "mode": "script" });
    let result = run(&daemon, "python", hide, &session);
    assert_end(&result, "success", 0, "exit");
    let alive = daemon.home().join("sessions/haunted/alive");
    let seen = fs::metadata(&alive).unwrap().modified().unwrap();
    // Thirty times as long as it would take to touch the file again.
    let watch = "import os, time\nbefore = os.stat('alive').st_mtime_ns\ntime.sleep(0.3)\nprint(os.stat('alive').st_mtime_ns == before)";
    let watched = run(&daemon, "python", watch, &session);
    assert_eq!(watched["stdout"], "True\n", "{}", shown(&watched));
    assert_eq!(fs::metadata(&alive).unwrap().modified().unwrap(), seen);
}
