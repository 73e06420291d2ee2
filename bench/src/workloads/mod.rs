//! The pieces of work that both sides do, once as a request to the daemon and once as a bare command.
//!
//! Both halves of a workload must compute the same answer from the same input; `expect` is how each side proves it did.

pub(crate) mod sized;

use serde_json::{Value, json};

/// A handler of ordinary size: reads an event, returns a value.
const PYTHON_HANDLER: &str = r#"
def handler(event):
    words = event["text"].split()
    return {"words": len(words), "longest": max(words, key=len), "sum": sum(event["numbers"])}
"#;

const PYTHON_BARE_TAIL: &str = r#"
import json, sys
sys.stdout.write(json.dumps(handler(json.load(sys.stdin))))
"#;

const NODE_HANDLER: &str = r#"
function handler(event) {
  const words = event.text.split(" ");
  const longest = words.reduce((a, b) => (b.length > a.length ? b : a));
  return { words: words.length, longest, sum: event.numbers.reduce((a, b) => a + b, 0) };
}
"#;

const NODE_BARE_TAIL: &str = r#"
process.stdout.write(JSON.stringify(handler(JSON.parse(require("fs").readFileSync(0, "utf8")))));
"#;

/// 163,840 lines of 64 bytes: 10 MiB, with newlines so that JSON has something to escape.
const TEN_MIB_OF_STDOUT: &str = r#"
import sys
sys.stdout.write(("x" * 63 + "\n") * 163840)
"#;

pub(crate) const TEN_MIB: usize = 10 * 1024 * 1024;

/// What a side must have produced for its time to count.
#[derive(Debug, Clone)]
pub(crate) enum Expect {
    /// The daemon's `return_value`, the bare command's standard output.
    Json(Value),
    StdoutBytes(usize),
    Nothing,
}

#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// The setting that says how many sandboxes wait for such work.
    pub(crate) pool: &'static str,
    /// Body of `POST /execute`.
    pub(crate) request: Value,
    /// Interpreter and arguments behind `bwrap … --`.
    pub(crate) command: Vec<String>,
    pub(crate) stdin: String,
    pub(crate) expect: Expect,
    /// Share of `--runs`: node takes five times as long as the others, and its median needs no more samples.
    pub(crate) runs_divisor: usize,
}

/// Where the interpreters are; the sandbox has `/usr` and nothing else, so nowhere else counts.
pub(crate) fn interpreter(name: &str) -> String {
    ["/usr/bin", "/usr/local/bin"]
        .into_iter()
        .map(|directory| format!("{directory}/{name}"))
        .find(|path| std::path::Path::new(path).exists())
        .unwrap_or_else(|| format!("/usr/bin/{name}"))
}

fn arguments(interpreter_name: &str, rest: &[&str]) -> Vec<String> {
    std::iter::once(interpreter(interpreter_name))
        .chain(rest.iter().map(|argument| (*argument).to_owned()))
        .collect()
}

/// The three languages: what bare bubblewrap is compared with.
pub(crate) fn languages() -> Vec<Workload> {
    vec![shell(), python_handler(), node_handler()]
}

pub(crate) fn shell() -> Workload {
    Workload {
        name: "shell true",
        pool: "POOL_SHELL",
        request: request("shell", "true"),
        command: arguments("bash", &["-c", "true"]),
        stdin: String::new(),
        expect: Expect::Nothing,
        runs_divisor: 1,
    }
}

pub(crate) fn python_handler() -> Workload {
    let event = handlers_event();
    Workload {
        name: "python handler",
        pool: "POOL_PYTHON",
        request: with_event(request("python", PYTHON_HANDLER), &event),
        command: arguments("python3", &["-I", "-B", "-c", &[PYTHON_HANDLER, PYTHON_BARE_TAIL].concat()]),
        stdin: event.to_string(),
        expect: Expect::Json(handlers_answer()),
        runs_divisor: 1,
    }
}

fn node_handler() -> Workload {
    let event = handlers_event();
    Workload {
        name: "node handler",
        pool: "POOL_JAVASCRIPT",
        request: with_event(request("javascript", NODE_HANDLER), &event),
        command: arguments("node", &["-e", &[NODE_HANDLER, NODE_BARE_TAIL].concat()]),
        stdin: event.to_string(),
        expect: Expect::Json(handlers_answer()),
        runs_divisor: 2,
    }
}

fn handlers_event() -> Value {
    json!({ "text": "the quick brown fox jumps over the lazy dog", "numbers": [1, 2, 3, 4, 5] })
}

fn handlers_answer() -> Value {
    json!({ "words": 9, "longest": "quick", "sum": 15 })
}

pub(crate) fn large_output() -> Workload {
    let mut body = request("python", TEN_MIB_OF_STDOUT);
    body["mode"] = json!("script");
    Workload {
        name: "10 MiB of stdout",
        pool: "POOL_PYTHON",
        request: body,
        command: arguments("python3", &["-I", "-B", "-c", TEN_MIB_OF_STDOUT]),
        stdin: String::new(),
        expect: Expect::StdoutBytes(TEN_MIB),
        runs_divisor: 10,
    }
}

/// Creates 10,000 files of about 100 bytes, no two alike, in a hundred directories.
pub(crate) fn many_files_request() -> Value {
    let code = r#"
import os
for directory in range(100):
    os.mkdir(f"d{directory:02}")
    for file in range(100):
        with open(f"d{directory:02}/f{file:02}.txt", "w") as out:
            out.write(f"{directory} {file} " * 16)
"#;
    let mut body = request("python", code);
    body["mode"] = json!("script");
    body["timeout"] = json!(60);
    body
}

/// A program that never ends by itself, in each language, with the shortest timeout there is.
pub(crate) fn endless_requests() -> Vec<Value> {
    [
        ("shell", "sleep 60"),
        ("python", "def handler(event):\n    while True:\n        pass\n"),
        ("javascript", "function handler() { for (;;) {} }"),
    ]
    .into_iter()
    .map(|(language, code)| {
        let mut body = request(language, code);
        body["timeout"] = json!(1);
        body
    })
    .collect()
}

/// Fresh workspaces run side by side; the container's own would make a queue of every measurement.
fn request(language: &str, code: &str) -> Value {
    json!({ "language": language, "code": code, "workspace": "fresh" })
}

fn with_event(mut request: Value, event: &Value) -> Value {
    request["event"] = event.clone();
    request
}
