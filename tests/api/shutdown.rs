//! How the daemon ends: who is told what, what is left, and with which code.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use conformance::{Daemon, Settings, processes};
use serde_json::{Value, json};

use crate::raw::{Conversation, post};

const FOR_EVER: &str = "touch started; sleep 1000 & sleep 1000";

fn shell(code: &str) -> Value {
    json!({"language": "shell", "code": code})
}

fn until_started(daemon: &Daemon) {
    daemon.eventually("the program runs", |daemon| daemon.workspace().join("started").exists());
}

/// Everything below the daemon, to be looked for after it.
fn family(daemon: &Daemon) -> Vec<u32> {
    let pids: Vec<u32> = processes::below(daemon.pid()).iter().map(|process| process.pid).collect();
    assert!(pids.len() >= 3, "{pids:?}");
    pids
}

fn none_survives(family: &[u32], within: Duration) {
    let deadline = Instant::now() + within;
    loop {
        let all = processes::all();
        // A zombie is waiting for whoever inherited it, and is nobody.
        let left: Vec<_> =
            family.iter().filter_map(|pid| all.get(pid)).filter(|process| process.state != 'Z').collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still there: {left:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_idle_daemon_ends_at_once_with_the_code_of_its_signal() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut daemon = Daemon::default_settings();
        let mut idle = Conversation::with(&daemon);
        idle.say("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(idle.hear().unwrap().status, 200);
        let mut half = Conversation::with(&daemon);
        half.say("GET /health/live HTTP/1.1\r\nHost:");
        let asked = Instant::now();
        daemon.signal(signal);
        assert_eq!(daemon.wait().code(), Some(code), "{}", daemon.log());
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        idle.is_closed();
        assert!(daemon.log().contains("\"draining\""), "{}", daemon.log());
    }
}

// LC-09
#[test]
fn on_sigterm_every_caller_gets_an_answer_and_nothing_survives() {
    let mut daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 2).start();
    let port = daemon.address();
    let mut running = Conversation::with(&daemon);
    running.say(post(&shell(&format!("echo partial; {FOR_EVER}")).to_string()));
    until_started(&daemon);
    let mut session = Conversation::with(&daemon);
    session.say(post(&json!({"language": "python", "code": "def handler(event):\n    import time\n    time.sleep(1000)", "session_id": "s"}).to_string()));
    daemon.eventually("both run", |daemon| daemon.log().matches("execution_started").count() == 2);
    let mut waiting = Conversation::with(&daemon);
    waiting.say(post(&shell("echo never > never").to_string()));
    daemon.eventually("one waits", |daemon| daemon.get("/health").json()["queued_executions"] == 1);
    let family = family(&daemon);
    let asked = Instant::now();
    daemon.signal("TERM");

    for conversation in [&mut running, &mut session] {
        let heard = conversation.hear().unwrap();
        assert_eq!(heard.status, 200, "{}", heard.head);
        conformance::contract::check("POST", "/execute", 200, "application/json", &heard.body);
        let result = heard.json();
        assert_eq!((&result["status"], &result["exit_code"]), (&json!("error"), &json!(-1)), "{result}");
        assert_eq!(result["cause"], "daemon_shutdown");
        assert!(result["stderr"].as_str().unwrap().contains("sandbox-executor: "), "{result}");
    }
    let refused = waiting.hear().unwrap();
    assert_eq!((refused.status, &refused.json()["error_code"]), (503, &json!("Executor.ShuttingDown")));
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);

    assert_eq!(daemon.wait().code(), Some(143), "{}", daemon.log());
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    none_survives(&family, Duration::ZERO);
    assert!(std::net::TcpStream::connect(port).is_err());
    assert!(!daemon.workspace().join("never").exists());
    for level in ["\"level\":\"error\"", "panicked", "connections_dropped"] {
        assert!(!daemon.log().contains(level), "{}", daemon.log());
    }
}

// LC-09
#[test]
fn the_grace_period_lets_a_short_run_finish_and_refuses_new_ones() {
    let mut daemon = Settings::new().set("SHUTDOWN_GRACE_SECONDS", 20).start();
    let mut running = Conversation::with(&daemon);
    running.say(post(
        &shell("touch started; while [ ! -e go ]; do sleep 0.02; done; echo finished").to_string(),
    ));
    until_started(&daemon);
    // A connection from before: no new one is accepted while draining.
    let mut probe = Conversation::with(&daemon);
    probe.say("GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(probe.hear().unwrap().status, 200);
    daemon.signal("TERM");
    daemon.eventually("draining", |daemon| daemon.log().contains("\"draining\""));
    // Not ready, alive, and not for new work, for as long as somebody can ask.
    for (request, status) in [
        ("GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 503),
        ("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 200),
        (post(&shell("echo late > late").to_string()), 503),
    ] {
        if probe.say(&request)
            && let Some(heard) = probe.hear()
        {
            assert_eq!(heard.status, status, "{request}: {}", heard.head);
        }
    }
    fs::write(daemon.workspace().join("go"), "").unwrap();
    let result = running.hear().unwrap().json();
    assert_eq!((&result["status"], &result["stdout"]), (&json!("success"), &json!("finished\n")), "{result}");
    let over = Instant::now();
    assert_eq!(daemon.wait().code(), Some(143), "{}", daemon.log());
    assert!(over.elapsed() < Duration::from_secs(3), "it waited for nobody: {:?}", over.elapsed());
    assert!(!daemon.workspace().join("late").exists());
}

#[test]
fn a_run_that_outlasts_the_grace_period_is_ended() {
    let mut daemon = Settings::new().set("SHUTDOWN_GRACE_SECONDS", 1).start();
    let mut running = Conversation::with(&daemon);
    running.say(post(&shell(FOR_EVER).to_string()));
    until_started(&daemon);
    let family = family(&daemon);
    let asked = Instant::now();
    daemon.signal("TERM");
    let result = running.hear().unwrap().json();
    assert_eq!(result["cause"], "daemon_shutdown", "{result}");
    assert_eq!(daemon.wait().code(), Some(143));
    let took = asked.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(4), "{took:?}");
    none_survives(&family, Duration::ZERO);
}

// LC-09
#[test]
fn a_second_signal_ends_it_at_once() {
    for (second, code) in [("TERM", 143), ("INT", 130)] {
        let mut daemon = Settings::new().set("SHUTDOWN_GRACE_SECONDS", 600).start();
        let mut running = Conversation::with(&daemon);
        running.say(post(&shell(FOR_EVER).to_string()));
        until_started(&daemon);
        let family = family(&daemon);
        daemon.signal("TERM");
        daemon.eventually("draining", |daemon| daemon.log().contains("\"draining\""));
        let asked = Instant::now();
        daemon.signal(second);
        assert_eq!(daemon.wait().code(), Some(code), "{}", daemon.log());
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        none_survives(&family, Duration::from_secs(2));
    }
}

// LC-07
#[test]
fn no_sandbox_survives_a_killed_daemon() {
    let mut daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 3).start();
    let stubborn = "import os, signal, subprocess, sys, time\n\
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))\n\
        if os.fork() == 0:\n    os.setsid()\n    subprocess.Popen(['sleep', '1000'], start_new_session=True)\n\
        open('started', 'w').close()\ntime.sleep(1000)\n";
    let mut callers = Vec::new();
    for request in [
        json!({"language": "python", "mode": "script", "code": stubborn}),
        json!({"language": "javascript", "code": "setInterval(() => {}, 1000)", "workspace": "fresh"}),
        json!({"language": "shell", "code": "trap '' TERM HUP INT; nohup sleep 1000 & sleep 1000", "workspace": "fresh"}),
    ] {
        let mut caller = Conversation::with(&daemon);
        caller.say(post(&request.to_string()));
        callers.push(caller);
    }
    daemon.eventually("all run", |daemon| daemon.log().matches("execution_started").count() == 3);
    until_started(&daemon);
    let family = family(&daemon);
    daemon.signal("KILL");
    assert_eq!(daemon.wait().signal(), Some(9));
    none_survives(&family, Duration::from_secs(2));
    for caller in &mut callers {
        assert!(caller.hear().is_none());
    }
}

#[test]
fn a_signal_during_the_start_ends_it() {
    // At whatever point of the start it arrives.
    for delay in [0, 20, 60, 120, 200] {
        let program = crate::program::Program::new(&[]);
        let ended = program.ended_by_sigterm_after(Duration::from_millis(delay));
        assert!(ended.code == Some(143) || ended.signal == Some(15), "after {delay} ms: {ended:?}");
    }
}
