//! The jobs: six kinds that must succeed, and as a third of all, four that do what they can against the machine.

use std::io::Read;

use reqwest::blocking::Client;
use serde_json::{Value, json};

/// What came of one.
#[derive(Debug)]
pub(super) enum Came {
    AsItShould,
    /// One sentence.
    Otherwise(String),
}

/// Each client has sessions of its own, and counts what it did in them.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) http: Client,
    pub(super) url: String,
    pub(super) number: usize,
    /// In its session.
    counted: u64,
}

/// Every third.
pub(super) const fn is_hostile(job: usize) -> bool {
    job % 3 == 2
}

impl Worker {
    pub(super) fn new(http: Client, url: String, number: usize) -> Self {
        Self { http, url, number, counted: 0 }
    }

    pub(super) fn do_one(&mut self, job: usize, id: &str) -> Came {
        let kind = job / 3 + self.number;
        if is_hostile(job) {
            return self.hostile(kind % 4, id);
        }
        let kind = 2 * kind + job % 3;
        match kind % 6 {
            0 => self.returns(id, "python", "def handler(event):\n    return sum(event['numbers'])"),
            1 => self.returns(
                id,
                "javascript",
                "exports.handler = event => event.numbers.reduce((a, b) => a + b)",
            ),
            2 => self.counts(id),
            3 => self.leaves_a_file(id),
            4 => self.is_followed(id),
            _ => self.says(id),
        }
    }

    fn post(&self, id: &str, mut request: Value) -> Result<Value, String> {
        request["execution_id"] = json!(id);
        let asked = self.http.post(format!("{}/execute", self.url)).json(&request).send();
        let answer = asked.map_err(|error| format!("{id}: {error:?}"))?;
        let status = answer.status();
        let body = answer.text().map_err(|error| format!("{id}: {error:?}"))?;
        if status != 200 {
            return Err(format!("{id}: {status}: {body}"));
        }
        serde_json::from_str(&body).map_err(|error| format!("{id}: {error}"))
    }

    /// A good job: `holds` of its result, and it is a success.
    fn good(&self, id: &str, request: Value, holds: impl Fn(&Value) -> bool) -> Came {
        match self.post(id, request) {
            Ok(result) if result["status"] == "success" && holds(&result) => Came::AsItShould,
            Ok(result) => Came::Otherwise(format!("{id}: {result}")),
            Err(why) => Came::Otherwise(why),
        }
    }

    fn returns(&self, id: &str, language: &str, code: &str) -> Came {
        let event = json!({"numbers": [1, 2, self.number]});
        let request =
            json!({"language": language, "code": code, "event": event, "workspace": "fresh", "timeout": 60});
        self.good(id, request, |result| result["return_value"] == 3 + self.number)
    }

    fn says(&self, id: &str) -> Came {
        let code = format!("echo {id}; printf '%1000s' x >&2");
        let request = json!({"language": "shell", "code": code, "workspace": "fresh", "timeout": 60});
        self.good(id, request, |result| result["stdout"] == format!("{id}\n"))
    }

    /// What an earlier run of the session left is there.
    fn counts(&mut self, id: &str) -> Came {
        let code = "n=$(cat count 2>/dev/null || echo 0); echo $((n + 1)) > count; cat count";
        let session = format!("soak-{}", self.number);
        let request = json!({"language": "shell", "code": code, "session_id": session, "timeout": 60});
        self.counted += 1;
        let expected = format!("{}\n", self.counted);
        self.good(id, request, |result| result["stdout"] == expected)
    }

    /// A file in, a file out.
    fn leaves_a_file(&self, id: &str) -> Came {
        let code = "tr a-z A-Z < in/given.txt > out.txt";
        let files = json!([{"path": "in/given.txt", "content": format!("given to {}", self.number)}]);
        let request =
            json!({"language": "shell", "code": code, "files": files, "workspace": "fresh", "timeout": 60});
        match self
            .good(id, request, |result| result["artifacts"].as_array().is_some_and(|list| list.len() == 2))
        {
            Came::AsItShould => {}
            otherwise => return otherwise,
        }
        let fetched = self.http.get(format!("{}/executions/{id}/artifacts/out.txt", self.url)).send();
        match fetched.and_then(reqwest::blocking::Response::text) {
            Ok(text) if text == format!("GIVEN TO {}", self.number) => Came::AsItShould,
            other => Came::Otherwise(format!("{id}: its file: {other:?}")),
        }
    }

    fn is_followed(&self, id: &str) -> Came {
        let code = "for n in 1 2 3; do echo $n; sleep 0.05; done";
        let request = json!({"language": "shell", "code": code, "execution_id": id, "workspace": "fresh", "timeout": 60});
        let asked = self.http.post(format!("{}/execute", self.url)).json(&request);
        let mut events = String::new();
        let read = asked
            .header("accept", "text/event-stream")
            .send()
            .map(|mut answer| answer.read_to_string(&mut events));
        let finished = events.contains("event: finished") && events.contains("\"stdout\":\"1\\n2\\n3\\n\"");
        if matches!(read, Ok(Ok(_))) && finished && events.contains("event: stdout") {
            Came::AsItShould
        } else {
            Came::Otherwise(format!("{id}: {read:?} {events}"))
        }
    }

    /// How it ends is its own affair, as long as it ends as a program does.
    fn hostile(&self, kind: usize, id: &str) -> Came {
        let (language, code) = HOSTILE[kind];
        let limits = json!({"max_processes": 32, "memory_mb": 64, "max_output_bytes": 200_000});
        let request = json!({"language": language, "mode": "script", "code": code, "limits": limits,
            "workspace": "fresh", "timeout": 1});
        match self.post(id, request) {
            Ok(result) if result["cause"] != "sandbox_error" => Came::AsItShould,
            Ok(result) => Came::Otherwise(format!("{id}: {result}")),
            Err(why) => Came::Otherwise(why),
        }
    }
}

/// A fork bomb, a memory hog, a flood, and one that writes to every pipe that it finds.
const HOSTILE: [(&str, &str); 4] = [
    ("shell", "bomb() { bomb | bomb & }; bomb; wait; while :; do :; done"),
    ("python", "held = []\nwhile True:\n    held.append(bytearray(b'x') * (1 << 20))"),
    ("shell", "while :; do printf '%10000s' x; printf '%10000s' y >&2; done"),
    ("python", include_str!("../../probes/misuse.py")),
];
