//! What this host can enforce, found out by doing it: the production arguments, with a program that looks around.
//!
//! ```text
//! bubblewrap there? ── options it knows ── private /proc? ── self test inside ── cgroup kills? ── each language runs
//!        │                                     │ masked               │               │ no               │
//!        ▼                                     ▼                      ▼               ▼                  ▼
//!    Obstacle                       shared /proc, announced       Obstacle    watched, announced   not offered
//! ```
//!
//! There is no fallback that is not announced: what is in force is in [`Capabilities`], and what could not be had is in
//! [`Host::shortfalls`]. A host that cannot be used is a [`ProbeError`] that names the line that fixes it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use linux::fds;
use linux::spawn::Spawner;
use tokio::io::AsyncWriteExt;

use crate::bwrap::find::{self, Bubblewrap, BubblewrapError};
use crate::bwrap::obstacle::Obstacle;
use crate::cgroup::{Cgroups, Charged, Claim, Unavailable};
use crate::channel::{self, Report};
use crate::facts::Reported;
use crate::fork_server::ForkServers;
use crate::host::{
    self, Capabilities, Host, HostFacts, Installed, Layout, MemoryKeeper, ProcView, Shortfall, UserNamespaces,
};
use crate::launch::Start;
use crate::limits::{Bytes, Limits};
use crate::plan::{self, SandboxPlan};
use crate::prepare::{self, PrepareError, Prepared};
use crate::program::{Language, Mode, Program};
use crate::runtimes::{COMPILE_PYTHON_RUNNER, Runtime};
use crate::seccomp::{Arch, CompileError, Filters};
use crate::self_test::{self, Expectations};
use crate::standby::Standbys;
use crate::stop;
use crate::strays;

/// Why this host cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error(transparent)]
    Bubblewrap(BubblewrapError),
    #[error(
        "/proc shows the processes of another pid namespace, in which numbers mean others; mount one of this namespace: \
         mount -t proc proc /proc"
    )]
    ForeignProc,
    #[error(
        "there is no system call filter for this processor architecture ({arch}); run the executor on x86_64 or aarch64"
    )]
    NoFilter { arch: &'static str },
    #[error(transparent)]
    Filter(CompileError),
    #[error("{what}")]
    Obstacle { obstacle: Option<Obstacle>, what: String },
    #[error("a sandbox does not hold what it must: {}", .0.join("; "))]
    SelfTest(Vec<String>),
    #[error("no language works in this container: {}; install one, for example: apt-get install python3", .0.join("; "))]
    NoLanguage(Vec<String>),
}

impl From<BubblewrapError> for ProbeError {
    fn from(error: BubblewrapError) -> Self {
        match error {
            // No fault of bubblewrap's: there was no process left to start it in.
            BubblewrapError::Broken { source, .. } if source.kind() == io::ErrorKind::WouldBlock => {
                let obstacle = Obstacle::ProcessesUsedUp;
                Self::Obstacle { obstacle: Some(obstacle), what: obstacle.to_string() }
            }
            BubblewrapError::Missing
            | BubblewrapError::Broken { .. }
            | BubblewrapError::Setuid(_)
            | BubblewrapError::Stranger { .. }
            | BubblewrapError::TooOld { .. } => Self::Bubblewrap(error),
        }
    }
}

impl Host {
    /// Tries everything the daemon will do, over `workspace`. No job will be larger than `largest_job`. `claimed` is where runs
    /// may have cgroups.
    pub async fn probe(
        spawner: Spawner,
        launcher: OwnedFd,
        workspace: &OwnedFd,
        largest_job: Bytes,
        claimed: Result<Claim, Unavailable>,
    ) -> Result<Self, ProbeError> {
        let Bubblewrap { path: bwrap, version: bwrap_version, options } = find::find(&spawner).await?;
        if !host::proc_is_ours() {
            return Err(ProbeError::ForeignProc);
        }
        let strays = strays::end(&bwrap);
        if strays > 0 {
            tracing::warn!(count = strays, "strays_ended");
        }
        let arch = Arch::native().ok_or(ProbeError::NoFilter { arch: std::env::consts::ARCH })?;
        let filters = Filters::compile(arch).map_err(ProbeError::Filter)?;
        let mut host = Self {
            spawner,
            bwrap,
            bwrap_version,
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            launcher,
            facts: HostFacts {
                filters,
                largest_job,
                layout: layout(),
                capabilities: Capabilities {
                    proc: ProcView::Private,
                    user_namespaces: UserNamespaces::Disabled,
                    memory: MemoryKeeper::Watcher,
                    binds_descriptors: options.contains("--bind-fd"),
                },
            },
            cgroups: None,
            languages: Vec::new(),
            standbys: Standbys::default(),
            forks: ForkServers::default(),
            shortfalls: Vec::new(),
        };
        host.settle_capabilities(workspace).await?;
        host.settle_memory(claimed, workspace).await;
        host.try_languages(workspace).await?;
        Ok(host)
    }

    /// Finds the strongest settings that boot, and has a program look around inside.
    async fn settle_capabilities(&mut self, workspace: &OwnedFd) -> Result<(), ProbeError> {
        loop {
            let error = match self.self_test(&self.self_test_plan(), workspace).await {
                Ok(broken) if broken.is_empty() => return Ok(()),
                Ok(broken) => return Err(ProbeError::SelfTest(broken)),
                Err(error) => error,
            };
            let obstacle = error.obstacle;
            let Capabilities { proc, user_namespaces, .. } = &mut self.facts.capabilities;
            match obstacle {
                Some(obstacle @ Obstacle::ProcMasked) if *proc == ProcView::Private => {
                    if in_initial_pid_namespace() {
                        let what =
                            format!("{obstacle}; and its /proc shows the whole host, so it cannot be shared");
                        return Err(ProbeError::Obstacle { obstacle: Some(obstacle), what });
                    }
                    *proc = ProcView::Shared;
                    self.shortfalls.push(Shortfall::Obstacle(obstacle));
                }
                Some(obstacle @ Obstacle::UserNamespacesCannotBeDisabled)
                    if *user_namespaces == UserNamespaces::Disabled =>
                {
                    *user_namespaces = UserNamespaces::LeftToSeccomp;
                    self.shortfalls.push(Shortfall::Obstacle(obstacle));
                }
                Some(_) | None => {
                    return Err(ProbeError::Obstacle { obstacle, what: error.to_string() });
                }
            }
        }
    }

    /// Has the kernel hold the memory of runs, if a sandbox that takes more than its limit is seen to be killed for it.
    async fn settle_memory(&mut self, claimed: Result<Claim, Unavailable>, workspace: &OwnedFd) {
        let opened = claimed.and_then(|claim| {
            Cgroups::open(claim).map_err(|error| Unavailable::DoesNotHold(error.to_string()))
        });
        let tried = match opened {
            Ok(cgroups) => {
                self.facts.capabilities.memory = MemoryKeeper::Cgroup(cgroups.version());
                self.cgroups = Some(cgroups);
                self.overfill(workspace).await.map_err(Unavailable::DoesNotHold)
            }
            Err(unavailable) => Err(unavailable),
        };
        if let Err(unavailable) = tried {
            self.facts.capabilities.memory = MemoryKeeper::Watcher;
            self.cgroups = None;
            self.shortfalls.push(Shortfall::Cgroup(unavailable));
        }
    }

    /// A program that takes far more memory than its limit must be killed for it, by the kernel. Else: what happened.
    async fn overfill(&self, workspace: &OwnedFd) -> Result<(), String> {
        let limits = Limits { memory: Bytes(self_test::FILLED as u64 / 4), ..probe_limits() };
        let plan = self.self_test_plan();
        let mut prepared = prepare::boot(self, &plan, Start::SelfTest, &limits, workspace)
            .await
            .map_err(|error| error.to_string())?;
        // It may be dead before it has read everything; what counts is how it ended.
        prepared.wires.job.write_all(self_test::FILL).await.ok();
        drop(prepared.wires.job);
        let charged = prepared.cage.reap().await.and_then(|account| account.charged);
        match charged {
            Some(Charged { out_of_memory: true, .. }) => Ok(()),
            Some(Charged { peak, .. }) => Err(format!(
                "a program with a limit of {} MiB held {} MiB and was not killed",
                limits.memory.as_mib(),
                peak.as_mib()
            )),
            None => Err("a program in it did not end".to_owned()),
        }
    }

    /// What a sandbox of this host looks like. Any runtime will do: it is not started.
    pub fn self_test_plan(&self) -> SandboxPlan {
        self.plan_for(&Runtime::with_interpreter(Language::Shell, "/bin/sh".into()))
    }

    /// What a sandbox for this runtime looks like, with limits of ours.
    pub(crate) fn plan_for(&self, runtime: &Runtime) -> SandboxPlan {
        plan::plan(&self.facts, runtime, &probe_limits())
    }

    /// What does not hold inside a sandbox built by `plan`, one sentence each.
    pub async fn self_test(
        &self,
        plan: &SandboxPlan,
        workspace: &OwnedFd,
    ) -> Result<Vec<String>, PrepareError> {
        let prepared = prepare::boot(self, plan, Start::SelfTest, &probe_limits(), workspace).await?;
        Ok(self.broken(prepared, None).await)
    }

    /// What does not hold inside a sandbox that runs the self test, and comes from that process, where it comes from one.
    pub(crate) async fn broken(&self, mut prepared: Prepared, origin: Option<u32>) -> Vec<String> {
        let report = channel::read_report(&mut prepared.wires.report).await;
        prepared.cage.destroy().await;
        let Ok(Some(Report::Result { value })) = report else {
            return vec!["the self test gave no report".to_owned()];
        };
        match serde_json::from_str::<self_test::Observed>(value.get()) {
            Ok(observed) => self_test::broken(&observed, &Expectations { origin, ..self.expectations() }),
            Err(error) => vec![format!("the self test's report cannot be read: {error}")],
        }
    }

    /// Of a sandbox with the limits of [`probe_limits`].
    pub(crate) fn expectations(&self) -> Expectations {
        let whole = self.self_test_plan();
        Expectations {
            rlimits: whole.rlimits,
            proc: self.facts.capabilities.proc,
            programs: whole.seccomp.programs.len(),
            memory: self.facts.capabilities.memory,
            origin: None,
        }
    }

    /// Has each language print its version, through the same road as any program.
    async fn try_languages(&mut self, workspace: &OwnedFd) -> Result<(), ProbeError> {
        let [python, javascript, shell] =
            Language::ALL.map(|language| self.try_language(language, workspace));
        let (python, javascript, shell) = tokio::join!(python, javascript, shell);
        let (mut reasons, mut in_the_way) = (Vec::new(), None);
        for (language, tried) in Language::ALL.into_iter().zip([python, javascript, shell]) {
            match tried {
                Ok(installed) => self.languages.push(installed),
                Err(NotOffered { why, obstacle }) => {
                    reasons.push(format!("{}: {why}", language.name()));
                    in_the_way = in_the_way.or(obstacle);
                    self.shortfalls.push(Shortfall::Language { language, why });
                }
            }
        }
        if !self.languages.is_empty() {
            return Ok(());
        }
        Err(match in_the_way {
            Some(_) => ProbeError::Obstacle { obstacle: in_the_way, what: reasons.join("; ") },
            None => ProbeError::NoLanguage(reasons),
        })
    }

    /// Has a language run a program of ours, the way it will run anybody's.
    async fn try_language(&self, language: Language, workspace: &OwnedFd) -> Result<Installed, NotOffered> {
        let runtime = Runtime::find(language).ok_or_else(|| "its interpreter is not installed".to_owned())?;
        let limits = probe_limits();
        let prepared = prepare::prepare(self, &runtime, &limits, workspace)
            .await
            .map_err(|error| NotOffered { why: error.to_string(), obstacle: error.obstacle })?;
        let (_stopper, stopped) = stop::switch();
        let finished = prepared.start(probe_program(language), stopped).finish().await;
        let finished = finished.map_err(|error| error.to_string())?;
        let silent = || format!("it could not run a program; it said: {}", finished.stderr.text.trim());
        Ok(match language {
            Language::Python => {
                let Reported::Value(value) = &finished.facts.reported else { return Err(silent().into()) };
                let (version, compiled): (String, String) =
                    serde_json::from_str(value.get()).map_err(|error| error.to_string())?;
                let compiled = STANDARD.decode(compiled).map_err(|error| error.to_string())?;
                Installed { runtime: runtime.with_compiled_runner(compiled), version }
            }
            Language::Javascript | Language::Shell => {
                let version = finished.stdout.text.trim().to_owned();
                if version.is_empty() {
                    return Err(silent().into());
                }
                Installed { runtime, version }
            }
        })
    }
}

/// Why a language is not offered.
struct NotOffered {
    why: String,
    obstacle: Option<Obstacle>,
}

impl From<String> for NotOffered {
    fn from(why: String) -> Self {
        Self { why, obstacle: None }
    }
}

/// Prints, or returns, the interpreter's version.
fn probe_program(language: Language) -> Program {
    let (mode, code) = match language {
        Language::Python => (Mode::Handler, COMPILE_PYTHON_RUNNER),
        Language::Javascript => (Mode::Script, "console.log(process.versions.node)"),
        Language::Shell => (Mode::Script, "echo \"${BASH_VERSION%%(*}\""),
    };
    Program {
        execution_id: "exec_probe".into(),
        language,
        mode,
        code: code.into(),
        event: channel::null(),
        stdin: String::new(),
        env: Default::default(),
        files: Vec::new(),
    }
}

/// Small, and enough for any interpreter to boot.
pub(crate) fn probe_limits() -> Limits {
    Limits {
        wall: Duration::from_secs(20),
        cpu: None,
        memory: Bytes::mib(256),
        processes: 32,
        open_files: 256,
        file_size: Bytes::mib(1),
        tmp: Bytes::mib(1),
        output: Bytes::mib(1),
    }
}

/// How `/bin` and its like are laid out here: links into `/usr`, directories, or missing.
fn layout() -> Vec<(PathBuf, Layout)> {
    let names = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
    let look = |path: &Path| match path.read_link() {
        Ok(to) => Some(Layout::Link(to)),
        Err(_) if path.is_dir() => Some(Layout::Directory),
        Err(_) => None,
    };
    names.map(PathBuf::from).into_iter().filter_map(|path| look(&path).map(|layout| (path, layout))).collect()
}

/// The inode of the first pid namespace is a constant of the kernel (`PROC_PID_INIT_INO`).
fn in_initial_pid_namespace() -> bool {
    std::fs::read_link("/proc/self/ns/pid").is_ok_and(|name| name.as_os_str() == "pid:[4026531836]")
}

/// Opens this program for the launcher's place. Call it before giving up root.
pub fn open_launcher() -> io::Result<OwnedFd> {
    // Through the link, not by its path: the file may have been replaced on disk since.
    fds::open_path(Path::new("/proc/self/exe"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bubblewrap_is_not_blamed_where_no_process_can_be_started() {
        let failed = |kind: io::ErrorKind| {
            ProbeError::from(BubblewrapError::Broken { path: "/usr/bin/bwrap".into(), source: kind.into() })
        };
        let exhausted = failed(io::ErrorKind::WouldBlock).to_string();
        assert!(exhausted.contains("--pids-limit") && !exhausted.contains("apt-get"), "{exhausted}");
        let broken = failed(io::ErrorKind::PermissionDenied).to_string();
        assert!(broken.contains("apt-get install --reinstall bubblewrap"), "{broken}");
    }
}
