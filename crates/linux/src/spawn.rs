//! The one place where processes start.
//!
//! The kernel ties a parent-death signal to the *thread* that forked (prctl(2), `PR_SET_PDEATHSIG`): were a sandbox forked
//! from a pool thread that retires, it would be killed under a running program. So one thread forks, and it never ends. It is
//! also the only one, so a descriptor it makes inheritable for one child cannot slip into another.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use nix::unistd::Pid;

use crate::children::Child;
use crate::fds::set_inheritable;

/// A child to start: an absolute program, its arguments, no environment but `env`.
#[derive(Debug)]
pub struct Spawn {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub env: Vec<(OsString, OsString)>,
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// Inherited under the numbers they have here, so that the arguments can name them.
    pub inherit: Vec<OwnedFd>,
    /// Where it is born.
    pub detour: Option<Detour>,
}

/// Cgroups of version 1 that the thread that forks goes through: a child is born where its parent is.
///
/// Each file is the `tasks` of a cgroup. A thread that moves itself spares the kernel the wait that moving another process takes
/// (Linux 5.5, 9a3284fad42f).
#[derive(Debug)]
pub struct Detour {
    pub enter: Vec<File>,
    pub leave: Vec<File>,
}

impl Detour {
    fn enter(&mut self) -> io::Result<()> {
        self.enter.iter_mut().try_for_each(|tasks| tasks.write_all(b"0"))
    }

    /// Where it fails this thread stays for now: the next child's cgroups take it away, and who removes the cgroup that it is
    /// in tries again.
    fn leave(&mut self) {
        for tasks in &mut self.leave {
            tasks.write_all(b"0").ok();
        }
    }
}

type Request = (Spawn, Box<dyn FnOnce(io::Result<Child>) + Send>);

/// Hands children to the thread that forks. Clones share it.
#[derive(Debug, Clone)]
pub struct Spawner {
    requests: mpsc::Sender<Request>,
}

impl Spawner {
    pub fn start() -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel::<Request>();
        thread::Builder::new().name("spawner".into()).stack_size(256 * 1024).spawn(move || {
            for (spawn, answer) in inbox {
                answer(Child::start(|| run(spawn)));
            }
            // Every sender is gone, yet children may live: this thread must outlast them.
            loop {
                thread::park();
            }
        })?;
        Ok(Self { requests })
    }

    /// Starts a child; `answer` gets it, on the spawner's thread. The caller owns the child and must reap it.
    pub fn spawn(&self, spawn: Spawn, answer: impl FnOnce(io::Result<Child>) + Send + 'static) {
        if let Err(mpsc::SendError((_, answer))) = self.requests.send((spawn, Box::new(answer))) {
            answer(Err(io::Error::other("the spawner thread is gone")));
        }
    }
}

fn run(mut spawn: Spawn) -> io::Result<u32> {
    let Some(mut detour) = spawn.detour.take() else { return execute(spawn) };
    let child = detour.enter().and_then(|()| execute(spawn));
    detour.leave();
    child
}

/// Forks and executes. The descriptors of `spawn` are closed here once the child has its own.
fn execute(spawn: Spawn) -> io::Result<u32> {
    for fd in &spawn.inherit {
        set_inheritable(fd.as_fd(), true)?;
    }
    // No `pre_exec`: the standard library can then use posix_spawn, which does not copy the daemon's page tables. It also
    // resets SIGPIPE for the child; the signal mask it passes on, and this thread blocks nothing.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let child = Command::new(spawn.program)
        .args(spawn.arguments)
        .env_clear()
        .envs(spawn.env)
        .stdin(Stdio::from(spawn.stdin))
        .stdout(Stdio::from(spawn.stdout))
        .stderr(Stdio::from(spawn.stderr))
        .spawn()?;
    Ok(child.id())
}

/// What the launcher inside the sandbox starts: the runtime, in a process group of its own, with this process's stdio.
///
/// The group is its own so that `kill 0` in a script ends the script's processes and not the launcher that waits for them.
/// No signal is blocked or ignored in it, whatever is in this process: the standard library would pass the mask on.
pub fn spawn_runtime(
    program: &std::path::Path,
    arguments: &[OsString],
    inherit: &[OwnedFd],
    env: Option<Vec<(OsString, OsString)>>,
) -> io::Result<u32> {
    for fd in inherit {
        set_inheritable(fd.as_fd(), true)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    attributes.set_pgroup(Pid::from_raw(0))?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_sigdefault(&SigSet::all())?;
    let mut argv = vec![CString::new(program.as_os_str().as_bytes())?];
    for argument in arguments {
        argv.push(CString::new(argument.as_bytes())?);
    }
    let mut envp = Vec::new();
    for (name, value) in env.unwrap_or_else(|| std::env::vars_os().collect()) {
        envp.push(CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())?);
    }
    let actions = PosixSpawnFileActions::init()?;
    let child = posix_spawn(program, &actions, &attributes, &argv, &envp)?;
    u32::try_from(child.as_raw()).map_err(io::Error::other)
}

/// The numbers of descriptors, for a command line.
pub fn number(fd: &OwnedFd) -> OsString {
    fd.as_raw_fd().to_string().into()
}
