//! The rules of every request field, once: what the daemon accepts is what the OpenAPI document says.
//!
//! Each case goes through both. Where the two may differ, the case says so: a schema cannot count bytes of UTF-8, compare
//! elements of a list with each other, or see a field that was given twice.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helper functions too")]

use executor::intake::{Ceilings, check, decode};
use serde_json::{Value, json};

fn accepted_by_the_daemon(body: &Value) -> bool {
    decode(body.to_string().as_bytes()).is_ok_and(|raw| check(raw, &Ceilings::default()).is_ok())
}

fn schema() -> jsonschema::Validator {
    let text = include_str!("../../openapi/executor-api.yaml");
    let mut document: Value = serde_saphyr::from_str(text).unwrap();
    document["$ref"] = json!("#/components/schemas/ExecuteRequest");
    jsonschema::draft202012::new(&document).unwrap()
}

fn with(field: &str, value: Value) -> Value {
    let mut body = json!({"code": "x", "language": "python"});
    body[field] = value;
    body
}

fn file(path: &str) -> Value {
    with("files", json!([{"path": path, "content": ""}]))
}

fn limit(name: &str, value: Value) -> Value {
    with("limits", json!({name: value}))
}

fn encoded(content: &str) -> Value {
    with("files", json!([{"path": "a", "content": content, "encoding": "base64"}]))
}

fn many_variables(count: usize) -> Value {
    with("env_vars", (0..count).map(|number| (format!("A{number}"), json!(""))).collect())
}

fn good() -> Vec<Value> {
    let mut bodies = vec![
        with("code", json!("\u{0}")),
        with("code", json!("x".repeat(1 << 20))),
        with("execution_id", json!("exec_a-Z_9")),
        with("execution_id", json!(format!("exec_{}", "x".repeat(64)))),
        with("session_id", json!("0")),
        with("workspace", json!("fresh")),
        with("on_disconnect", json!("continue")),
        with("on_disconnect", json!("cancel")),
        json!({"code": "x", "language": "python", "workspace": "persistent", "session_id": "s"}),
        json!({"code": "x", "language": "python", "workspace": "fresh", "session_id": null}),
        json!({"code": "x", "language": "shell", "mode": "script"}),
        with("mode", json!("handler")),
        with("stdin", json!("\u{0}é")),
        with("env_vars", json!({"_a": "", "PATH": "x=y\n"})),
        many_variables(64),
        with("files", json!([])),
        with("files", json!([{"path": "a", "content": "\u{0}", "encoding": "utf8"}])),
        with("limits", json!({})),
    ];
    bodies.extend(
        [json!(1), json!(3600), json!(1.5), json!(1e3), json!(10.0)].map(|value| with("timeout", value)),
    );
    bodies.extend(["", "QQ==", "QUI=", "QUJD", "+/+/"].map(encoded));
    bodies.extend(
        ["a", "a/b.c", ".a", "..a", "...", "a/..b/.c", "é ü", "-x", "a\nb", "%2e%2e", "\\"].map(file),
    );
    bodies.extend([
        limit("memory_mb", json!(16)),
        limit("memory_mb", json!(512)),
        limit("memory_mb", json!(256.0)),
        limit("cpu_seconds", json!(0.1)),
        limit("cpu_seconds", json!(230_400)),
        limit("max_processes", json!(1)),
        limit("max_open_files", json!(16)),
        limit("max_file_mb", json!(1)),
        limit("max_output_bytes", json!(1024)),
        limit("max_output_bytes", json!(10_485_760)),
    ]);
    let optional = [
        "timeout",
        "execution_id",
        "session_id",
        "workspace",
        "on_disconnect",
        "event",
        "stdin",
        "mode",
        "env_vars",
    ];
    bodies.extend(optional.into_iter().chain(["files", "limits"]).map(|field| with(field, Value::Null)));
    bodies.extend(
        [json!(0), json!(false), json!(""), json!([]), json!({"a": [1]})].map(|value| with("event", value)),
    );
    bodies
}

fn bad() -> Vec<Value> {
    let mut bodies = vec![
        json!({}),
        json!({"code": "x"}),
        json!({"language": "python"}),
        with("code", json!("")),
        with("code", Value::Null),
        with("code", json!("x".repeat((1 << 20) + 1))),
        with("code", json!(["x"])),
        with("language", Value::Null),
        with("frobnicate", json!(1)),
        json!({"code": "x", "language": "python", "workspace": "fresh", "session_id": "s"}),
        json!({"code": "x", "language": "shell", "mode": "handler"}),
        with("mode", json!("auto")),
        with("workspace", json!("new")),
        with("on_disconnect", json!("stop")),
        with("on_disconnect", json!(true)),
        with("stdin", json!(1)),
        with("env_vars", json!([])),
        with("env_vars", json!({"A": 1})),
        with("env_vars", json!({"A": null})),
        with("env_vars", json!({"A": {"B": "c"}})),
        with("env_vars", json!({"A": "\u{0}"})),
        many_variables(65),
        with("files", json!("a")),
        with("files", json!([1])),
        with("files", json!([{"path": "a"}])),
        with("files", json!([{"content": ""}])),
        with("files", json!([{"path": "a", "content": "", "mode": "0755"}])),
        with("files", json!([{"path": "a", "content": "", "encoding": "utf16"}])),
        with("files", json!(vec![json!({"path": "a", "content": ""}); 2])),
        with("limits", json!([])),
        limit("tmp_mb", json!(1)),
        limit("memory_mb", json!("64")),
        limit("memory_mb", json!(15)),
        limit("memory_mb", json!(513)),
        limit("memory_mb", json!(64.5)),
        limit("cpu_seconds", json!(0.09)),
        limit("cpu_seconds", json!(230_401)),
        limit("max_processes", json!(0)),
        limit("max_processes", json!(-1)),
        limit("max_processes", json!(129)),
        limit("max_open_files", json!(15)),
        limit("max_open_files", json!(1025)),
        limit("max_file_mb", json!(0)),
        limit("max_file_mb", json!(101)),
        limit("max_output_bytes", json!(1023)),
        limit("max_output_bytes", json!(10_485_761)),
    ];
    let timeouts =
        [json!(0), json!(-1), json!(-0.0), json!(0.5), json!(3600.1), json!(3601), json!(1e308), json!("10")];
    bodies.extend(
        timeouts.into_iter().chain([json!(u64::MAX), json!(true)]).map(|value| with("timeout", value)),
    );
    let languages = ["Python", "python3", "py", " python", "bash", "../sh", "python\0", ""];
    bodies.extend(languages.map(|name| json!({"code": "x", "language": name})));
    let ids =
        ["", "exec_", "../../x", "/etc/x", "exec_a/b", "exec_..", "exec_.", "exec_\0", "exec_a\n", "exec_é"];
    bodies.extend(ids.map(|id| with("execution_id", json!(id))));
    let ids = ["exec_%2e%2e%2f", "exec_?x=1#y", "-exec_a", "exec_a b", "EXEC_a", "a"];
    bodies.extend(ids.map(|id| with("execution_id", json!(id))));
    bodies.push(with("execution_id", json!(format!("exec_{}", "x".repeat(65)))));
    let ids = ["", "-a", "_a", ".", "a.b", "a/b", "a\n", "é"];
    bodies.extend(ids.map(|id| with("session_id", json!(id))));
    bodies.push(with("session_id", json!("x".repeat(65))));
    let names = ["", "1", "A=B", "A-B", "A B", "A\0", "é", "A\n"];
    bodies.extend(names.map(|name| with("env_vars", json!({name: "x"}))));
    let paths = ["", "/a", "..", ".", "a/..", "../a", "a/../b", "a//b", "a/", "./a", "a/./b", "a\0b", "/"];
    bodies.extend(paths.map(file));
    bodies.push(file(&"a/".repeat(2048).trim_end_matches('/').replace("a/a", "aa/a")));
    bodies.extend(
        ["Q", "QQ", "QQ=", "QR==", "Q Q=", "QQ==\n", "QUI-", "Q?==", "====", "QQ==QQ=="].map(encoded),
    );
    bodies
}

/// Refused by the daemon, and more than a schema can say.
fn bad_beyond_the_schema() -> Vec<Value> {
    let twice = json!([{"path": "a", "content": "1"}, {"path": "a", "content": "2"}]);
    let beneath = json!([{"path": "a", "content": ""}, {"path": "a/b/c", "content": ""}]);
    vec![
        with("files", twice),
        with("files", beneath),
        with("code", json!("é".repeat((1 << 19) + 1))),
        with("env_vars", json!({"A": "x".repeat(32 * 1024)})),
        file(&"x".repeat(256)),
        file(&"é".repeat(128)),
    ]
}

#[test]
fn good_requests_are_accepted_by_the_daemon_and_by_the_document() {
    let schema = schema();
    for body in good() {
        let shown: String = body.to_string().chars().take(200).collect();
        let refused =
            decode(body.to_string().as_bytes()).and_then(|raw| check(raw, &Ceilings::default())).err();
        assert_eq!(refused, None, "{shown}");
        assert!(schema.is_valid(&body), "the document refuses {shown}: {:?}", schema.validate(&body));
    }
}

#[test]
fn bad_requests_are_refused_by_the_daemon_and_by_the_document() {
    let schema = schema();
    for body in bad() {
        let shown: String = body.to_string().chars().take(200).collect();
        assert!(!accepted_by_the_daemon(&body), "the daemon takes {shown}");
        assert!(!schema.is_valid(&body), "the document allows {shown}");
    }
}

#[test]
fn the_document_is_never_stricter_than_the_daemon() {
    let schema = schema();
    for body in bad_beyond_the_schema() {
        let shown: String = body.to_string().chars().take(200).collect();
        assert!(!accepted_by_the_daemon(&body), "the daemon takes {shown}");
        assert!(schema.is_valid(&body), "move this to bad(): {shown}");
    }
}

#[test]
fn repeated_names_and_half_surrogates_are_refused_wherever_they_stand() {
    for members in [
        r#""language":"shell","language":"python""#,
        r#""language":"python","env_vars":{"A":"1","A":"2"}"#,
        r#""language":"python","limits":{"memory_mb":64,"memory_mb":64}"#,
        r#""language":"python","files":[{"path":"a","path":"b","content":""}]"#,
        r#""language":"python","stdin":"\ud800""#,
        r#""language":"python","\udc00":1"#,
        r#""language":"python","env_vars":{"A":"\udfff"}"#,
        r#""language":"python","env_vars":{"\udfff":"A"}"#,
        r#""language":"python","timeout":1e999"#,
        r#""language":"python","timeout":99999999999999999999"#,
    ] {
        let body = format!(r#"{{"code":"x",{members}}}"#);
        let problems = check(decode(body.as_bytes()).unwrap(), &Ceilings::default()).unwrap_err();
        assert_eq!(problems.len(), 1, "{body}: {problems:?}");
    }
}
