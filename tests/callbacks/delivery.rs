//! Attempts: which answers are final, which are tried again and when, and that nobody waits for somebody else's bad luck.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use conformance::Daemon;
use control_plane_mock::{Action, Call, Kind, Rule};
use serde_json::json;

use crate::support::{
    PATIENCE, accepted, accepted_in_the_end, attempts, begin, call, daemon, mock, names, nothing_wrong,
    script, tool, waiting,
};

/// What a machine that compiles meanwhile may add to a pause.
const SLACK: Duration = Duration::from_secs(12);

const JSON: (&str, &str) = ("content-type", "application/json");

fn status(code: u16) -> Action {
    answering(code, &[])
}

fn answering(code: u16, headers: &[(&str, &str)]) -> Action {
    let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    Action::Status { code, headers: headers.collect::<BTreeMap<_, _>>(), body: String::new() }
}

/// Between the beginnings of one call and of the next.
fn pauses(calls: &[Call]) -> Vec<Duration> {
    calls.windows(2).map(|pair| pair[1].arrived_after - pair[0].arrived_after).collect()
}

/// Every attempt says the same under the same key. // CP-07
fn all_the_same(calls: &[Call]) {
    for call in calls {
        assert_eq!(call.idempotency_key, calls[0].idempotency_key);
        assert_eq!(call.body_sha256, calls[0].body_sha256);
    }
}

/// Lets one execution per action meet it `times` times, and gives what the control plane heard of each.
fn meeting(actions: Vec<(String, Action)>, times: u32) -> Vec<(String, Vec<Call>)> {
    let mock = mock();
    let daemon = daemon(&mock);
    for (id, action) in &actions {
        mock.script(Rule::new(action.clone()).of_execution(id).of_kind(Kind::Result).times(times));
    }
    for (id, _) in &actions {
        assert_eq!(daemon.execute(&script(id, "echo hello")).result()["callback"], "journalled");
    }
    for (id, _) in &actions {
        accepted(&mock, id);
    }
    daemon.eventually("nothing is left on disk", |daemon| names(&daemon.results()).is_empty());
    drop(daemon);
    nothing_wrong(&mock);
    actions.into_iter().map(|(id, _)| (id.clone(), attempts(&mock, &id))).collect()
}

// CP-04
#[test]
fn a_status_that_may_pass_is_tried_again_after_one_and_two_seconds() {
    let codes = [408, 425, 429, 500, 501, 502, 503, 504, 507, 599];
    let actions = codes.map(|code| (format!("exec_{code}"), status(code)));
    for (id, calls) in meeting(actions.to_vec(), 2) {
        assert_eq!(calls.len(), 3, "{id}");
        for (pause, least) in pauses(&calls).into_iter().zip([1, 2].map(Duration::from_secs)) {
            assert!(pause >= least && pause < least + SLACK, "{id}: {pause:?}");
        }
        all_the_same(&calls);
    }
}

#[test]
fn a_connection_that_breaks_is_no_answer_wherever_it_breaks() {
    let actions = [
        ("exec_reset", Action::Reset),
        ("exec_close", Action::CloseBeforeAnswer),
        ("exec_half", Action::CloseMidAnswer),
        ("exec_stall", Action::Stall { seconds: 0.5 }),
    ];
    let actions = actions.map(|(id, action)| (id.to_owned(), action));
    for (id, calls) in meeting(actions.to_vec(), 2) {
        assert_eq!(calls.len(), 3, "{id}");
        for (pause, least) in pauses(&calls).into_iter().zip([1, 2].map(Duration::from_secs)) {
            assert!(pause >= least && pause < least + SLACK, "{id}: {pause:?}");
        }
        all_the_same(&calls);
    }
}

// CP-04
#[test]
fn retry_after_is_waited_for_when_it_is_longer_than_the_pause() {
    let date = tool("date", &["--utc", "--date", "now + 5 seconds", "+%a, %d %b %Y %H:%M:%S GMT"]);
    let (longer, date) = (Duration::from_secs(3), date.trim().to_owned());
    let cases = [
        ("exec_503", 503, "3", longer),
        ("exec_429", 429, "3", longer),
        // Made before the daemon was started, and given in whole seconds: what is left of it is not known better.
        ("exec_date", 503, &*date, Duration::from_secs(1)),
        ("exec_zero", 503, "0", Duration::from_secs(1)),
        ("exec_past", 429, "Sun, 06 Nov 1994 08:49:37 GMT", Duration::from_secs(1)),
        ("exec_garbage", 503, "soon", Duration::from_secs(1)),
        ("exec_negative", 429, "-3", Duration::from_secs(1)),
        ("exec_empty", 503, "", Duration::from_secs(1)),
    ];
    let actions =
        cases.map(|(id, code, value, _)| (id.to_owned(), answering(code, &[("retry-after", value)])));
    for ((id, calls), (_, _, value, least)) in meeting(actions.to_vec(), 1).into_iter().zip(cases) {
        assert_eq!(calls.len(), 2, "{id}");
        let pause = pauses(&calls)[0];
        assert!(pause >= least && pause < least + SLACK, "{id}, Retry-After: {value}: {pause:?}");
        all_the_same(&calls);
    }
}

// CP-04
#[test]
fn a_retry_after_of_a_date_is_not_tried_before_it() {
    let mock = mock();
    let daemon = daemon(&mock);
    let date = tool("date", &["--utc", "--date", "now + 6 seconds", "+%s %a, %d %b %Y %H:%M:%S GMT"]);
    let (seconds, date) = date.trim().split_once(' ').unwrap();
    mock.script(Rule::new(answering(503, &[("retry-after", date)])).of_kind(Kind::Result).times(1));
    daemon.execute(&script("exec_date", "true")).result();
    let arrived = accepted(&mock, "exec_date").arrived.as_millisecond();
    // The daemon's own clock is read some moments after the mock's, and rounded to its own milliseconds.
    assert!(arrived >= seconds.parse::<i64>().unwrap() * 1000 - 5, "{arrived} is before {date}");
    assert_eq!(attempts(&mock, "exec_date").len(), 2);
    nothing_wrong(&mock);
}

// CP-04
#[test]
fn a_retry_after_of_years_is_taken_for_ten_minutes() {
    let mock = mock();
    let daemon = daemon(&mock);
    mock.script(Rule::new(answering(503, &[("retry-after", "1000000000")])).of_kind(Kind::Result).times(1));
    daemon.execute(&script("exec_years", "true")).result();
    daemon.eventually("it is put off", |daemon| !daemon.events("callback_deferred").is_empty());
    let deferred = &daemon.events("callback_deferred")[0];
    assert_eq!(deferred["retry_in_ms"], 600_000, "{deferred}");
    // Whoever shuts the daemon down does not wait for that: it is tried once more.
    accepted_in_the_end(&mock, daemon, &["exec_years"]);
    assert_eq!(attempts(&mock, "exec_years").len(), 2);
    nothing_wrong(&mock);
}

// CP-04
#[test]
fn an_answer_that_is_final_is_the_last_one_and_the_file_is_gone() {
    let codes = [200, 201, 202, 204, 206, 226, 299, 409];
    let actions = codes.map(|code| (format!("exec_{code}"), status(code)));
    // The daemon has ended by now, and on the way has tried whatever it still had.
    for (id, calls) in meeting(actions.to_vec(), 1) {
        assert_eq!(calls.len(), 1, "{id}");
    }
}

#[test]
fn while_nobody_listens_results_wait_on_disk_and_callers_do_not() {
    let mock = mock();
    let daemon = daemon(&mock);
    mock.refuse_connections();
    assert_eq!(daemon.execute(&script("exec_away", "echo hello")).result()["callback"], "journalled");
    daemon.eventually("an attempt has failed", |daemon| !daemon.events("callback_deferred").is_empty());
    assert_eq!(names(&daemon.results()), ["exec_away.json"]);
    assert_eq!(waiting(&daemon, "pending"), 1);
    let deferred = &daemon.events("callback_deferred")[0];
    assert!(deferred["error"].as_str().unwrap().contains("cannot connect"), "{deferred}");
    mock.accept_connections();
    accepted(&mock, "exec_away");
    daemon.eventually("nothing is left on disk", |daemon| names(&daemon.results()).is_empty());
    daemon.eventually("nothing waits", |daemon| waiting(daemon, "pending") == 0);
    accepted_in_the_end(&mock, daemon, &["exec_away"]);
    nothing_wrong(&mock);
}

// CP-02
#[test]
fn a_call_that_is_never_answered_delays_neither_results_nor_answers_of_others() {
    let mock = mock();
    let daemon = daemon(&mock);
    mock.script(Rule::new(Action::Hold).of_execution("exec_stalled").of_kind(Kind::Result));
    let asked = Instant::now();
    daemon.execute(&script("exec_stalled", "true")).result();
    call(&mock, |call| call.kind == Kind::Result && call.execution_id.as_deref() == Some("exec_stalled"));
    let others = ["exec_1", "exec_2", "exec_3", "exec_4", "exec_5"];
    for id in others {
        daemon.execute(&script(id, "true")).result();
        accepted(&mock, id);
    }
    // As long as nobody gave the stalled call up, it was under way all the time.
    if asked.elapsed() < Duration::from_secs(25) {
        assert_eq!(attempts(&mock, "exec_stalled").len(), 1);
    }
    assert!(attempts(&mock, "exec_stalled").iter().all(|call| !call.accepted));
    assert!(mock.step());
    accepted(&mock, "exec_stalled");
    accepted_in_the_end(&mock, daemon, &["exec_stalled"]);
    nothing_wrong(&mock);
}

// CP-02
#[test]
fn fifty_stalled_results_keep_no_slot_and_no_other_result() {
    let mock = mock();
    let daemon = daemon(&mock);
    let stalled: Vec<String> = (0..50).map(|number| format!("exec_stalled_{number}")).collect();
    for id in &stalled {
        let rule = Rule::new(Action::Stall { seconds: 60.0 }).of_execution(id).of_kind(Kind::Result);
        mock.script(rule);
    }
    thread::scope(|scope| {
        for part in stalled.chunks(25) {
            scope.spawn(|| part.iter().for_each(|id| drop(daemon.execute(&script(id, "true")).result())));
        }
    });
    daemon.execute(&script("exec_free", "true")).result();
    accepted(&mock, "exec_free");
    assert_eq!(daemon.get("/health").json()["active_executions"], 0);
    mock.clear_script();
    // Whoever stalled them lets them go, as a control plane that is started again does.
    mock.refuse_connections();
    mock.accept_connections();
    for id in &stalled {
        accepted(&mock, id);
    }
    let stalled: Vec<&str> = stalled.iter().map(String::as_str).collect();
    accepted_in_the_end(&mock, daemon, &stalled);
    nothing_wrong(&mock);
}

#[test]
fn a_result_arrives_within_five_seconds_of_the_end() {
    let mock = mock();
    let daemon = daemon(&mock);
    for id in ["exec_1", "exec_2", "exec_3"] {
        daemon.execute(&script(id, "true")).result();
        let over = Instant::now();
        accepted(&mock, id);
        assert!(over.elapsed() < Duration::from_secs(5), "{:?}", over.elapsed());
    }
    nothing_wrong(&mock);
}

#[test]
fn ten_mebibytes_of_output_arrive_whole() {
    let mock = mock();
    mock.script(Rule::new(Action::CloseMidAnswer).of_kind(Kind::Result).times(1));
    let daemon = daemon(&mock);
    let code = "head -c 10485760 /dev/zero | tr '\\0' '\"'";
    let answer = daemon.execute(&script("exec_long", code)).result();
    assert_eq!(answer["stdout"].as_str().map(str::len), Some(10 << 20));
    accepted(&mock, "exec_long");
    let calls = attempts(&mock, "exec_long");
    assert_eq!(calls.len(), 2);
    all_the_same(&calls);
    // Not `assert_eq`: nobody wants to read twenty megabytes.
    assert!(calls.iter().all(|call| *call.body == answer));
    nothing_wrong(&mock);
}

#[test]
fn every_call_about_a_run_carries_the_request_id_and_the_trace_of_its_request() {
    let mock = mock();
    mock.script(Rule::new(Action::Reset).of_kind(Kind::Result).times(1));
    let daemon = daemon(&mock);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers =
        [JSON, ("x-request-id", "request-42"), ("traceparent", parent), ("tracestate", "rojo=1, congo=t61")];
    let body = script("exec_traced", "true").to_string().into_bytes();
    assert_eq!(daemon.request("POST", "/execute", &headers, body).header("x-request-id"), Some("request-42"));
    accepted(&mock, "exec_traced");
    let of_it = |call: &Call| call.execution_id.as_deref() == Some("exec_traced");
    let calls: Vec<_> = mock.calls().into_iter().filter(of_it).collect();
    assert!(calls.iter().any(|call| call.kind == Kind::Heartbeat) && calls.len() >= 3, "{calls:#?}");
    for call in calls {
        assert_eq!(call.headers["x-request-id"], "request-42", "{}", call.path);
        assert_eq!(call.headers["traceparent"], parent, "{}", call.path);
        assert_eq!(call.headers["tracestate"], "rojo=1, congo=t61", "{}", call.path);
    }
    nothing_wrong(&mock);
}

#[test]
fn a_trace_that_is_none_is_replaced_by_a_new_one() {
    let mock = mock();
    let daemon = daemon(&mock);
    let traces = [
        "garbage",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
    ];
    let mut begun = BTreeSet::new();
    for (number, trace) in traces.into_iter().enumerate() {
        let id = format!("exec_{number}");
        let headers =
            [("content-type", "application/json"), ("traceparent", trace), ("tracestate", "rojo=1")];
        let answer = daemon.request("POST", "/execute", &headers, script(&id, "true").to_string().into());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let heard = accepted(&mock, &id);
        let parent = &heard.headers["traceparent"];
        assert!(
            !parent.contains("0af7651916cd43dd8448eb211c80319c") && begun.insert(parent.clone()),
            "{trace}: {parent}"
        );
        assert_eq!(heard.headers.get("tracestate"), None, "{trace}");
        assert_eq!(Some(&*heard.headers["x-request-id"]), answer.header("x-request-id"));
    }
    daemon.execute(&script("exec_none", "true")).result();
    assert!(begun.insert(accepted(&mock, "exec_none").headers["traceparent"].clone()));
    nothing_wrong(&mock);
}

#[test]
fn without_a_control_plane_callbacks_are_off() {
    let daemon = Daemon::default_settings();
    assert_eq!(daemon.execute(&script("exec_off", "true")).result()["callback"], "off");
    assert_eq!(names(&daemon.results()), [""; 0]);
    assert_eq!(daemon.get("/health").json()["outbox"], json!(null));
}

#[test]
fn a_request_that_is_made_again_is_called_back_once() {
    let mock = mock();
    let daemon = daemon(&mock);
    let request = script("exec_twice", "sleep 0.5; echo $$");
    let other = begin(&daemon, &request);
    let answer = daemon.execute(&request).result();
    assert_eq!(*accepted(&mock, "exec_twice").body, answer);
    assert_eq!(daemon.execute(&request).result(), answer);
    drop(other);
    accepted_in_the_end(&mock, daemon, &["exec_twice"]);
    assert_eq!(attempts(&mock, "exec_twice").len(), 1);
    nothing_wrong(&mock);
}

#[test]
fn a_caller_who_leaves_does_not_take_the_callback_along() {
    let mock = mock();
    let daemon = daemon(&mock);
    let caller = begin(&daemon, &script("exec_alone", "sleep 0.5; echo done"));
    call(&mock, |call| call.kind == Kind::Heartbeat && call.execution_id.as_deref() == Some("exec_alone"));
    drop(caller);
    assert_eq!(accepted(&mock, "exec_alone").body["stdout"], "done\n");
    accepted_in_the_end(&mock, daemon, &["exec_alone"]);
    nothing_wrong(&mock);
}

#[test]
fn a_refused_request_is_not_called_back() {
    let mock = mock();
    let daemon = daemon(&mock);
    let mut request = script("exec_refused", "true");
    request["timeout"] = json!(-1);
    assert_eq!(daemon.execute(&request).status, 400);
    daemon.execute(&script("exec_after", "true")).result();
    accepted(&mock, "exec_after");
    drop(daemon);
    assert!(mock.executions().keys().all(|id| id != "exec_refused"));
    let quiet =
        mock.wait_for(PATIENCE, |calls| calls.iter().any(|call| call.kind == Kind::Exited).then_some(()));
    assert!(quiet.is_some());
    nothing_wrong(&mock);
}
