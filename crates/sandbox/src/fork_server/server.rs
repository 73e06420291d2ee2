//! One fork server, and the making of a sandbox by it.
//!
//! ```text
//! daemon ── eight descriptors (and cgroups) ──► server ── clone ──► init of the sandbox
//!        ◄── its pidfd ─────────────────────────┘                     │ builds itself, by its order
//!        ── cgroup joined, limits set: "1" ─────────────────────────► gate ── limits, filter, program's process
//!        ◄── ready ──────────────────────────────────────────────────────────────┘
//! ```
//!
//! From *ready* on there is no difference to a sandbox that bubblewrap built: the same wires, the same frames, the same verdict.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use linux::calls;
use linux::fds::{self, Blank};
use linux::identity;
use linux::pidfd::PidFd;
use linux::rlimits::Ceilings;
use linux::seqpacket::{self, Seqpacket};
use linux::spawn::Detour;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Forking;
use super::plan::{self, JOB, Kernel, Order, REPORT, VERDICT};
use crate::cage::Cage;
use crate::capture::Capture;
use crate::cgroup::{Cgroups, Leaf};
use crate::host::Host;
use crate::launch::{self, Start};
use crate::limits::{Bytes, Limits};
use crate::news::News;
use crate::paths::LAUNCHER_PATH;
use crate::plan as sandbox_plan;
use crate::prepare::{self, BOOT_DEADLINE, Booting, NotReady, PrepareError, Prepared, Stage};
use crate::probe::probe_limits;
use crate::runtimes::{Rlimits, Runtime, Stamp};
use crate::self_test;
use crate::standby;
use crate::usage::{FirstChild, Sampler};
use crate::wires::{Needs, Verdicts, Wires};

/// A server that does not answer within this is given up. It answers in less than a millisecond.
const ANSWER: Duration = Duration::from_secs(5);

/// Memory that a program must have beside what was preloaded: with less it gets a sandbox in which nothing was.
const ROOM: Bytes = Bytes::mib(32);

#[derive(Debug)]
pub(crate) struct ForkServer {
    /// Its own sandbox.
    sandbox: Prepared,
    /// The one that is copied. Its copies end a moment after it.
    process: PidFd,
    /// One copy is asked for at a time. It is gone where an answer was not waited for: the next would be taken for it.
    control: Mutex<Option<Seqpacket>>,
    roots: Vec<PathBuf>,
    kernel: Kernel,
    amend: fn(&mut Order),
    stamp: Stamp,
    copies: AtomicUsize,
    /// What every copy has at its start.
    preloaded: Bytes,
}

impl ForkServer {
    pub(super) async fn start(
        host: &Host,
        runtime: &Runtime,
        forking: &Forking,
    ) -> Result<Self, PrepareError> {
        let limits = probe_limits();
        let stamp = Stamp::of(&runtime.interpreter)
            .map_err(PrepareError::io(Stage::Boot, "cannot look at the interpreter"))?;
        let whole = sandbox_plan::plan(&host.facts, runtime, &limits);
        let plan = plan::of_server(&whole, &forking.program, &forking.roots);
        let (control, theirs) =
            seqpacket::pair().map_err(PrepareError::io(Stage::Spawn, "cannot make its socket"))?;
        let start = Start::ForkServer {
            interpreter: runtime.interpreter.clone(),
            arguments: plan::arguments(&whole, &forking.preload),
            control_fd: theirs.as_raw_fd(),
        };
        let standby = standby::begin_server(host, Needs::of(&plan), theirs).await?;
        let mut sandbox = prepare::finish(standby, &plan, start, &limits, None).await?;
        let preloaded = sandbox.held();
        let process = sandbox.processes().last().map(|pid| PidFd::open(*pid)).transpose();
        let process = process
            .ok()
            .flatten()
            .ok_or_else(|| PrepareError::new(Stage::Boot, "the fork server has ended already".to_owned()))?;
        Ok(Self {
            sandbox,
            process,
            control: Mutex::new(Some(control)),
            roots: forking.roots.clone(),
            kernel: kernel().map_err(PrepareError::io(Stage::Boot, "cannot look at the kernel's limits"))?,
            amend: forking.amend,
            stamp,
            copies: AtomicUsize::new(0),
            preloaded,
        })
    }

    /// Of the file that its interpreter was when it started.
    pub(super) fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    pub(crate) fn is_alive(&self) -> bool {
        !self.process.has_ended()
    }

    /// How many were made so far.
    pub(super) fn copies(&self) -> usize {
        self.copies.load(Ordering::Relaxed)
    }

    /// What was preloaded counts as a program's own, as if it had imported it.
    pub(super) fn least_memory(&self) -> Bytes {
        Bytes(self.preloaded.0 + ROOM.0)
    }

    pub(super) async fn end(self) {
        self.sandbox.destroy().await;
    }

    /// What a copy has to do for such a sandbox; `None` where the server does not see the workspace.
    pub(super) fn order(
        &self,
        host: &Host,
        runtime: &Runtime,
        limits: &Limits,
        workspace: &OsString,
        instead: &[String],
    ) -> Option<Order> {
        let plan = sandbox_plan::plan(&host.facts, runtime, limits);
        let mut order = plan::order(&plan, &self.kernel, &self.roots, Path::new(workspace), instead)?;
        (self.amend)(&mut order);
        Some(order)
    }

    /// What does not hold in a copy: as a program in the runner's place sees it, and as it is seen from outside while the runner
    /// waits.
    pub(super) async fn self_test(
        self: &Arc<Self>,
        host: &Host,
        runtime: &Runtime,
    ) -> Result<Vec<String>, PrepareError> {
        let limits = probe_limits();
        let root = self.roots.first().ok_or_else(|| {
            PrepareError::new(Stage::Namespaces, "there is no directory for workspaces".to_owned())
        })?;
        let workspace =
            fds::open_path(root).map_err(PrepareError::io(Stage::Namespaces, "cannot open the workspace"))?;
        let order = launch::Order {
            start: Start::SelfTest,
            rlimits: None,
            job_fd: JOB,
            report_fd: REPORT,
            status_fd: VERDICT,
        };
        // Its standard input is where it reads what it is to do.
        let instead = vec![LAUNCHER_PATH.to_owned(), "0".to_owned()];
        let stdin = serde_json::to_vec(&order).map_err(io::Error::from).and_then(|order| readable(&order));
        let stdin = stdin.map_err(PrepareError::io(Stage::Spawn, "cannot write the order"))?;
        let order = |instead: &[String]| {
            let order = self.order(host, runtime, &limits, &root.clone().into_os_string(), instead);
            order.ok_or_else(|| {
                PrepareError::new(Stage::Namespaces, "a path of the workspace is not UTF-8".to_owned())
            })
        };
        let prepared = self.fork(host, &order(&[])?, &limits, &workspace, None).await?;
        let broken = self_test::broken_outside(prepared.processes(), &host.expectations());
        prepared.destroy().await;
        if !broken.is_empty() {
            return Ok(broken);
        }
        let prepared = self.fork(host, &order(&instead)?, &limits, &workspace, Some(stdin)).await?;
        Ok(host.broken(prepared, self.sandbox.processes().last().copied()).await)
    }

    /// Has a copy made, and follows its boot.
    pub(super) async fn fork(
        self: &Arc<Self>,
        host: &Host,
        order: &Order,
        limits: &Limits,
        workspace: &OwnedFd,
        stdin: Option<OwnedFd>,
    ) -> Result<Prepared, PrepareError> {
        let laid =
            Laid::new(order, stdin).map_err(PrepareError::io(Stage::Spawn, "cannot make its pipes"))?;
        let Laid { inner, gate, wires, stdout, stderr } = laid;
        let news = News::new();
        let capture = |fd, what| {
            Capture::start(fd, limits.output, news.clone()).map_err(PrepareError::io(Stage::Spawn, what))
        };
        let (stdout, stderr) = (capture(stdout, "stdout")?, capture(stderr, "stderr")?);
        let leaf = host.cgroups.as_ref().map(Cgroups::leaf).transpose();
        let leaf = leaf.map_err(PrepareError::io(Stage::Cgroup, "cannot make a cgroup for it"))?;
        let detour =
            host.cgroups.as_ref().zip(leaf.as_ref()).and_then(|(cgroups, leaf)| cgroups.detour(leaf));
        let init = timeout(ANSWER, self.ask(order.namespaces, &inner, detour.as_ref()))
            .await
            .unwrap_or_else(|_late| Err(io::Error::other("the fork server does not answer")))
            .map_err(PrepareError::io(Stage::Spawn, "no copy was made"))?;
        drop(inner);
        self.copies.fetch_add(1, Ordering::Relaxed);
        let number = init.pid();
        let cage = Cage::forked(Arc::clone(self), init);
        let mut booting = Booting { cage, wires, stdout, stderr, news };
        let rlimits = Rlimits::new(crate::program::Language::Python, limits);
        let booted = timeout(BOOT_DEADLINE, async {
            // One that has ended said why.
            let number = number.map_err(|_gone| NotReady::At(Stage::Boot))?;
            if let Some(leaf) = joined(leaf, number, detour.is_some()).await? {
                booting.cage.keep(leaf);
            }
            booting
                .cage
                .limit(limits, &rlimits)
                .map_err(PrepareError::io(Stage::Cgroup, "cannot limit its cgroup"))?;
            // Likewise.
            open(gate).await.ok();
            prepare::wait_for_ready(&mut booting.wires, number, Some(workspace)).await?;
            Ok(Sampler::new(number, FirstChild::Program))
        });
        let booted = booted.await;
        prepare::conclude(booted, booting, limits).await
    }

    /// The init of a new copy, which waits at its gate, or builds.
    async fn ask(&self, namespaces: u64, inner: &[OwnedFd], detour: Option<&Detour>) -> io::Result<PidFd> {
        let cgroups = detour.iter().flat_map(|detour| detour.enter.iter().chain(&detour.leave));
        let descriptors: Vec<BorrowedFd<'_>> =
            inner.iter().map(AsFd::as_fd).chain(cgroups.map(AsFd::as_fd)).collect();
        let mut place = self.control.lock().await;
        let control = place.take().ok_or_else(|| io::Error::other("an earlier copy was not answered for"))?;
        control.send(&namespaces.to_ne_bytes(), &descriptors).await?;
        let answer = control.receive().await?;
        *place = Some(control);
        match answer {
            Some((_, Some(pidfd))) => PidFd::adopt(pidfd),
            Some((errno, None)) => Err(refused(&errno)),
            None => Err(io::Error::other("the fork server has ended")),
        }
    }
}

/// The ends of what leads into a copy.
struct Laid {
    /// Its own, in the order in which it expects them.
    inner: [OwnedFd; calls::SENT],
    gate: pipe::Sender,
    wires: Wires,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Laid {
    fn new(order: &Order, stdin: Option<OwnedFd>) -> io::Result<Self> {
        let order = readable(&calls::written(&order.steps)?)?;
        let (gate, our_gate) = fds::pipe()?;
        let (piped_stdin, our_stdin) = fds::pipe()?;
        let (our_stdout, stdout) = fds::pipe()?;
        let (our_stderr, stderr) = fds::pipe()?;
        let (job, our_job) = fds::pipe()?;
        let (our_report, report) = fds::pipe()?;
        let (our_verdict, verdict) = fds::pipe()?;
        for fd in [&our_gate, &our_stdin, &our_job, &our_report, &our_verdict] {
            fds::set_nonblocking(fd)?;
        }
        Ok(Self {
            inner: [order, gate, stdin.unwrap_or(piped_stdin), stdout, stderr, job, report, verdict],
            gate: pipe::Sender::from_owned_fd(our_gate)?,
            wires: Wires {
                stdin: pipe::Sender::from_owned_fd(our_stdin)?,
                job: pipe::Sender::from_owned_fd(our_job)?,
                report: pipe::Receiver::from_owned_fd(our_report)?,
                bwrap_status: None,
                verdicts: Verdicts::new(pipe::Receiver::from_owned_fd(our_verdict)?),
            },
            stdout: our_stdout,
            stderr: our_stderr,
        })
    }
}

/// An order, to be read once.
fn readable(order: &[u8]) -> io::Result<OwnedFd> {
    let blank = Blank::new("order")?;
    let reader = blank.reader()?;
    blank.fill(order)?;
    Ok(reader)
}

fn kernel() -> io::Result<Kernel> {
    Ok(Kernel { last_capability: identity::last_capability()?, ceilings: Ceilings::of_this_process()? })
}

/// What the server says where it has no pidfd to send.
fn refused(errno: &[u8]) -> io::Error {
    let errno = errno.try_into().map(u64::from_ne_bytes).ok().and_then(|errno| i32::try_from(errno).ok());
    errno
        .map_or_else(|| io::Error::other("the fork server said something else"), io::Error::from_raw_os_error)
}

/// Before the gate opens: whatever the copy starts after that is in its cgroup, too.
async fn joined(leaf: Option<Leaf>, init: u32, is_inside: bool) -> Result<Option<Leaf>, PrepareError> {
    let leaf = match leaf {
        Some(leaf) if !is_inside => leaf,
        leaf => return Ok(leaf),
    };
    let joined = tokio::task::spawn_blocking(move || leaf.join(init).map(|()| leaf)).await;
    let joined = joined.unwrap_or_else(|panic| Err(io::Error::other(panic)));
    joined.map(Some).map_err(PrepareError::io(Stage::Cgroup, "cannot move it into its cgroup"))
}

async fn open(mut gate: pipe::Sender) -> io::Result<()> {
    gate.write_all(b"1").await
}
