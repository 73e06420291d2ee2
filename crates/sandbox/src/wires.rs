//! What leads into a sandbox: eight pipes, and files that bubblewrap and the launcher read.
//!
//! They are laid before anybody knows what the sandbox is for: bubblewrap starts with one argument, the pipe it reads the
//! others from, and waits there. The inner ends are handed to the spawner, which closes them here once the child has its own:
//! an end that stayed open would keep a pipe alive after the sandbox is dead.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use linux::fds::{self, Blank};
use linux::spawn::{self, Spawn};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;

use crate::bwrap::argv::{self, Bind, Outside};
use crate::host::Host;
use crate::launch::{Order, Start, Verdict};
use crate::paths;
use crate::plan::{Mount, SandboxPlan};

/// The daemon's ends of what leads into a sandbox.
#[derive(Debug)]
pub(crate) struct Wires {
    pub(crate) stdin: pipe::Sender,
    pub(crate) job: pipe::Sender,
    pub(crate) report: pipe::Receiver,
    /// Of a sandbox that bubblewrap built.
    pub(crate) bwrap_status: Option<BufReader<pipe::Receiver>>,
    pub(crate) verdicts: Verdicts,
}

/// The daemon's ends of a sandbox's output.
#[derive(Debug)]
pub(crate) struct Outputs {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// What bubblewrap and the launcher wait for, not written yet. Numbers are those of the descriptors they inherited.
#[derive(Debug)]
pub(crate) struct Unwritten {
    arguments: pipe::Sender,
    order: Blank,
    files: Vec<(RawFd, Blank)>,
    launchers: Vec<Bind>,
    status: RawFd,
    job: RawFd,
    report: RawFd,
    verdict: RawFd,
}

/// What the launcher says, a line each.
#[derive(Debug)]
pub(crate) struct Verdicts {
    from: pipe::Receiver,
    unread: Vec<u8>,
}

/// Longer than any line of the launcher's.
const LONGEST_VERDICT: usize = 4096;

impl Verdicts {
    pub(crate) fn new(from: pipe::Receiver) -> Self {
        Self { from, unread: Vec::new() }
    }

    /// The next, once it is there; `None` when there will be none. Whoever stops waiting misses nothing.
    pub(crate) async fn next(&mut self) -> Option<Verdict> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return serde_json::from_slice(&line).ok();
            }
            if self.unread.len() > LONGEST_VERDICT
                || !matches!(self.from.read_buf(&mut self.unread).await, Ok(1..))
            {
                return None;
            }
        }
    }

    /// How it ended, if anybody came to say it. In a copy of a fork server two processes may speak: what is said first counts.
    pub(crate) async fn last(&mut self) -> Option<Verdict> {
        loop {
            match self.next().await? {
                Verdict::Stopped(_) => {}
                last @ (Verdict::Ended { .. } | Verdict::Failed { .. }) => return Some(last),
            }
        }
    }
}

/// What a plan needs of what is laid before it is known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Needs {
    /// Files that bubblewrap gets the content of.
    pub(crate) files: usize,
    /// Places where this program is to be.
    pub(crate) launchers: usize,
}

impl Needs {
    pub(crate) fn of(plan: &SandboxPlan) -> Self {
        let launchers = plan.mounts.iter().filter(|mount| matches!(mount, Mount::Launcher { .. })).count();
        Self { files: plan.files(), launchers }
    }
}

/// Makes every pipe, files without content, and the command line that names their other ends.
pub(crate) fn lay(host: &Host, needs: Needs) -> io::Result<(Spawn, Unwritten, Wires, Outputs)> {
    let (stdin, our_stdin) = fds::pipe()?;
    let (our_stdout, stdout) = fds::pipe()?;
    let (our_stderr, stderr) = fds::pipe()?;
    let (job, our_job) = fds::pipe()?;
    let (our_report, report) = fds::pipe()?;
    let (our_verdict, verdict) = fds::pipe()?;
    let (our_status, status) = fds::pipe()?;
    let (arguments, our_arguments) = fds::pipe()?;
    for fd in [
        our_stdin.as_fd(),
        our_job.as_fd(),
        our_report.as_fd(),
        our_verdict.as_fd(),
        our_status.as_fd(),
        our_arguments.as_fd(),
    ] {
        fds::set_nonblocking(fd)?;
    }
    let order = Blank::new("order")?;
    let order_reader = order.reader()?;
    let command: Vec<OsString> = vec![
        "--args".into(),
        spawn::number(&arguments),
        "--".into(),
        paths::LAUNCHER_PATH.into(),
        spawn::number(&order_reader),
    ];
    let mut unwritten = Unwritten {
        arguments: pipe::Sender::from_owned_fd(our_arguments)?,
        order,
        files: Vec::with_capacity(needs.files),
        launchers: Vec::with_capacity(needs.launchers),
        status: status.as_raw_fd(),
        job: job.as_raw_fd(),
        report: report.as_raw_fd(),
        verdict: verdict.as_raw_fd(),
    };
    let mut inherit = vec![job, report, verdict, status, arguments, order_reader];
    for _ in 0..needs.launchers {
        // bubblewrap closes each once it is mounted.
        let launcher = host.launcher.try_clone()?;
        unwritten.launchers.push(bind(host, &launcher)?);
        inherit.push(launcher);
    }
    for _ in 0..needs.files {
        let file = Blank::new("sandbox-file")?;
        let reader = file.reader()?;
        unwritten.files.push((reader.as_raw_fd(), file));
        inherit.push(reader);
    }
    let program = host.bwrap.clone();
    let spawn =
        Spawn { program, arguments: command, env: Vec::new(), stdin, stdout, stderr, inherit, detour: None };
    let wires = Wires {
        stdin: pipe::Sender::from_owned_fd(our_stdin)?,
        job: pipe::Sender::from_owned_fd(our_job)?,
        report: pipe::Receiver::from_owned_fd(our_report)?,
        bwrap_status: Some(BufReader::new(pipe::Receiver::from_owned_fd(our_status)?)),
        verdicts: Verdicts::new(pipe::Receiver::from_owned_fd(our_verdict)?),
    };
    Ok((spawn, unwritten, wires, Outputs { stdout: our_stdout, stderr: our_stderr }))
}

fn bind(host: &Host, fd: &OwnedFd) -> io::Result<Bind> {
    if host.facts.capabilities.binds_descriptors {
        return Ok(Bind::Descriptor(fd.as_raw_fd()));
    }
    Ok(Bind::Path(path_of(fd)?))
}

pub(crate) fn path_of(fd: &OwnedFd) -> io::Result<OsString> {
    Ok(std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?.into_os_string())
}

impl Unwritten {
    /// Enough for a plan with such needs?
    pub(crate) fn meets(&self, needs: Needs) -> bool {
        self.files.len() >= needs.files && self.launchers.len() >= needs.launchers
    }

    /// Says what the sandbox is: from here on bubblewrap builds it.
    pub(crate) async fn write(
        self,
        plan: &SandboxPlan,
        start: Start,
        workspace: Option<&OwnedFd>,
    ) -> io::Result<()> {
        let rlimits = match start {
            Start::Runtime { .. } | Start::SelfTest => Some(plan.rlimits),
            // They would be the most that a copy can have.
            Start::ForkServer { .. } => None,
        };
        let order =
            Order { start, rlimits, job_fd: self.job, report_fd: self.report, status_fd: self.verdict };
        self.order.fill(&serde_json::to_vec(&order)?)?;
        let mut outside =
            Filled { files: self.files, launchers: self.launchers, status: self.status, workspace };
        let options = argv::options(plan, &mut outside)?;
        let mut arguments = self.arguments;
        arguments.write_all(&argv::nul_separated(&options)).await
    }
}

/// Fills files as the plan asks for them.
struct Filled<'a> {
    files: Vec<(RawFd, Blank)>,
    launchers: Vec<Bind>,
    status: RawFd,
    workspace: Option<&'a OwnedFd>,
}

impl Outside for Filled<'_> {
    fn file(&mut self, content: &[u8]) -> io::Result<RawFd> {
        let (number, file) = self.files.pop().ok_or_else(|| io::Error::other("too few files were laid"))?;
        file.fill(content)?;
        Ok(number)
    }

    fn launcher(&mut self) -> io::Result<Bind> {
        self.launchers.pop().ok_or_else(|| io::Error::other("too few launchers were laid"))
    }

    fn workspace(&mut self) -> io::Result<OsString> {
        path_of(
            self.workspace
                .ok_or_else(|| io::Error::other("the plan has a workspace and the run has none"))?,
        )
    }

    fn status(&mut self) -> RawFd {
        self.status
    }
}
