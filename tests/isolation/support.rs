//! Probe programs and the two places where they run: inside a sandbox, and outside as a child of the test.
//!
//! A probe reads its questions as JSON from standard input and prints what it sees and can do as one JSON value. It judges
//! nothing. [`outside`] is the negative control: what is out of reach inside must be within reach there, or else the
//! probe could not have failed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use conformance::Daemon;
use serde_json::{Value, json};

/// A program of `tests/probes`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    pub(crate) language: &'static str,
    pub(crate) code: &'static str,
}

/// The probe of this name; its extension says the language.
macro_rules! probe {
    ($name:literal) => {
        $crate::support::Probe::new($name, include_str!(concat!("../probes/", $name)))
    };
}
pub(crate) use probe;

impl Probe {
    pub(crate) fn new(name: &str, code: &'static str) -> Self {
        let language = match name.rsplit_once('.') {
            Some((_, "py")) => "python",
            Some((_, "js")) => "javascript",
            _ => "shell",
        };
        Self { language, code }
    }

    /// The request that runs it in a workspace of its own.
    pub(crate) fn request(self, questions: &Value) -> Value {
        json!({
            "language": self.language,
            "code": self.code,
            "mode": "script",
            "stdin": questions.to_string(),
            "workspace": "fresh",
        })
    }

    /// The request that runs it in the workspace of a session.
    pub(crate) fn in_session(self, session: &str, questions: &Value) -> Value {
        let mut request = self.request(questions);
        request.as_object_mut().unwrap().remove("workspace");
        request["session_id"] = json!(session);
        request
    }
}

/// What the probe says in a sandbox with a workspace of its own.
pub(crate) fn inside(daemon: &Daemon, probe: Probe, questions: &Value) -> Value {
    answer(&daemon.execute(&probe.request(questions)).result())
}

/// What a probe printed in the run with this result.
pub(crate) fn answer(result: &Value) -> Value {
    assert_eq!(result["status"], "success", "{result:#}");
    let stdout = result["stdout"].as_str().unwrap();
    serde_json::from_str(stdout).unwrap_or_else(|error| panic!("not JSON: {error}: {stdout}"))
}

/// The processes of a sandbox in which `processes.py` has looked around, by their numbers inside: its init, the launcher, and the
/// program; in a copy of a fork server, init is the launcher as well.
pub(crate) fn numbers(seen: &Value) -> Vec<u32> {
    let init = seen["listed"]["1"]["command"].as_str().unwrap_or_default();
    if init.contains("fork_server") { vec![1, 2] } else { vec![1, 2, 3] }
}

/// What the same probe says as an ordinary child of the test, in a directory of its own.
pub(crate) fn outside(probe: Probe, questions: &Value) -> Value {
    outside_through(&[], probe, questions)
}

/// The same, started by another program that is given the command as further arguments.
pub(crate) fn outside_through(starter: &[&str], probe: Probe, questions: &Value) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("probe");
    fs::write(&script, probe.code).unwrap();
    let interpreter = interpreter(probe.language);
    let words = starter.iter().map(PathBuf::from).chain([interpreter, script]);
    let mut child = command(Path::new("/usr/bin/timeout"))
        .arg("60")
        .args(words)
        .current_dir(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(questions.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}");
    // A terminal in between echoes first what was typed.
    let said = stdout.lines().last().unwrap_or_default();
    let said = &said[said.find('{').unwrap_or_default()..];
    serde_json::from_str(said).unwrap_or_else(|error| panic!("not JSON: {error}: {stdout}"))
}

/// The interpreter that the daemon would take: never one of somebody's home.
pub(crate) fn interpreter(language: &str) -> PathBuf {
    let name = match language {
        "python" => "python3",
        "javascript" => "node",
        _ => "bash",
    };
    let candidates = ["/usr/local/bin", "/usr/bin", "/bin"].map(|dir| Path::new(dir).join(name));
    candidates.into_iter().find(|path| path.exists()).unwrap()
}

pub(crate) fn command(program: &Path) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the test's own child, not the daemon's")]
    Command::new(program)
}

/// A word that nobody else has.
pub(crate) fn canary(what: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nanoseconds = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("CANARY-{what}-{}-{nanoseconds}-{count}", std::process::id())
}

/// A file that no program inside may see or change, gone with this. Whether it was changed is checked on the way.
#[derive(Debug)]
pub(crate) struct Planted {
    pub(crate) path: PathBuf,
    content: String,
    made_directory: Option<PathBuf>,
}

impl Planted {
    /// `None` where this user may not write.
    pub(crate) fn new(directory: &Path, content: &str) -> Option<Self> {
        let made_directory = (!directory.exists()).then(|| directory.to_owned());
        if made_directory.is_some() {
            fs::create_dir(directory).ok()?;
        }
        let path = directory.join(canary("planted"));
        fs::write(&path, content).ok()?;
        Some(Self { path, content: content.to_owned(), made_directory })
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        let now = fs::read_to_string(&self.path);
        fs::remove_file(&self.path).ok();
        if let Some(directory) = &self.made_directory {
            // Another test may have put something of its own there.
            fs::remove_dir(directory).ok();
        }
        if !std::thread::panicking() {
            assert_eq!(now.unwrap(), self.content, "{} was changed", self.path.display());
        }
    }
}

/// The error's name, such as `ENOENT`, or `None` where a probe says that something worked.
pub(crate) fn errno(value: &Value) -> Option<&str> {
    value.get("errno").and_then(Value::as_str)
}

/// Fails unless each of these answers of a probe is an error.
pub(crate) fn assert_all_refused(answers: &Value) {
    let answers = answers.as_object().unwrap();
    assert!(!answers.is_empty());
    for (what, answer) in answers {
        assert!(errno(answer).is_some(), "{what}: {answer}");
    }
}

/// Fails unless each of these answers of a probe is a success.
pub(crate) fn assert_all_allowed(answers: &Value) {
    let answers = answers.as_object().unwrap();
    assert!(!answers.is_empty());
    for (what, answer) in answers {
        assert_eq!(errno(answer), None, "{what}: {answer}");
    }
}
