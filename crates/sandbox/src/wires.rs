//! What leads into a sandbox: eight pipes, and the command line that names their inner ends.
//!
//! Each file the plan asks for gets a descriptor of its own. The inner ends are handed to the spawner, which closes them here
//! once the child has its own: an end that stayed open would keep a pipe alive after the sandbox is dead.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use linux::fds::{self, SealedFile};
use linux::spawn::Spawn;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::unix::pipe;

use crate::bwrap::argv::{self, Bind, Descriptors};
use crate::host::Host;
use crate::launch::{Order, Start, Verdict};
use crate::paths;
use crate::plan::SandboxPlan;

/// The daemon's ends of what leads into a sandbox.
#[derive(Debug)]
pub(crate) struct Wires {
    /// bubblewrap starts nothing inside before this is closed.
    pub(crate) gate: Option<OwnedFd>,
    pub(crate) stdin: pipe::Sender,
    pub(crate) job: pipe::Sender,
    pub(crate) report: pipe::Receiver,
    pub(crate) bwrap_status: BufReader<pipe::Receiver>,
    pub(crate) verdict: pipe::Receiver,
}

/// The launcher's last word, if it came to say it.
pub(crate) async fn read_verdict(from: &mut pipe::Receiver) -> Option<Verdict> {
    let mut line = Vec::new();
    from.take(4096).read_to_end(&mut line).await.ok()?;
    serde_json::from_slice(&line).ok()
}

/// Makes every pipe, and the command line that names their other ends.
pub(crate) fn lay(
    host: &Host,
    plan: &SandboxPlan,
    start: Start,
    workspace: &OwnedFd,
) -> io::Result<(Spawn, Wires, OwnedFd, OwnedFd)> {
    let (stdin, our_stdin) = fds::pipe()?;
    let (our_stdout, stdout) = fds::pipe()?;
    let (our_stderr, stderr) = fds::pipe()?;
    let (job, our_job) = fds::pipe()?;
    let (our_report, report) = fds::pipe()?;
    let (our_verdict, verdict) = fds::pipe()?;
    let (our_status, status) = fds::pipe()?;
    let (gate, our_gate) = fds::pipe()?;
    for fd in
        [our_stdin.as_fd(), our_job.as_fd(), our_report.as_fd(), our_verdict.as_fd(), our_status.as_fd()]
    {
        fds::set_nonblocking(fd)?;
    }
    let order = Order {
        start,
        rlimits: plan.rlimits,
        job_fd: job.as_raw_fd(),
        report_fd: report.as_raw_fd(),
        status_fd: verdict.as_raw_fd(),
    };
    let mut inherited = Inherited {
        host,
        workspace,
        status: status.as_raw_fd(),
        gate: gate.as_raw_fd(),
        fds: vec![job, report, verdict, status, gate],
    };
    let options = argv::options(plan, &mut inherited)?;
    let arguments = SealedFile::new("bwrap-arguments", &argv::nul_separated(&options))?.reader()?;
    let command: Vec<OsString> = vec![
        "--args".into(),
        arguments.as_raw_fd().to_string().into(),
        "--".into(),
        paths::LAUNCHER_PATH.into(),
        serde_json::to_string(&order)?.into(),
    ];
    let mut inherit = inherited.fds;
    inherit.push(arguments);
    let spawn = Spawn {
        program: host.bwrap.clone(),
        arguments: command,
        env: Vec::new(),
        stdin,
        stdout,
        stderr,
        inherit,
    };
    let wires = Wires {
        gate: Some(our_gate),
        stdin: pipe::Sender::from_owned_fd(our_stdin)?,
        job: pipe::Sender::from_owned_fd(our_job)?,
        report: pipe::Receiver::from_owned_fd(our_report)?,
        bwrap_status: BufReader::new(pipe::Receiver::from_owned_fd(our_status)?),
        verdict: pipe::Receiver::from_owned_fd(our_verdict)?,
    };
    Ok((spawn, wires, our_stdout, our_stderr))
}

/// Collects the descriptors a plan asks for, each of its own.
struct Inherited<'a> {
    host: &'a Host,
    workspace: &'a OwnedFd,
    status: RawFd,
    gate: RawFd,
    fds: Vec<OwnedFd>,
}

impl Inherited<'_> {
    fn keep(&mut self, fd: OwnedFd) -> RawFd {
        let number = fd.as_raw_fd();
        self.fds.push(fd);
        number
    }

    fn bind(&mut self, fd: &OwnedFd) -> io::Result<Bind> {
        if self.host.facts.capabilities.binds_descriptors {
            return Ok(Bind::Descriptor(self.keep(fd.try_clone()?)));
        }
        let path = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
        Ok(Bind::Path(path.into_os_string()))
    }
}

impl Descriptors for Inherited<'_> {
    fn file(&mut self, content: &[u8]) -> io::Result<RawFd> {
        let fd = SealedFile::new("sandbox-file", content)?.reader()?;
        Ok(self.keep(fd))
    }

    fn launcher(&mut self) -> io::Result<Bind> {
        self.bind(&self.host.launcher)
    }

    fn workspace(&mut self) -> io::Result<Bind> {
        self.bind(self.workspace)
    }

    fn status(&mut self) -> RawFd {
        self.status
    }

    fn gate(&mut self) -> RawFd {
        self.gate
    }
}
