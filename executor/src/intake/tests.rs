//! What is refused and in which words, and what is accepted as what. The rules of single fields are tested in
//! `tests/requests.rs`, together with the OpenAPI document that states them; hostile requests in `hostile.rs`.

use std::time::Duration;

use protocol::{ExecuteRequest, Language};
use sandbox::program::Mode;

use super::*;
use crate::job::{Job, Place};

mod hostile;

fn intake(body: &[u8]) -> Result<Job, Vec<Problem>> {
    check(decode(body)?, &Ceilings::default())
}

fn messages(body: &str) -> Vec<String> {
    intake(body.as_bytes()).unwrap_err().into_iter().map(|problem| problem.message).collect()
}

fn with(field: &str, value: &str) -> String {
    format!(r#"{{"code":"x","language":"python","{field}":{value}}}"#)
}

#[test]
fn what_is_not_a_json_object_is_refused_with_the_place() {
    for (body, expected) in [
        (&b""[..], "the body is empty"),
        (b" \n ", "the body is empty"),
        (b"null", "the body must be a JSON object, not null"),
        (b"[]", "not an array"),
        (b"\"x\"", "not a string"),
        (b"17", "not a number"),
        (b"true", "not a boolean"),
        (b"{\"code\":\"x\",\n \"language\"", "line 2 column 11"),
        (b"{} x", "trailing characters at line 1 column 4"),
        (b"{}{}", "trailing characters"),
        (b"{'code':'x'}", "key must be a string at line 1 column 2"),
        (b"{/* no */}", "line 1 column 2"),
        (b"{\"timeout\":NaN}", "line 1 column 12"),
        (b"{\"timeout\":Infinity}", "line 1 column 12"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"{\"code\":\"\xff\"}", "not UTF-8: the byte at offset 9"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b"{\"code\":\"a\nb\"}", "control character"),
    ] {
        let problems = intake(body).unwrap_err();
        assert_eq!(problems.len(), 1, "{body:?}");
        assert_eq!(problems[0].field, "body");
        assert!(problems[0].message.contains(expected), "{body:?}: {}", problems[0].message);
    }
}

#[test]
fn every_problem_is_reported_in_one_answer() {
    let body = r#"{"languge":"python","timeout":"10","limits":{"memory_mb":9999,"cpu":1},"env_vars":{"1":"x","A":2},
        "files":[{"path":"../x","content":"?","encoding":"base64"},7],"execution_id":"../x","stdin":"\ud800"}"#;
    let problems = intake(body.as_bytes()).unwrap_err();
    let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "languge",
            "code",
            "language",
            "timeout",
            "limits.cpu",
            "limits.memory_mb",
            "execution_id",
            "stdin",
            "env_vars",
            "env_vars.A",
            "files[0].path",
            "files[1]",
        ]
    );
}

#[test]
fn a_field_without_a_name_is_reported_where_it_stands() {
    for (body, place) in [
        (with("", "1"), "body"),
        (with("limits", r#"{"": 1}"#), "limits"),
        (with("files", r#"[{"path": "a", "content": "", "": 1}]"#), "files[0]"),
    ] {
        let problems = intake(body.as_bytes()).unwrap_err();
        assert_eq!(problems.iter().map(|problem| problem.field.as_str()).collect::<Vec<_>>(), [place]);
    }
}

#[test]
fn messages_name_the_field_what_it_must_be_and_what_it_was() {
    for (body, expected) in [
        (with("timeout", "\"10\""), "timeout must be a number of seconds from 1 to 3600, not a string"),
        (with("timeout", "0.5"), "timeout must be a number of seconds from 1 to 3600, not 0.5"),
        (with("tiemout", "10"), "unknown field \"tiemout\"; did you mean \"timeout\"?"),
        (
            with("limits", r#"{"memory_mb":4096}"#),
            "limits.memory_mb must be a whole number of MiB from 16 to 512 (the ceiling of this daemon, \
             MAX_MEMORY_MB), not 4096",
        ),
        (
            with("limits", r#"{"memory":64}"#),
            "unknown field \"memory\" in limits; did you mean \"memory_mb\"?",
        ),
        (with("code", "\"y\""), "code is given more than once"),
        (
            with("mode", "\"Script\""),
            "mode must be one of handler, script, not \"Script\"; did you mean \"script\"?",
        ),
        (with("files", "{}"), "files must be an array, not an object"),
    ] {
        assert_eq!(messages(&body), [expected], "{body}");
    }
}

#[test]
fn only_the_documented_languages_are_known_and_others_get_a_hint() {
    for (name, hint) in [
        ("Python", Some("python")),
        ("python3", Some("python")),
        ("py", Some("python")),
        (" python", Some("python")),
        ("bash", Some("shell")),
        ("node", Some("javascript")),
        ("python\\u0000", Some("python")),
        ("pуthon", Some("python")),
        ("../sh", None),
        ("", None),
    ] {
        let found = messages(&format!(r#"{{"code":"x","language":"{name}"}}"#));
        assert_eq!(found.len(), 1);
        let ending = hint.map_or("\"".to_owned(), |hint| format!("; did you mean {hint:?}?"));
        assert!(found[0].ends_with(&ending), "{}", found[0]);
    }
}

#[test]
fn a_thousand_levels_of_event_arrive_as_written() {
    let event = "[".repeat(1000) + &"]".repeat(1000);
    assert_eq!(intake(with("event", &event).as_bytes()).unwrap().program.event.get(), event);
}

#[test]
fn a_script_may_read_deep_json_from_stdin() {
    let stdin = serde_json::to_string(&("[".repeat(2000) + &"]".repeat(2000))).unwrap();
    let body = format!(r#"{{"code":"cat","language":"shell","stdin":{stdin}}}"#);
    let program = intake(body.as_bytes()).unwrap().program;
    assert_eq!((program.event.get(), program.stdin.len()), ("{}", 4000));
}

#[test]
fn the_event_keeps_digits_key_order_and_repeated_keys() {
    for event in [
        "12345678901234567890123",
        "1e400",
        "-0.0",
        r#"{"b":1,"a":2,"b":3,"__proto__":{}}"#,
        "null",
        r#""\ud800""#,
    ] {
        assert_eq!(intake(with("event", event).as_bytes()).unwrap().program.event.get(), event);
    }
}

#[test]
fn defaults_are_those_of_the_contract() {
    let job = intake(br#"{"code":"x","language":"python"}"#).unwrap();
    assert_eq!(job.place, Place::Container);
    assert_eq!(job.limits.wall, Duration::from_secs(30));
    assert_eq!((job.limits.memory, job.limits.cpu), (Ceilings::default().memory, None));
    assert_eq!((job.program.event.get(), job.program.stdin.as_str()), ("{}", ""));
    for (language, mode) in [("python", Mode::Handler), ("javascript", Mode::Auto), ("shell", Mode::Script)] {
        let job = intake(format!(r#"{{"code":"x","language":"{language}"}}"#).as_bytes()).unwrap();
        assert_eq!(job.program.mode, mode);
    }
}

// LG-07
#[test]
fn a_generated_execution_id_has_the_documented_form_and_differs_each_time() {
    let id = new_execution_id();
    let parts: Vec<&str> = id.split('_').collect();
    assert_eq!((parts[0], parts[1].len(), parts[2].len()), ("exec", 8, 8), "{id}");
    assert!(parts[1].bytes().all(|byte| byte.is_ascii_digit()));
    assert!(parts[2].bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
    assert_ne!(id, new_execution_id());
}

#[test]
fn the_fingerprint_ignores_the_id_the_order_and_nulls_and_sees_everything_else() {
    let of = |body: &str| intake(body.as_bytes()).unwrap().fingerprint;
    let first = of(r#"{"code":"x","language":"python","execution_id":"exec_1"}"#);
    assert_eq!(first, of(r#"{ "language": "python", "timeout":null, "code": "x" }"#));
    assert_ne!(first, of(r#"{"code":"y","language":"python"}"#));
    assert_ne!(first, of(r#"{"code":"x","language":"python","event":null}"#));
    assert_ne!(first, of(r#"{"code":"x","language":"python","timeout":30}"#));
}

#[test]
fn the_command_line_gets_the_same_defaults_and_the_same_refusals() {
    let mut request = ExecuteRequest::new(Language::Shell, "true");
    let job = from_request(&request, &Ceilings::default()).unwrap();
    assert_eq!((job.program.mode, job.limits.wall), (Mode::Script, Duration::from_secs(30)));
    request.timeout = Some(f64::NAN);
    // JSON has no NaN: it becomes null, which is "left out".
    assert!(from_request(&request, &Ceilings::default()).is_ok());
    request.timeout = Some(1e308);
    assert!(from_request(&request, &Ceilings::default()).is_err());
}
