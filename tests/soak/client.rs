//! Who posts runs: connections that are kept, and no opinion about the answers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::Soak;

/// Longer than any run here waits and takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::blocking::Client,
    url: String,
}

#[derive(Debug)]
pub(crate) enum Heard {
    /// 200.
    Result(Value),
    Refused(String),
    /// No answer, or none to its end.
    Nothing(String),
}

/// What came of many runs.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// By execution.
    pub(crate) results: Vec<(String, Value)>,
    /// One sentence each.
    pub(crate) surprises: Vec<String>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let http = conformance::daemon::client(PATIENCE);
        Self { http, url: format!("http://{address}/execute") }
    }

    pub(crate) fn execute(&self, run: &Value) -> Heard {
        let request = self.http.post(&self.url).header("content-type", "application/json");
        let answer = request.body(run.to_string()).send();
        let (status, body) = match answer.and_then(|answer| Ok((answer.status(), answer.bytes()?))) {
            Ok(answer) => answer,
            Err(error) => return Heard::Nothing(format!("{error:?}")),
        };
        if status != 200 {
            return Heard::Refused(format!("{status}: {}", String::from_utf8_lossy(&body)));
        }
        match serde_json::from_slice(&body) {
            Ok(result) => Heard::Result(result),
            Err(error) => Heard::Nothing(format!("200 with something that is not JSON: {error}")),
        }
    }

    /// So many runs from so many threads, as fast as they are answered.
    pub(crate) fn execute_all(
        &self,
        soak: &Soak,
        threads: usize,
        runs: usize,
        run: impl Fn(usize) -> Value + Sync,
    ) -> Answers {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut answers = Answers::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= runs || soak.is_over() {
                    return answers;
                }
                let run = run(number);
                answers.note(&run, self.execute(&run));
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let mut all = Answers::default();
            for thread in threads {
                let Answers { results, surprises } = thread.join().unwrap();
                all.results.extend(results);
                all.surprises.extend(surprises);
            }
            all
        })
    }
}

impl Answers {
    pub(crate) fn note(&mut self, run: &Value, heard: Heard) {
        let id = run["execution_id"].as_str().unwrap_or_default().to_owned();
        match heard {
            Heard::Result(result) if result["status"] == "success" => self.results.push((id, result)),
            Heard::Result(result) => self.surprises.push(format!("{id}: {result}")),
            Heard::Refused(why) | Heard::Nothing(why) => self.surprises.push(format!("{id}: {why}")),
        }
    }
}

/// A shell script in a workspace of its own.
pub(crate) fn script(execution_id: &str, code: &str) -> Value {
    json!({ "language": "shell", "code": code, "execution_id": execution_id, "workspace": "fresh" })
}

/// Enough threads to keep every CPU busy with runs.
pub(crate) fn threads() -> usize {
    (2 * std::thread::available_parallelism().map_or(1, usize::from)).clamp(4, 32)
}
