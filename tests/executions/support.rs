//! Executions that leave files, and how to ask for those.

use std::io::Write;
use std::net::TcpStream;

use conformance::{Answer, Daemon};
use serde_json::{Value, json};

/// Runs Python in a workspace of its own and returns the result.
pub(crate) fn fresh(daemon: &Daemon, code: &str) -> Value {
    python(daemon, json!({ "workspace": "fresh", "code": code }))
}

/// Runs Python in the container's workspace and returns the result.
pub(crate) fn in_container(daemon: &Daemon, code: &str) -> Value {
    python(daemon, json!({ "code": code }))
}

fn python(daemon: &Daemon, mut request: Value) -> Value {
    request["language"] = json!("python");
    request["mode"] = json!("script");
    request["timeout"] = json!(60);
    let result = daemon.execute(&request).result();
    assert_eq!(result["status"], "success", "{result:#}");
    result
}

/// Where the file is. Every byte that is not a letter, a digit or a slash is encoded.
pub(crate) fn address(result: &Value, path: &str) -> String {
    let id = result["execution_id"].as_str().unwrap();
    let path: String = path
        .bytes()
        .map(|byte| match byte {
            b'/' => "/".to_owned(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    format!("/executions/{id}/artifacts/{path}")
}

/// Sends a request for this address as it is written: a client would tidy it up first. `headers`: whole lines.
pub(crate) fn ask(daemon: &Daemon, address: &str, headers: &str) -> TcpStream {
    let mut stream = daemon.connect();
    let request = format!("GET {address} HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

pub(crate) fn archive_address(result: &Value) -> String {
    format!("/executions/{}/artifacts.tar.zst", result["execution_id"].as_str().unwrap())
}

pub(crate) fn listed(result: &Value) -> Vec<&str> {
    let artifacts = result["artifacts"].as_array().unwrap().iter();
    artifacts.map(|artifact| artifact["path"].as_str().unwrap()).collect()
}

/// The manifest's entry for this path.
pub(crate) fn entry<'a>(result: &'a Value, path: &str) -> &'a Value {
    let mut artifacts = result["artifacts"].as_array().unwrap().iter();
    artifacts.find(|artifact| artifact["path"] == path).unwrap_or_else(|| panic!("{path:?} is not listed"))
}

pub(crate) fn must_be_gone(answer: &Answer) {
    assert_eq!((answer.status, answer.error_code().as_str()), (410, "Executor.Gone"), "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.json()["error_detail"].is_string());
}

pub(crate) fn must_be_missing(answer: &Answer) {
    assert_eq!(
        (answer.status, answer.error_code().as_str()),
        (404, "Executor.NotFound"),
        "{}",
        answer.text()
    );
}

/// A million bytes and some, no stretch like another: what `PATTERN` makes in a program.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64).map(|index| ((index * index * 31 + index * 7) >> 3) as u8).collect()
}

pub(crate) const PATTERN: &str =
    "def pattern(length): return bytes((((i * i * 31 + i * 7) >> 3) & 255) for i in range(length))\n";
