//! The real binary, started for one test.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::aftermath::{Planted, assert_kept_secret, assert_no_file_tells, assert_on_time, is_cgroup};
use crate::answer::Answer;
use crate::footprint::Footprint;
pub use crate::settings::{Settings, command};
use crate::settings::{Surroundings, plain};
use crate::{contract, processes};

/// What the daemon may keep of finished executions, so that they can be asked for.
const REMEMBERED: u64 = 64 << 20;

/// Connections to the control plane that it may keep: eight of the outbox, eight of the heartbeats.
const KEPT_CONNECTIONS: usize = 16;

/// Long enough for a machine that compiles meanwhile; a daemon that needs it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon, its directories, and what it logged.
#[derive(Debug)]
pub struct Daemon {
    /// The daemon, or what it was started through.
    child: Child,
    pid: u32,
    address: SocketAddr,
    /// Shared with what remains of it after [`Daemon::kill`].
    home: Arc<TempDir>,
    settings: Settings,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    client: reqwest::blocking::Client,
    baseline: Option<Footprint>,
    /// Outside of everything that the daemon may write to.
    planted: Planted,
    /// Bytes of all answers so far.
    answered: AtomicU64,
}

impl Daemon {
    /// A daemon with nothing but defaults.
    pub fn default_settings() -> Self {
        Settings::new().start()
    }

    pub(crate) fn start(settings: Settings) -> Self {
        Self::start_in(settings, Arc::new(home()))
    }

    fn start_in(settings: Settings, home: Arc<TempDir>) -> Self {
        let client = client(Duration::from_secs(120));
        let mut command =
            settings.surroundings.command(&settings.binary.clone().unwrap_or_else(binary), settings.cgroups);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("CONTAINER_ID", "conformance");
        for (name, dir) in
            [("WORKSPACE_PATH", "workspace"), ("SESSIONS_PATH", "sessions"), ("RESULTS_DIR", "results")]
        {
            let path = home.path().join(dir);
            if !path.exists() {
                fs::create_dir(&path).unwrap();
            }
            if let Some(uid) = settings.uid {
                std::os::unix::fs::chown(&path, Some(uid), Some(uid)).unwrap();
            }
            command.env(name, path);
        }
        command.env("EXECUTOR_HOST", "127.0.0.1").env("EXECUTOR_PORT", "0").envs(&settings.env);
        // Where it calls nobody back it does not need one. It has one all the same, to keep.
        if !settings.env.contains_key("INTERNAL_API_TOKEN_FILE") {
            command.env("INTERNAL_API_TOKEN", settings.internal_token());
        }
        if let Some(uid) = settings.uid {
            command.uid(uid).gid(uid);
        }
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (listening, heard) = std::sync::mpsc::channel();
        let reader = follow(child.stdout.take().unwrap(), stderr, Arc::clone(&log), listening);
        let address = heard.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            child.kill().ok();
            panic!("the daemon did not say that it listens; it said:\n{}", log.lock().unwrap());
        });
        let pid = match settings.surroundings {
            Surroundings::None => child.id(),
            Surroundings::MaskedProc | Surroundings::Terminal => child_of(child.id()),
        };
        let planted = Planted::in_home(home.path());
        let mut daemon = Self {
            child,
            pid,
            address,
            home,
            settings,
            log,
            reader: Some(reader),
            client,
            baseline: None,
            planted,
            answered: AtomicU64::new(0),
        };
        daemon.eventually("ready", |daemon| daemon.get("/health/ready").status == 200);
        daemon.wait_for_pool();
        daemon.baseline = Some(Footprint::of(pid, &daemon.results()));
        daemon
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The directory that holds `workspace`, `sessions` and `results`.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn workspace(&self) -> PathBuf {
        self.home.path().join("workspace")
    }

    /// `RESULTS_DIR`.
    pub fn results(&self) -> PathBuf {
        self.home.path().join("results")
    }

    /// The lines of its log with this event, in order.
    pub fn events(&self, event: &str) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["event"] == event).collect()
    }

    /// Everything on stdout and stderr so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// `POST /execute`; the answer has been held against the OpenAPI document.
    pub fn execute(&self, request: &Value) -> Answer {
        let answer = self.post("/execute", "application/json", request.to_string().into_bytes());
        assert_on_time(request, &answer);
        answer
    }

    /// Runs code in a workspace of its own and returns the result.
    pub fn run(&self, language: &str, code: &str) -> Value {
        self.execute(&json!({ "language": language, "code": code, "workspace": "fresh" })).result()
    }

    pub fn post(&self, path: &str, content_type: &str, body: Vec<u8>) -> Answer {
        let request = self.client.post(self.url(path)).header("content-type", content_type).body(body);
        self.send("POST", path, self.authorized(request))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, self.authorized(self.client.get(self.url(path))))
    }

    fn authorized(&self, request: reqwest::blocking::RequestBuilder) -> reqwest::blocking::RequestBuilder {
        match &self.settings.api_token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Any request; checked like the others.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let mut request = self.client.request(method.parse().unwrap(), self.url(path)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(method, path, request)
    }

    fn send(&self, method: &str, path: &str, request: reqwest::blocking::RequestBuilder) -> Answer {
        let response =
            request.send().unwrap_or_else(|error| panic!("{method} {path}: {error:?}\n{}", self.log()));
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let answer = Answer { status, headers, body: response.bytes().unwrap().to_vec() };
        self.answered.fetch_add(answer.body.len() as u64, Ordering::Relaxed);
        assert!(answer.header("x-request-id").is_some(), "{method} {path} {status} has no X-Request-Id");
        assert_kept_secret(&self.settings, &answer.body, &format!("{method} {path} {status}"));
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
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, signal: &str) {
        assert!(processes::signal(signal, &[self.pid()]).success());
    }

    /// SIGKILL, as the kernel sends it when memory runs out. What it left can be looked at, and started again.
    pub fn kill(mut self) -> Remains {
        self.signal("KILL");
        self.wait();
        Remains { settings: self.settings.clone(), home: Arc::clone(&self.home) }
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
            assert!(Instant::now() < deadline, "the daemon did not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until as many sandboxes wait as shall. Where memory is short for them nobody can say how many that is: then until
    /// they are the same for a while.
    pub fn wait_for_pool(&self) {
        if !self.settings.env.contains_key("POOL_MEMORY_MB") {
            let shall = processes::may_wait(self.pid);
            return self.eventually("as many sandboxes wait as shall", |daemon| {
                processes::waiting(daemon.pid).len() == shall
            });
        }
        self.eventually("the same sandboxes wait", |daemon| {
            let now = || processes::waiting(daemon.pid);
            let before = now();
            std::thread::sleep(Duration::from_millis(1500));
            before == now()
        });
    }

    /// Checks what must hold after every case (docs/isolation.md says which of it where): the same daemon, healthy within
    /// a second, able to run, and with no process, zombie, thread, descriptor, mount, cgroup or half-written file more than at
    /// its start, and little more memory; and what it may not write to is as it was.
    pub fn settle(&self) {
        self.eventually("/health answers within a second", |daemon| {
            let asked = Instant::now();
            assert_eq!(daemon.get("/health").status, 200);
            asked.elapsed() < Duration::from_secs(1)
        });
        // A cgroup that belongs to the daemon no more is known by its name only.
        self.wait_for_pool();
        let cgroups: Vec<_> = processes::waiting(self.pid).into_iter().map(processes::leaf_names).collect();
        assert_eq!(self.run("shell", "echo still here")["stdout"], "still here\n");
        self.eventually("the cgroup of the one that was used is gone", |_| {
            cgroups.iter().any(|names| names.iter().all(|name| !is_cgroup(name)))
        });
        self.wait_for_pool();
        self.planted.assert_untouched();
        let baseline = self.baseline.as_ref().unwrap();
        let remembered = self.answered.load(Ordering::Relaxed).min(REMEMBERED);
        let deadline = Instant::now() + PATIENCE;
        let connections = if self.settings.calls_back() { KEPT_CONNECTIONS } else { 0 };
        while let Some(more) =
            Footprint::of(self.pid, &self.results()).beyond(baseline, remembered, connections)
        {
            assert!(Instant::now() < deadline, "left behind: {more}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let running = self.child.try_wait().is_ok_and(|ended| ended.is_none());
        let mut settled = Ok(());
        if running && !std::thread::panicking() {
            // Whatever is found, the daemon is ended first: nobody else would.
            settled = catch_unwind(AssertUnwindSafe(|| self.settle()));
        }
        if running {
            self.signal("TERM");
            let ended = self.wait();
            if !std::thread::panicking() {
                assert_eq!(ended.code(), Some(143), "{}", self.log());
            }
        }
        if let Err(panic) = settled {
            resume_unwind(panic);
        }
        if !std::thread::panicking() {
            assert_kept_secret(&self.settings, self.log().as_bytes(), "the log");
            for directory in [self.results(), self.workspace(), self.home().join("sessions")] {
                assert_no_file_tells(&self.settings, &directory);
            }
        }
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
        remove(&mut self.home);
    }
}

/// What a daemon that was killed left on disk.
#[derive(Debug)]
pub struct Remains {
    settings: Settings,
    home: Arc<TempDir>,
}

impl Remains {
    /// `RESULTS_DIR`.
    pub fn results(&self) -> PathBuf {
        self.home.path().join("results")
    }

    /// The next daemon, with the same settings and directories.
    pub fn restart(self) -> Daemon {
        let settings = self.settings.clone();
        self.restart_with(settings)
    }

    /// The next daemon, with other settings and the same directories.
    pub fn restart_with(self, settings: Settings) -> Daemon {
        Daemon::start_in(settings, Arc::clone(&self.home))
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        remove(&mut self.home);
    }
}

/// Removes the directory when this is the last that knows it. Its own clean-up recurses, and what a failed test left behind
/// may be deeper than its stack.
fn remove(home: &mut Arc<TempDir>) {
    if let Some(home) = Arc::get_mut(home) {
        plain("rm".as_ref()).arg("-rf").arg(home.path()).status().ok();
    }
}

/// To ask a daemon with.
pub fn client(patience: Duration) -> reqwest::blocking::Client {
    // Built together with the daemon, reqwest has TLS, and wants to know whose even where there is none.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::blocking::Client::builder()
        .no_proxy()
        .timeout(patience)
        // The daemon closes connections that were idle for ten seconds; one must not be used at that very moment.
        .pool_idle_timeout(Duration::from_secs(5))
        .build()
        .unwrap()
}

/// `EXECUTOR_BINARY`, or the one that cargo built beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("EXECUTOR_BINARY") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("sandbox-executor");
    assert!(path.exists(), "there is no {}; build it: cargo build -p executor", path.display());
    path
}

/// The one child of a process that starts another.
fn child_of(parent: u32) -> u32 {
    let mut children = processes::below(parent).into_iter().filter(|process| process.parent == parent);
    children.next().unwrap().pid
}

/// A directory that the daemon can reach when it is no longer root.
pub fn home() -> TempDir {
    let home = tempfile::Builder::new().prefix("sandbox-executor-test-").tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    home
}

/// Whether a test can do what it needs. Where it cannot, it says so aloud; where `EXECUTOR_TESTS_MUST_RUN` is set, it fails.
pub fn can(holds: bool, what: &str) -> bool {
    if !holds {
        assert!(std::env::var_os("EXECUTOR_TESTS_MUST_RUN").is_none(), "not run: {what}");
        let test = std::thread::current().name().unwrap_or("main").to_owned();
        // What is printed with a macro is not shown for a test that passes, and `scripts/escape` would take it for one.
        std::io::stderr().write_all(format!("not run: {test}: {what}\n").as_bytes()).unwrap();
    }
    holds
}

/// Collects the log, and finds out the port on the way. A terminal makes one stream of the two.
fn follow(
    stdout: impl Read + Send + 'static,
    stderr: impl Read + Send + 'static,
    log: Arc<Mutex<String>>,
    listening: std::sync::mpsc::Sender<SocketAddr>,
) -> JoinHandle<()> {
    let other = {
        let (log, listening) = (Arc::clone(&log), listening.clone());
        std::thread::spawn(move || collect(stdout, &log, &listening))
    };
    std::thread::spawn(move || {
        collect(stderr, &log, &listening);
        other.join().unwrap();
    })
}

fn collect(from: impl Read, log: &Mutex<String>, listening: &std::sync::mpsc::Sender<SocketAddr>) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(address) = event["address"].as_str().and_then(|address| address.parse().ok()) {
            listening.send(address).ok();
        }
        let mut log = log.lock().unwrap();
        log.push_str(&line);
        log.push('\n');
    }
}
