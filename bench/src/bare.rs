//! The other side of the comparison: bubblewrap as a careful person would call it by hand, and nothing around it.
//!
//! Same namespaces, same mounts, same user, same interpreter and a new directory per run, as the daemon has. A bare run is over
//! when its output has ended and it has been waited for.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    error::{BenchError, Result, doing},
    process,
    workloads::{self, Expect, Workload},
};

#[derive(Debug)]
pub(crate) struct Bare {
    bwrap: String,
    workspaces: PathBuf,
    next: AtomicU64,
}

impl Bare {
    /// Workspaces are made under `parent`, which must be reachable for every user.
    pub(crate) fn new(parent: &Path) -> Result<Self> {
        let bwrap = workloads::interpreter("bwrap");
        if !Path::new(&bwrap).exists() {
            return Err(BenchError::Missing { what: bwrap, fix: "run `make setup`" });
        }
        let workspaces = parent.join("bare");
        std::fs::create_dir(&workspaces).map_err(doing("make a directory for bare workspaces"))?;
        Ok(Self { bwrap, workspaces, next: AtomicU64::new(0) })
    }

    /// One run, from the new directory to the reaped process.
    pub(crate) fn run(&self, workload: &Workload) -> Result<Duration> {
        let begin = Instant::now();
        let workspace = self.new_workspace()?;
        let mut command = process::unprivileged_command(&self.bwrap);
        command
            .args(sandbox_arguments(&workspace))
            .arg("--")
            .args(&workload.command)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(doing("start bubblewrap"))?;
        // Dropping the pipe after writing is the end of input.
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(workload.stdin.as_bytes()).map_err(doing("write to bubblewrap"))?;
        }
        let mut stdout = Vec::new();
        if let Some(mut pipe) = child.stdout.take() {
            pipe.read_to_end(&mut stdout).map_err(doing("read from bubblewrap"))?;
        }
        let output = child.wait_with_output().map_err(doing("wait for bubblewrap"))?;
        let elapsed = begin.elapsed();
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(wrong(workload, format!("{}: {stderr}", output.status)));
        }
        check(workload, &stdout)?;
        Ok(elapsed)
    }

    fn new_workspace(&self) -> Result<PathBuf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let workspace = self.workspaces.join(number.to_string());
        std::fs::create_dir(&workspace)
            .and_then(|()| process::hand_over(&workspace))
            .map_err(doing("make a bare workspace"))?;
        Ok(workspace)
    }
}

fn check(workload: &Workload, stdout: &[u8]) -> Result<()> {
    match &workload.expect {
        Expect::Nothing if stdout.is_empty() => Ok(()),
        Expect::StdoutBytes(bytes) if stdout.len() == *bytes => Ok(()),
        Expect::Json(value) if serde_json::from_slice::<Value>(stdout).is_ok_and(|got| got == *value) => {
            Ok(())
        }
        Expect::Nothing | Expect::StdoutBytes(_) | Expect::Json(_) => {
            let head = String::from_utf8_lossy(&stdout[..stdout.len().min(200)]).into_owned();
            Err(wrong(workload, format!("{} bytes of output: {head}", stdout.len())))
        }
    }
}

fn wrong(workload: &Workload, why: String) -> BenchError {
    BenchError::WrongWork { who: "bare bubblewrap", workload: workload.name, why }
}

fn sandbox_arguments(workspace: &Path) -> Vec<std::ffi::OsString> {
    let mut arguments: Vec<std::ffi::OsString> = Vec::new();
    let mut add = |words: &str| arguments.extend(words.split_whitespace().map(Into::into));
    add("--unshare-user --unshare-pid --unshare-net --unshare-ipc --unshare-uts --unshare-cgroup");
    add("--uid 1000 --gid 1000 --hostname sandbox --cap-drop ALL --die-with-parent --new-session");
    add("--ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/sbin /sbin");
    add("--symlink usr/lib /lib --symlink usr/lib64 /lib64");
    for file in ["/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/ssl/certs"] {
        add(&format!("--ro-bind-try {file} {file}"));
    }
    add("--proc /proc --dev /dev --perms 1777 --size 67108864 --tmpfs /dev/shm --remount-ro /dev");
    add("--perms 1777 --size 67108864 --tmpfs /tmp");
    arguments.extend(["--bind".into(), workspace.into(), "/workspace".into()]);
    let mut add = |words: &str| arguments.extend(words.split_whitespace().map(Into::into));
    add("--remount-ro / --chdir /workspace --clearenv");
    add("--setenv PATH /usr/local/bin:/usr/bin:/bin --setenv HOME /workspace --setenv LANG C.UTF-8");
    arguments
}
