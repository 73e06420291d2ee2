//! Rules: what they match, when they act, and what they look like in JSON.

use std::time::{Duration, Instant};

use control_plane_mock::{Action, BadRule, How, Kind, Matches, Rule};
use serde_json::{Value, json};

use crate::client::{Answer, PATIENCE, all};
use crate::messages::{heartbeat, mock, ready, result};

fn status(code: u16) -> Action {
    Action::Status { code, headers: [].into(), body: String::new() }
}

#[test]
fn a_rule_is_for_its_kind_its_execution_its_path_and_so_many_times() {
    let mock = mock();
    mock.script(Rule::new(status(501)).of_kind(Kind::Result).of_execution("exec_1").times(2));
    let path = Some("/internal/containers/ready".to_owned());
    mock.script(Rule { matches: Matches { path, ..Matches::default() }, ..Rule::new(status(502)) });
    let answers = [result("exec_1"), result("exec_2"), heartbeat("exec_1", 1), result("exec_1"), ready()];
    let codes = answers.map(|request| request.answer(&mock).status);
    assert_eq!(codes, [501, 200, 200, 501, 502]);
    mock.clear_script();
    assert_eq!(ready().answer(&mock).status, 200);
    assert_eq!(result("exec_1").answer(&mock).status, 200);
}

#[test]
fn a_delay_comes_before_the_action_and_the_call_is_seen_waiting() {
    let mock = mock();
    mock.script(Rule::new(Action::Accept).after(Duration::from_millis(150)));
    let begin = Instant::now();
    let stream = result("exec_1").send(mock.address());
    let first = mock.wait_for(PATIENCE, |calls| calls.first().map(|call| (call.answer.how, call.accepted)));
    assert_eq!(first, Some((How::Waiting, false)));
    assert_eq!(Answer::parse(&all(stream).unwrap()).status, 200);
    assert!(begin.elapsed() >= Duration::from_millis(150));
    let call = mock.calls().remove(0);
    assert_eq!((call.answer.how, call.accepted), (How::Scripted("accept"), true));
}

#[test]
fn held_calls_go_on_one_by_one_in_their_order() {
    let mock = mock();
    assert!(!mock.step());
    mock.script(Rule::new(Action::Hold).times(2));
    let streams = ["exec_1", "exec_2"].map(|id| {
        let stream = result(id).send(mock.address());
        let held = mock.wait_for(PATIENCE, |calls| {
            calls.iter().find(|call| call.execution_id.as_deref() == Some(id)).map(|call| call.answer.how)
        });
        assert_eq!(held, Some(How::Held));
        stream
    });
    for (step, stream) in streams.into_iter().enumerate() {
        assert_eq!(mock.calls().iter().filter(|call| call.accepted).count(), step);
        assert!(mock.step());
        assert_eq!(Answer::parse(&all(stream).unwrap()).status, 200);
    }
    assert!(!mock.step());
    assert!(mock.calls().iter().all(|call| call.accepted && call.answer.how == How::Plain));
}

#[test]
fn who_leaves_while_held_is_not_accepted_and_not_stepped() {
    let mock = mock();
    mock.script(Rule::new(Action::Hold).times(1));
    let stream = result("exec_1").send(mock.address());
    let how = |how| {
        move |calls: &[control_plane_mock::Call]| {
            calls.first().filter(|call| call.answer.how == how).map(|_| ())
        }
    };
    mock.wait_for(PATIENCE, how(How::Held)).expect("held");
    drop(stream);
    mock.wait_for(PATIENCE, how(How::Abandoned)).expect("abandoned");
    assert!(!mock.step());
    assert!(!mock.calls()[0].accepted);
    assert_eq!(result("exec_1").answer(&mock).status, 200);
}

#[test]
fn every_action_has_its_word_and_survives_json() {
    for action in [
        json!("accept"),
        json!({ "status": { "code": 503, "headers": { "Retry-After": "2" }, "body": "later" } }),
        json!("duplicate"),
        json!({ "redirect": { "code": 308, "location": "http://elsewhere.test/" } }),
        json!({ "stall": { "seconds": 40.0 } }),
        json!("reset"),
        json!("close_before_answer"),
        json!("close_mid_answer"),
        json!("accept_then_close"),
        json!({ "slow": { "bytes_per_second": 1 } }),
        json!({ "raw": { "base64": "SFRUUC8wLjkK", "accepted": false } }),
        json!({ "huge": { "bytes": 10_737_418_240_u64 } }),
        json!("hold"),
    ] {
        let parsed: Action = serde_json::from_value(action.clone()).unwrap();
        let word = action.as_str().or_else(|| action.as_object().unwrap().keys().next().map(String::as_str));
        assert_eq!(Some(parsed.word()), word);
        assert_eq!(serde_json::to_value(&parsed).unwrap(), action);
    }
    let least: Rule = serde_json::from_value(json!({ "action": "reset" })).unwrap();
    assert_eq!(least, Rule::new(Action::Reset));
}

#[test]
fn a_rule_that_cannot_be_carried_out_is_refused_with_its_number() {
    for (rule, sentence) in [
        (Rule::new(Action::Reset).with_probability(1.5, 0), "not 1.5"),
        (Rule::new(status(101)), "not 101"),
        (Rule::new(Action::Redirect { code: 200, location: "/".to_owned() }), "not 200"),
        (Rule::new(Action::Redirect { code: 302, location: "/\n".to_owned() }), "cannot be sent"),
        (Rule::new(Action::Stall { seconds: f64::NAN }), "not NaN"),
        (Rule::new(Action::Slow { bytes_per_second: 0 }), "at least 1"),
    ] {
        let mock = mock();
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| mock.script(rule))).unwrap_err();
        let said = panic.downcast_ref::<String>().unwrap();
        assert!(said.contains(sentence), "{said}");
    }
    assert_eq!(BadRule::Rate.to_string().lines().count(), 1);
}

#[test]
fn a_typing_error_in_a_rule_is_named() {
    for (rule, word) in [
        (json!({ "action": "rest" }), "rest"),
        (json!({ "action": "reset", "time": 1 }), "time"),
        (json!({ "action": "reset", "matches": { "sort": "result" } }), "sort"),
        (json!({ "action": { "stall": { "second": 1 } } }), "second"),
        (json!({ "action": { "raw": { "base64": "?" } } }), "base64"),
        (json!({}), "action"),
    ] {
        let error = serde_json::from_value::<Rule>(rule).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    assert!(serde_json::from_value::<Rule>(Value::Null).is_err());
}
