//! The real binary, started for one test.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::answer::Answer;
use crate::{contract, processes};

/// Long enough for a machine that compiles meanwhile; a daemon that needs it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a daemon is started. `EXECUTOR_PORT` and the directories are set for it.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    env: BTreeMap<String, String>,
    uid: Option<u32>,
}

impl Settings {
    pub fn new() -> Self {
        Self::default()
    }

    /// An environment variable of docs/configuration.md.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.env.insert(name.to_owned(), value.to_string());
        self
    }

    /// Started as this user rather than as root, where the test is root.
    #[must_use]
    pub fn started_by(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    pub fn start(self) -> Daemon {
        Daemon::start(self)
    }
}

/// A running daemon, its directories, and what it logged.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    address: SocketAddr,
    home: TempDir,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    client: reqwest::blocking::Client,
    baseline: Option<Footprint>,
}

/// What must be the same before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Footprint {
    children: usize,
    descriptors: usize,
    mounts: usize,
}

impl Daemon {
    /// A daemon with nothing but defaults.
    pub fn default_settings() -> Self {
        Settings::new().start()
    }

    fn start(settings: Settings) -> Self {
        let home = home();
        let mut command = command();
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("CONTAINER_ID", "conformance");
        for (name, dir) in [
            ("WORKSPACE_PATH", "workspace"),
            ("SESSIONS_PATH", "sessions"),
            ("RESULTS_DIR", "results"),
        ] {
            let path = home.path().join(dir);
            fs::create_dir(&path).unwrap();
            if let Some(uid) = settings.uid {
                std::os::unix::fs::chown(&path, Some(uid), Some(uid)).unwrap();
            }
            command.env(name, path);
        }
        command
            .env("EXECUTOR_HOST", "127.0.0.1")
            .env("EXECUTOR_PORT", "0")
            .envs(&settings.env);
        if let Some(uid) = settings.uid {
            command.uid(uid).gid(uid);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (listening, heard) = std::sync::mpsc::channel();
        let reader = follow(child.stdout.take().unwrap(), stderr, Arc::clone(&log), listening);
        let address = heard.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            child.kill().ok();
            panic!(
                "the daemon did not say that it listens; it said:\n{}",
                log.lock().unwrap()
            );
        });
        let client = reqwest::blocking::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(120))
            .build()
            .unwrap();
        let mut daemon = Self {
            child,
            address,
            home,
            log,
            reader: Some(reader),
            client,
            baseline: None,
        };
        daemon.eventually("ready", |daemon| daemon.get("/health/ready").status == 200);
        daemon.baseline = Some(daemon.footprint());
        daemon
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The directory that holds `workspace`, `sessions` and `results`.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn workspace(&self) -> PathBuf {
        self.home.path().join("workspace")
    }

    /// Everything on stdout and stderr so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// `POST /execute`; the answer has been held against the OpenAPI document.
    pub fn execute(&self, request: &Value) -> Answer {
        self.post("/execute", "application/json", request.to_string().into_bytes())
    }

    /// Runs code in a workspace of its own and returns the result.
    pub fn run(&self, language: &str, code: &str) -> Value {
        self.execute(&json!({ "language": language, "code": code, "workspace": "fresh" }))
            .result()
    }

    pub fn post(&self, path: &str, content_type: &str, body: Vec<u8>) -> Answer {
        let request = self
            .client
            .post(self.url(path))
            .header("content-type", content_type)
            .body(body);
        self.send("POST", path, request)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, self.client.get(self.url(path)))
    }

    /// Any request; checked like the others.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let mut request = self
            .client
            .request(method.parse().unwrap(), self.url(path))
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(method, path, request)
    }

    fn send(&self, method: &str, path: &str, request: reqwest::blocking::RequestBuilder) -> Answer {
        let response = request
            .send()
            .unwrap_or_else(|error| panic!("{method} {path}: {error:?}\n{}", self.log()));
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let answer = Answer {
            status,
            headers,
            body: response.bytes().unwrap().to_vec(),
        };
        assert!(
            answer.header("x-request-id").is_some(),
            "{method} {path} {status} has no X-Request-Id"
        );
        if method != "HEAD" {
            contract::check(
                method,
                path,
                status,
                answer.header("content-type").unwrap_or_default(),
                &answer.body,
            );
        }
        answer
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A bare connection, for what no client would send.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes, closes the sending half and reads what comes back until the end.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The daemon may have closed already; what it said is what counts.
        stream.write_all(bytes).ok();
        stream.shutdown(std::net::Shutdown::Write).ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Waits for something to become true. Panics with the log when it does not.
    pub fn eventually(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(
                Instant::now() < deadline,
                "not within {PATIENCE:?}: {what}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([format!("-{signal}"), self.pid().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                if let Some(reader) = self.reader.take() {
                    reader.join().unwrap();
                }
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the daemon did not end\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Checks what must hold after every case: the same daemon, healthy within a second, able to run, and with no process,
    /// descriptor or mount more than at its start.
    pub fn settle(&self) {
        let asked = Instant::now();
        assert_eq!(self.get("/health").status, 200);
        assert!(
            asked.elapsed() < Duration::from_secs(1),
            "/health took {:?}",
            asked.elapsed()
        );
        assert_eq!(self.run("shell", "echo still here")["stdout"], "still here\n");
        let baseline = self.baseline.clone().unwrap();
        self.eventually("the footprint of the start", |daemon| {
            let now = daemon.footprint();
            // The client keeps a connection or two: those descriptors are not the daemon's doing.
            now.children == 0 && now.mounts == baseline.mounts && now.descriptors <= baseline.descriptors + 4
        });
    }

    fn footprint(&self) -> Footprint {
        let proc = |file: &str| format!("/proc/{}/{file}", self.pid());
        Footprint {
            children: processes::below(self.pid()).len(),
            descriptors: fs::read_dir(proc("fd")).map_or(0, Iterator::count),
            mounts: fs::read_to_string(proc("mountinfo"))
                .unwrap_or_default()
                .lines()
                .count(),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let running = self.child.try_wait().is_ok_and(|ended| ended.is_none());
        if running && !std::thread::panicking() {
            self.settle();
        }
        if running {
            self.signal("TERM");
            let ended = self.wait();
            if !std::thread::panicking() {
                assert_eq!(ended.code(), Some(143), "{}", self.log());
            }
        }
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

/// A command that starts the binary under test, for what needs no server.
pub fn command() -> Command {
    #[expect(clippy::disallowed_methods, reason = "the test's own child, not the daemon's")]
    Command::new(binary())
}

/// `EXECUTOR_BINARY`, or the one that cargo built beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("EXECUTOR_BINARY") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("sandbox-executor");
    assert!(
        path.exists(),
        "there is no {}; build it: cargo build -p executor",
        path.display()
    );
    path
}

/// A directory that the daemon can reach when it is no longer root.
pub fn home() -> TempDir {
    let home = tempfile::Builder::new()
        .prefix("sandbox-executor-test-")
        .tempdir()
        .unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    home
}

/// Whether a test can do what it needs. Where it cannot, it says so aloud; where `EXECUTOR_TESTS_MUST_RUN` is set, it fails.
pub fn can(holds: bool, what: &str) -> bool {
    if !holds {
        assert!(
            std::env::var_os("EXECUTOR_TESTS_MUST_RUN").is_none(),
            "not run: {what}"
        );
        eprintln!("not run: {what}");
    }
    holds
}

/// Collects the log, and finds out the port on the way.
fn follow(
    stdout: impl Read + Send + 'static,
    stderr: impl Read + Send + 'static,
    log: Arc<Mutex<String>>,
    listening: std::sync::mpsc::Sender<SocketAddr>,
) -> JoinHandle<()> {
    let other = {
        let log = Arc::clone(&log);
        std::thread::spawn(move || collect(stdout, &log, |_| {}))
    };
    std::thread::spawn(move || {
        collect(stderr, &log, |line| {
            let event: Value = serde_json::from_str(line).unwrap_or_default();
            if let Some(address) = event["address"].as_str().and_then(|address| address.parse().ok()) {
                listening.send(address).ok();
            }
        });
        other.join().unwrap();
    })
}

fn collect(from: impl Read, log: &Mutex<String>, mut on_line: impl FnMut(&str)) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        on_line(&line);
        let mut log = log.lock().unwrap();
        log.push_str(&line);
        log.push('\n');
    }
}
