//! One id stands for one request: it is run once, however often it is sent.

use std::fs;
use std::thread;

use conformance::{Daemon, Settings};
use serde_json::json;

// IN-11
#[test]
fn the_same_request_sent_many_times_at_once_runs_once_and_all_get_its_answer() {
    let daemon = Daemon::default_settings();
    let request = json!({"language": "shell", "code": "echo run >> runs; sleep 0.3; date +%s%N", "execution_id": "exec_same"});
    let answers: Vec<String> = thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| daemon.execute(&request))).collect();
        asking.into_iter().map(|asked| asked.join().unwrap().text()).collect()
    });
    let later = daemon.execute(&request).text();
    assert!(later.contains("\"success\""), "{later}");
    assert!(answers.iter().all(|answer| *answer == later), "{answers:?}");
    assert_eq!(fs::read_to_string(daemon.workspace().join("runs")).unwrap(), "run\n");
}

// IN-11
#[test]
fn a_failed_run_is_not_run_again_either() {
    let daemon = Daemon::default_settings();
    let request =
        json!({"language": "shell", "code": "echo run >> runs; exit 3", "execution_id": "exec_failed"});
    let first = daemon.execute(&request);
    assert_eq!(first.result()["exit_code"], 3);
    assert_eq!(daemon.execute(&request).text(), first.text());
    assert_eq!(fs::read_to_string(daemon.workspace().join("runs")).unwrap(), "run\n");
}

// IN-11
#[test]
fn another_request_with_the_same_id_is_a_conflict_that_names_the_fields() {
    let daemon = Daemon::default_settings();
    let first = json!({"language": "shell", "code": "echo 1", "execution_id": "exec_mine", "timeout": 5});
    assert_eq!(daemon.execute(&first).status, 200);
    for (other, fields) in [
        (json!({"language": "shell", "code": "echo 2", "execution_id": "exec_mine", "timeout": 5}), "code"),
        (
            json!({"language": "shell", "code": "echo 1", "execution_id": "exec_mine", "timeout": 6}),
            "timeout",
        ),
        (json!({"language": "shell", "code": "echo 1", "execution_id": "exec_mine"}), "timeout"),
        (
            json!({"language": "python", "code": "echo 1", "execution_id": "exec_mine", "timeout": 5, "stdin": "x"}),
            "language, stdin",
        ),
    ] {
        let answer = daemon.execute(&other);
        assert_eq!((answer.status, &*answer.error_code()), (409, "Executor.DuplicateExecution"), "{other}");
        let detail = answer.json()["error_detail"].as_str().unwrap().to_owned();
        assert!(detail.ends_with(&format!(": {fields}")), "{detail}");
    }
    // The order of fields and a null are no difference.
    let reordered =
        r#"{"timeout":5,"stdin":null,"execution_id":"exec_mine","code":"echo 1","language":"shell"}"#;
    assert_eq!(daemon.post("/execute", "application/json", reordered.into()).status, 200);
}

#[test]
fn a_conflict_is_told_while_the_first_still_runs() {
    let daemon = Daemon::default_settings();
    let first = json!({"language": "shell", "execution_id": "exec_mine",
        "code": "touch started; while [ ! -e go ]; do sleep 0.02; done; echo first"});
    let other = json!({"language": "shell", "execution_id": "exec_mine", "code": "echo other"});
    thread::scope(|scope| {
        let running = scope.spawn(|| daemon.execute(&first));
        daemon.eventually("it runs", |daemon| daemon.workspace().join("started").exists());
        assert_eq!(daemon.execute(&other).status, 409);
        fs::write(daemon.workspace().join("go"), "").unwrap();
        assert_eq!(running.join().unwrap().result()["stdout"], "first\n");
    });
}

#[test]
fn an_id_that_was_refused_for_want_of_room_is_free_and_keeps_nobody_waiting() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).set("EXECUTOR_QUEUE", 0).start();
    let hog = json!({"language": "shell", "code": "touch started; while [ ! -e go ]; do sleep 0.02; done"});
    thread::scope(|scope| {
        let running = scope.spawn(|| daemon.execute(&hog));
        daemon.eventually("it runs", |daemon| daemon.workspace().join("started").exists());
        for round in 0..40 {
            let request =
                json!({"language": "shell", "code": "true", "execution_id": format!("exec_{round}")});
            let asking: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn({
                        let (daemon, request) = (&daemon, request.clone());
                        move || daemon.execute(&request)
                    })
                })
                .collect();
            for asked in asking {
                assert_eq!(asked.join().unwrap().error_code(), "Executor.QueueFull");
            }
        }
        fs::write(daemon.workspace().join("go"), "").unwrap();
        running.join().unwrap();
    });
    let free = json!({"language": "shell", "code": "echo free", "execution_id": "exec_0"});
    assert_eq!(daemon.execute(&free).result()["stdout"], "free\n");
}
