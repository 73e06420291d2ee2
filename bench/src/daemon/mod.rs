//! The daemon under measurement: a child process on a free loopback port, with directories of its own.
//!
//! It is ended by its process id, on every path: by a second child, the *leash*, which outlives the benchmark. The benchmark
//! reaps the daemon only after the leash has ended, so the id cannot have been given to somebody else.
//!
//! settings → start → pool, footprint; leash → end

pub(crate) mod footprint;
mod leash;
pub(crate) mod pool;
pub(crate) mod settings;

use std::{
    fs::{self, File},
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    client::Client,
    daemon::{footprint::Memory, leash::Leash, settings::Settings},
    error::{BenchError, Result, doing},
    process, report,
};

const START_DEADLINE: Duration = Duration::from_secs(20);
const STOP_DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    leash: Leash,
    pub(crate) address: SocketAddr,
    pub(crate) settings: Settings,
    /// From starting the process to the first 200 of `/health`.
    pub(crate) start_up: Duration,
    _directories: TempDir,
}

impl Daemon {
    /// Directories are made under `parent`, which the leash removes should the benchmark be killed.
    pub(crate) fn start(binary: &Path, parent: &Path, settings: Settings) -> Result<Self> {
        Self::start_by(process::command(binary), parent, settings)
    }

    /// One that finds no cgroup file system. Takes root.
    pub(crate) fn without_cgroups(binary: &Path, parent: &Path, settings: Settings) -> Result<Self> {
        let mut command = process::command("/usr/bin/unshare");
        // The daemon takes the shell's place, and its number.
        let script = "mount -t tmpfs none /sys/fs/cgroup && exec \"$0\"";
        command.args(["--mount", "/bin/sh", "-c", script]).arg(binary);
        Self::start_by(command, parent, settings)
    }

    /// Does the kernel hold the memory of its runs?
    pub(crate) fn makes_cgroups(&self) -> Result<bool> {
        let mut client = Client::connect(self.address).map_err(doing("connect to the daemon"))?;
        let health = client.get("/health")?.json()?;
        Ok(health["isolation"]["memory"] == "cgroup")
    }

    fn start_by(mut command: Command, parent: &Path, settings: Settings) -> Result<Self> {
        let directories = reachable_directory(parent)?;
        let root = directories.path();
        for name in ["workspace", "sessions", "results"] {
            fs::create_dir(root.join(name)).map_err(doing("make a directory for the daemon"))?;
        }
        let log = root.join("daemon.log");
        let log_file = File::create(&log).map_err(doing("make the daemon's log file"))?;
        let stdout = log_file.try_clone().map_err(doing("share the daemon's log file"))?;
        let address = free_address()?;
        let begin = Instant::now();
        let child = command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("EXECUTOR_HOST", address.ip().to_string())
            .env("EXECUTOR_PORT", address.port().to_string())
            .env("WORKSPACE_PATH", root.join("workspace"))
            .env("SESSIONS_PATH", root.join("sessions"))
            .env("RESULTS_DIR", root.join("results"))
            .envs(&settings.variables)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(log_file)
            .spawn()
            .map_err(doing(format!("start the daemon by {command:?}")))?;
        let leash = Leash::hold(child.id(), parent)?;
        let mut daemon =
            Self { child, leash, address, settings, start_up: Duration::ZERO, _directories: directories };
        daemon.start_up = daemon.wait_for_health(begin, &log)?;
        Ok(daemon)
    }

    fn wait_for_health(&mut self, begin: Instant, log: &Path) -> Result<Duration> {
        while begin.elapsed() < START_DEADLINE {
            if let Ok(mut client) = Client::connect(self.address)
                && client.get("/health").is_ok_and(|answer| answer.status == 200)
            {
                return Ok(begin.elapsed());
            }
            if self.child.try_wait().map_err(doing("look at the daemon"))?.is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(BenchError::NotReady { seconds: begin.elapsed().as_secs(), log: tail(log) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Of the daemon and its direct children, which wait for the next runs.
    pub(crate) fn memory(&self) -> Memory {
        let mut processes = vec![self.pid()];
        processes.extend(footprint::children(self.pid()));
        Memory::of(&processes)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let leash_ended = self.leash.pull();
        let deadline = Instant::now() + STOP_DEADLINE;
        while leash_ended && Instant::now() < deadline {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            report::progress(&format!("cannot end the daemon, process {}: {error}", self.child.id()));
        }
    }
}

/// The daemon drops root: every directory above its own must let uid 1000 through.
pub(crate) fn reachable_directory(parent: &Path) -> Result<TempDir> {
    let directory = tempfile::Builder::new()
        .prefix("sandbox-executor-bench-")
        .tempdir_in(parent)
        .map_err(doing("make a temporary directory"))?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))
        .map_err(doing("open the temporary directory to the daemon's user"))?;
    Ok(directory)
}

/// A port nobody listens on. Somebody else could take it before the daemon does; then the daemon says so and we stop.
fn free_address() -> Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(doing("find a free port"))
}

fn tail(log: &Path) -> String {
    let mut text = String::new();
    let read = File::open(log).and_then(|mut file| file.read_to_string(&mut text));
    if let Err(error) = read {
        return format!("(cannot read {}: {error})", log.display());
    }
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
