//! The binary as a command: started with an environment of its own, watched until it ends.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use conformance::daemon;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn is_root() -> bool {
    linux::identity::is_root()
}

/// How one command is started: in a home of its own, with a clean environment.
pub(crate) struct Program {
    home: Arc<TempDir>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    stdin: Vec<u8>,
    uid: Option<u32>,
    /// A shell line in a mount namespace of its own that ends with `exec "$@"`.
    script: Option<String>,
    namespaces: &'static [&'static str],
    /// Started instead of the binary.
    instead: Option<&'static str>,
}

/// What it said and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// What it left in its `TMPDIR`.
    pub(crate) left: Vec<PathBuf>,
}

impl Program {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let home = Arc::new(daemon::home());
        let program = Self {
            home,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: Vec::new(),
            stdin: Vec::new(),
            uid: None,
            script: None,
            namespaces: &["--mount"],
            instead: None,
        };
        for dir in ["workspace", "sessions", "results", "tmp"] {
            fs::create_dir(program.path(dir)).unwrap();
        }
        fs::set_permissions(program.path("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        program
            .set("PATH", "/usr/bin:/bin")
            .set_dir("WORKSPACE_PATH", "workspace")
            .set_dir("SESSIONS_PATH", "sessions")
            .set_dir("RESULTS_DIR", "results")
            .set_dir("TMPDIR", "tmp")
            .set("EXECUTOR_HOST", "127.0.0.1")
            .set("EXECUTOR_PORT", "0")
    }

    /// Something in its home.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A file in its home; returns its path as an argument.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn arguments(mut self, more: &[&str]) -> Self {
        self.arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        self
    }

    pub(crate) fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    fn set_dir(self, name: &str, dir: &str) -> Self {
        let path = self.path(dir);
        self.set(name, path.display())
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Takes root.
    pub(crate) fn started_by(mut self, uid: u32) -> Self {
        for dir in ["workspace", "sessions", "results"] {
            chown(self.path(dir), Some(uid), Some(uid)).unwrap();
        }
        self.uid = Some(uid);
        self
    }

    /// In a mount namespace of its own, prepared by a line of shell. Takes root.
    pub(crate) fn after(mut self, script: &str) -> Self {
        self.script = Some(format!("{script} && exec \"$@\""));
        self
    }

    /// In a user namespace of its own, prepared by a line of shell that has all capabilities there; the program has none.
    pub(crate) fn without_capabilities_after(mut self, script: &str) -> Self {
        let drop = "/usr/bin/setpriv --inh-caps=-all --ambient-caps=-all --";
        self.script = Some(format!("{script} && exec {drop} \"$@\""));
        self.namespaces = &["--user", "--map-current-user", "--keep-caps"];
        self
    }

    /// The line of [`Self::after`] runs in these, as unshare(1) names them, instead.
    pub(crate) fn in_namespaces(mut self, namespaces: &'static [&'static str]) -> Self {
        self.namespaces = namespaces;
        self
    }

    pub(crate) fn run(self) -> Ended {
        self.watch(|_pid| {})
    }

    /// Its stdout is this line of shell's stdin. The code is its own, stdout the line's.
    pub(crate) fn piped_into(mut self, line: &str, arguments: &[&str]) -> Ended {
        let status = self.path("status");
        let script = format!("{{ \"$@\"; echo $? > '{}'; }} | {line}", status.display());
        self.arguments = [&["-c", &script, "sh", daemon::binary().to_str().unwrap()], arguments]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect();
        self.instead = Some("/bin/sh");
        let home = Arc::clone(&self.home);
        let ended = self.run();
        let code = fs::read_to_string(home.path().join("status")).unwrap().trim().parse().ok();
        Ended { code, ..ended }
    }

    /// Another program, with this one's surroundings.
    pub(crate) fn started_as(mut self, program: &'static str) -> Self {
        self.instead = Some(program);
        self
    }

    /// Sent SIGTERM some time after its start.
    pub(crate) fn ended_by_sigterm_after(self, delay: Duration) -> Ended {
        self.watch(|pid| {
            thread::sleep(delay);
            let sent = shell(&format!("kill -TERM {pid}")).status().unwrap();
            assert!(sent.success());
        })
    }

    /// To be talked with while it runs. Its stdin is empty.
    pub(crate) fn begin(self) -> Running {
        let mut child = self
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = gather(child.stdout.take().unwrap());
        let stderr = gather(child.stderr.take().unwrap());
        Running { program: self, child, stdout, stderr }
    }

    fn watch(self, meanwhile: impl FnOnce(u32)) -> Ended {
        let mut child = self
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = self.stdin.clone();
        // A program that does not read it ends all the same.
        let feeding = thread::spawn(move || drop(stdin.write_all(&input)));
        let stdout = follow(child.stdout.take().unwrap());
        let stderr = follow(child.stderr.take().unwrap());
        meanwhile(child.id());
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("it did not end: {:?}; it said:\n{}", self.arguments, stderr.join().unwrap());
            }
            thread::sleep(Duration::from_millis(5));
        };
        feeding.join().unwrap();
        Ended {
            code: status.code(),
            signal: status.signal(),
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
            left: entries(&self.path("tmp")),
        }
    }

    fn command(&self) -> Command {
        let binary = daemon::binary();
        let mut command = match &self.script {
            None => self.instead.map_or_else(conformance::settings::command, other),
            Some(script) => {
                let mut command = unshare();
                command.args(self.namespaces).args(["/bin/sh", "-c", script, "sh"]).arg(binary);
                command
            }
        };
        command.args(&self.arguments).env_clear().envs(self.environment.iter().cloned());
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid);
        }
        command
    }
}

/// A command under way, and all that it has said so far.
pub(crate) struct Running {
    program: Program,
    child: Child,
    stdout: Gathered,
    stderr: Gathered,
}

type Gathered = (Arc<Mutex<Vec<u8>>>, thread::JoinHandle<()>);

impl Running {
    pub(crate) fn stdout(&self) -> String {
        text(&self.stdout)
    }

    pub(crate) fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Waits until something is true of it while it runs.
    pub(crate) fn eventually(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            let ended = self.child.try_wait().unwrap();
            let late = Instant::now() > deadline;
            if ended.is_some() || late {
                self.child.kill().ok();
                panic!("{what}: not so; ended: {ended:?}\n{}\n{}", self.stdout(), self.stderr());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(shell(&format!("kill -{name} {}", self.child.id())).status().unwrap().success());
    }

    pub(crate) fn end(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill().unwrap();
                panic!("it did not end; it said:\n{}\n{}", self.stdout(), self.stderr());
            }
            thread::sleep(Duration::from_millis(5));
        };
        let said = [self.stdout, self.stderr].map(|(bytes, reading)| {
            reading.join().unwrap();
            String::from_utf8_lossy(&bytes.lock().unwrap()).into_owned()
        });
        let [stdout, stderr] = said;
        let left = entries(&self.program.path("tmp"));
        Ended { code: status.code(), signal: status.signal(), stdout, stderr, left }
    }
}

fn text((bytes, _): &Gathered) -> String {
    String::from_utf8_lossy(&bytes.lock().unwrap()).into_owned()
}

fn gather(mut from: impl Read + Send + 'static) -> Gathered {
    let gathered = Arc::new(Mutex::new(Vec::new()));
    let bytes = Arc::clone(&gathered);
    let reading = thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            match from.read(&mut buffer).unwrap() {
                0 => break,
                read => bytes.lock().unwrap().extend_from_slice(&buffer[..read]),
            }
        }
    });
    (gathered, reading)
}

fn unshare() -> Command {
    other("/usr/bin/unshare")
}

fn shell(line: &str) -> Command {
    let mut command = other("/bin/sh");
    command.args(["-c", line]);
    command
}

fn other(program: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the test's own child, not the daemon's")]
    Command::new(program)
}

/// A line of shell, run by this user: whether it succeeded, and all that it said. Takes root.
pub(crate) fn as_user(uid: u32, line: &str) -> (bool, String) {
    let output = shell(line).uid(uid).gid(uid).env_clear().env("PATH", "/usr/bin:/bin").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn follow(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}
