//! A program of `programs`, what it needs, and what it must say, in every way to start a daemon.

use std::fs;

use conformance::{Daemon, can, each_start, tls};
use serde_json::{Value, json};

/// Longer than any of them takes on a machine that compiles meanwhile.
const TIMEOUT_SECONDS: u64 = 120;

#[derive(Debug)]
pub(crate) struct Program {
    name: &'static str,
    code: &'static str,
    expected: Expected,
    needs: Option<Need>,
    files: Vec<Value>,
    placed: Option<Vec<u8>>,
}

#[derive(Debug)]
enum Expected {
    /// Exactly this on stdout.
    Text(&'static str),
    /// On stdout one JSON value, this one.
    Json(Value),
}

/// What not every machine has, as the sandbox sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    Module(&'static str),
    Tool(&'static str),
}

/// The program of this name; its extension says the language.
macro_rules! program {
    ($name:literal) => {
        $crate::program::Program::new($name, include_str!(concat!("programs/", $name)))
    };
}
pub(crate) use program;

impl Program {
    pub(crate) fn new(name: &'static str, code: &'static str) -> Self {
        Self { name, code, expected: Expected::Text(""), needs: None, files: Vec::new(), placed: None }
    }

    pub(crate) fn prints(mut self, text: &'static str) -> Self {
        self.expected = Expected::Text(text);
        self
    }

    pub(crate) fn answers(mut self, value: Value) -> Self {
        self.expected = Expected::Json(value);
        self
    }

    pub(crate) fn needs(mut self, need: Need) -> Self {
        self.needs = Some(need);
        self
    }

    /// With a file of its request in the workspace.
    pub(crate) fn with_file(mut self, file: Value) -> Self {
        self.files.push(file);
        self
    }

    /// With an executable `/workspace/hello` that was there before the request.
    pub(crate) fn with_executable(mut self, content: Vec<u8>) -> Self {
        self.placed = Some(content);
        self
    }

    /// With the certificate and key of `localhost` in `server.pem`, and who signed it in `authority.pem`.
    pub(crate) fn with_certificates(self) -> Self {
        let authority = tls::Authority::new("corpus");
        let file = |path: &str, content: String| json!({ "path": path, "content": content });
        let (certificate, authority) = (authority.certificate_and_key("localhost"), authority.pem());
        self.with_file(file("server.pem", certificate)).with_file(file("authority.pem", authority))
    }

    /// Fails unless it says what it must, and nothing on stderr, in every way to start a daemon. Returns the results.
    pub(crate) fn check(&self) -> Vec<Value> {
        let mut results = Vec::new();
        let mut wrong = Vec::new();
        // Which of the starts work tells most about what broke: all of them are tried.
        each_start(|daemon, proc| {
            if !self.can_run(daemon) {
                return;
            }
            let result = self.run(daemon);
            if let Err(how) = self.judge(&result) {
                wrong.push(format!("{} with a {proc} /proc: {how}", self.name));
            }
            results.push(result);
        });
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        results
    }

    fn can_run(&self, daemon: &Daemon) -> bool {
        let Some(need) = self.needs else { return true };
        let (name, question) = match need {
            Need::Module(name) => (
                name,
                format!("python3 -I -c 'import importlib.util as u; exit(u.find_spec(\"{name}\") is None)'"),
            ),
            Need::Tool(name) => (name, format!("command -v {name} >/dev/null")),
        };
        let there = daemon.run("shell", &question)["exit_code"] == 0;
        can(there, &format!("{}: there is no {name}; scripts/setup test installs it", self.name))
    }

    fn run(&self, daemon: &Daemon) -> Value {
        let language = match self.name.rsplit_once('.') {
            Some((_, "py")) => "python",
            Some((_, "js")) => "javascript",
            _ => "shell",
        };
        let mut request = json!({
            "language": language,
            "code": self.code,
            "mode": "script",
            "timeout": TIMEOUT_SECONDS,
            "files": self.files,
        });
        match &self.placed {
            Some(content) => place(daemon, content),
            None => request["workspace"] = json!("fresh"),
        }
        daemon.execute(&request).result()
    }

    fn judge(&self, result: &Value) -> Result<(), String> {
        if result["status"] != "success" || result["stderr"] != "" {
            return Err(format!("{result:#}"));
        }
        let stdout = result["stdout"].as_str().unwrap();
        match &self.expected {
            Expected::Text(text) if stdout == *text => Ok(()),
            Expected::Text(text) => Err(format!("it printed\n{stdout}and not\n{text}")),
            Expected::Json(expected) => {
                let said: Value = serde_json::from_str(stdout).unwrap_or_else(|_| json!(stdout));
                difference(&said, expected).map_or(Ok(()), Err)
            }
        }
    }
}

/// The answers of a program that are not what they must be, by their names.
fn difference(said: &Value, expected: &Value) -> Option<String> {
    let (Some(said_fields), Some(expected_fields)) = (said.as_object(), expected.as_object()) else {
        return (said != expected).then(|| format!("{said} and not {expected}"));
    };
    let names = said_fields.keys().chain(expected_fields.keys().filter(|name| said.get(name).is_none()));
    let wrong = names
        .filter(|name| said.get(name) != expected.get(name))
        .map(|name| format!("{name} is {} and not {}", said[name.as_str()], expected[name.as_str()]))
        .collect::<Vec<_>>();
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

fn place(daemon: &Daemon, content: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    let path = daemon.workspace().join("hello");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}
