//! The daemon under measurement: a child process on a free loopback port, with directories of its own.
//!
//! It is ended by its process id, on every path. A second child, the *leash*, holds that id and reads from a pipe only the
//! benchmark can write to. A line on it means "stop the daemon now"; its end without a line means that the benchmark is gone
//! (interrupted, killed), and then the leash also removes the directories. The benchmark reaps the daemon only after the leash
//! has ended, so the id cannot have been given to somebody else.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use control_plane_mock::Mock;
use tempfile::TempDir;

use crate::{
    client::Client,
    error::{BenchError, Result, doing},
    process, report,
};

const START_DEADLINE: Duration = Duration::from_secs(20);
/// A caller who asks now and then finds the daemon so.
const AT_REST: Duration = Duration::from_millis(20);
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// Waits for the end of input, whatever happens to the benchmark, then ends the daemon.
const LEASH: &str = r#"
trap "" INT TERM HUP
if read -r _; then kill -TERM "$1"; exit; fi
kill -TERM "$1"
for _ in {1..100}; do [[ -e /proc/$1/exe ]] || break; sleep 0.1; done
rm -rf -- "$2"
"#;

#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    leash: Child,
    leash_end: Option<ChildStdin>,
    pub(crate) address: SocketAddr,
    /// From starting the process to the first 200 of `/health`.
    pub(crate) start_up: Duration,
    _directories: TempDir,
}

/// Memory of the idle daemon and its helper processes, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    /// Shared pages counted by share; absent where the kernel does not let us look.
    pub(crate) proportional: Option<u64>,
}

/// The settings of the pool, and what those are called that wait in it.
const POOLS: [(&str, &str); 3] =
    [("POOL_PYTHON", "python"), ("POOL_JAVASCRIPT", "javascript"), ("POOL_SHELL", "shell")];

/// Every run is cold.
const NO_POOL: [(&str, &str); 3] = [("POOL_PYTHON", "0"), ("POOL_JAVASCRIPT", "0"), ("POOL_SHELL", "0")];

impl Daemon {
    /// Without a pool: every run is cold. Directories are made under `parent`, which the leash removes should the benchmark be
    /// killed.
    pub(crate) fn start(binary: &Path, parent: &Path) -> Result<Self> {
        Self::start_with(process::command(binary), parent, &NO_POOL)
    }

    /// As a user starts it: sandboxes wait.
    pub(crate) fn warm(binary: &Path, parent: &Path) -> Result<Self> {
        Self::start_with(process::command(binary), parent, &[])
    }

    /// Waits until as many sandboxes wait as there were when it had just filled its pool.
    pub(crate) fn wait_for_pool(&self, full: &[u64; 3]) -> Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < START_DEADLINE {
            if self.waiting()? == *full {
                // It has been filled, and what filled it is at rest.
                thread::sleep(AT_REST);
                return Ok(());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Err(BenchError::Protocol { why: "the pool does not fill".to_owned() })
    }

    /// How many of each language wait now.
    pub(crate) fn waiting(&self) -> Result<[u64; 3]> {
        let mut client = Client::connect(self.address).map_err(doing("connect to the daemon"))?;
        let metrics = client.get("/metrics")?;
        let text = String::from_utf8_lossy(&metrics.body);
        Ok(POOLS.map(|(_, language)| {
            let series = format!("sandbox_executor_waiting_sandboxes{{language=\"{language}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&series));
            line.and_then(|number| number.parse().ok()).unwrap_or_default()
        }))
    }

    /// One that finds no cgroup file system. Takes root.
    pub(crate) fn without_cgroups(binary: &Path, parent: &Path) -> Result<Self> {
        let mut command = process::command("/usr/bin/unshare");
        // The daemon takes the shell's place, and its number.
        let script = "mount -t tmpfs none /sys/fs/cgroup && exec \"$0\"";
        command.args(["--mount", "/bin/sh", "-c", script]).arg(binary);
        Self::start_with(command, parent, &NO_POOL)
    }

    /// Does the kernel hold the memory of its runs?
    pub(crate) fn makes_cgroups(&self) -> Result<bool> {
        let mut client = Client::connect(self.address).map_err(doing("connect to the daemon"))?;
        let health: serde_json::Value = serde_json::from_slice(&client.get("/health")?.body)
            .map_err(|error| BenchError::Protocol { why: format!("/health is not JSON: {error}") })?;
        Ok(health["isolation"]["memory"] == "cgroup")
    }

    /// One that reports to this control plane.
    pub(crate) fn calling(binary: &Path, parent: &Path, mock: &Mock) -> Result<Self> {
        let url = mock.url();
        let mut settings = NO_POOL.to_vec();
        settings.extend([("CONTROL_PLANE_URL", url.as_str()), ("INTERNAL_API_TOKEN", "bench")]);
        Self::start_with(process::command(binary), parent, &settings)
    }

    fn start_with(mut command: Command, parent: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        let directories = reachable_directory(parent)?;
        let root = directories.path();
        for name in ["workspace", "sessions", "results"] {
            fs::create_dir(root.join(name)).map_err(doing("make a directory for the daemon"))?;
        }
        let log = root.join("daemon.log");
        let log_file = File::create(&log).map_err(doing("make the daemon's log file"))?;
        let stdout = log_file.try_clone().map_err(doing("share the daemon's log file"))?;
        let address = free_address()?;
        let cpus = thread::available_parallelism().map_or(2, usize::from);
        let begin = Instant::now();
        let child = command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("EXECUTOR_HOST", address.ip().to_string())
            .env("EXECUTOR_PORT", address.port().to_string())
            .env("EXECUTOR_CONCURRENCY", cpus.to_string())
            .env("EXECUTOR_QUEUE", "256")
            .env("ARTIFACT_RETENTION_SECONDS", "30")
            .env("WORKSPACE_PATH", root.join("workspace"))
            .env("SESSIONS_PATH", root.join("sessions"))
            .env("RESULTS_DIR", root.join("results"))
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(log_file)
            .spawn()
            .map_err(doing(format!("start the daemon by {command:?}")))?;
        let (leash, leash_end) = leash(child.id(), parent)?;
        let mut daemon = Self {
            child,
            leash,
            leash_end: Some(leash_end),
            address,
            start_up: Duration::ZERO,
            _directories: directories,
        };
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

    pub(crate) fn memory(&self) -> Result<Memory> {
        let mut processes = vec![self.child.id()];
        processes.extend(children(self.child.id()));
        let mut resident = 0;
        let mut proportional = Some(0);
        for pid in processes {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))
                .map_err(doing("read the daemon's memory"))?;
            resident += kibibytes(&status, "VmRSS:").unwrap_or(0) * 1024;
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            proportional = proportional.zip(kibibytes(&rollup, "Pss:")).map(|(sum, own)| sum + own * 1024);
        }
        Ok(Memory { resident, proportional })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A leash that cannot be written to has ended, and has sent SIGTERM before; either way it is waited for first.
        let told = self.leash_end.take().map(|mut end| end.write_all(b"stop\n"));
        let leash_ended = told.is_some() && self.leash.wait().is_ok();
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

fn leash(pid: u32, directories: &Path) -> Result<(Child, ChildStdin)> {
    let mut leash = process::command("/bin/bash")
        .args(["-c", LEASH, "leash", &pid.to_string()])
        .arg(directories)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(doing("start the daemon's leash"))?;
    let end = leash.stdin.take().ok_or_else(|| BenchError::Missing {
        what: "the pipe to the daemon's leash".to_owned(),
        fix: "this is a bug of the benchmark",
    })?;
    Ok((leash, end))
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

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
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
