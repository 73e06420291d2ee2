//! `doctor`: everything `serve` tries at its start, and a line for each thing that is missing.
//!
//! It starts nothing that stays. Exit 0 only when `serve` would start.

mod findings;
mod fixes;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use linux::identity::{self, Identity};
use linux::mounts;
use sandbox::host::{Host, MemoryKeeper, ProcView, Shortfall, UserNamespaces};
use sandbox::probe::ProbeError;

use self::findings::Findings;
use super::scratch::Scratch;
use super::{chain, complain};
use crate::app::{self, StartError};
use crate::config::{Config, Origin};
use crate::http::server;
use crate::lifecycle::ground::{self, Ground};
use crate::lifecycle::port;
use crate::outbox::journal::{Access, Journal, JournalError};
use crate::run::Parts;
use crate::workspaces::WorkspaceError;

/// Being root is over when the ground is settled.
#[derive(Clone, Copy)]
enum StartedBy {
    Root,
    AnOrdinaryUser,
}

#[derive(Clone, Copy)]
struct Started {
    by: StartedBy,
    /// Who it is now.
    user: Identity,
}

pub(super) fn doctor(config: Config) -> ExitCode {
    let mut findings = Findings::default();
    let by = if identity::is_root() { StartedBy::Root } else { StartedBy::AnOrdinaryUser };
    let ground = match ground::settle(&config) {
        Ok(ground) => ground,
        Err(error) => {
            findings.bad(&chain(&error), &fixes::of_ground(&error, &config));
            return findings.print();
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start the runtime: {error}"), 1),
    };
    let started = Started { by, user: identity::current() };
    runtime.block_on(async {
        match server::bind(config.host, config.port) {
            Ok(_listener) => findings.good(&format!("port {} is free", config.port)),
            // Inside a running container this is the daemon itself, and all is well.
            Err(_) if serves_already(&config) => {
                findings.good(&format!("a sandbox-executor serves port {} already", config.port));
            }
            Err(error) => findings.bad(&chain(&error), &[]),
        }
        results(&config, started.user, &mut findings);
        sandboxes(&config, ground, started, &mut findings).await;
    });
    runtime.shutdown_background();
    findings.print()
}

/// Whether results would outlive the daemon. Only a control plane wants them.
fn results(config: &Config, user: Identity, findings: &mut Findings) {
    if config.control_plane.is_none() {
        return;
    }
    let opened = Journal::at(&config.results_dir, Access::Owner(config.results_fsync)).open();
    match opened {
        Ok(()) => findings.good(&format!("results can wait in {}", config.results_dir.display())),
        // Inside a running container this is the daemon itself, and all is well.
        Err(JournalError::Taken { .. }) if serves_already(config) => {}
        Err(error @ JournalError::Taken { .. }) => findings.bad(&chain(&error), &[]),
        Err(error @ JournalError::Unusable { .. }) => {
            let what = format!("{}; results that wait are lost with the daemon", chain(&error));
            findings.reduced(&what, &fixes::state(config, user));
        }
    }
}

fn serves_already(config: &Config) -> bool {
    port::ask(SocketAddr::new(config.host, config.port)).is_ok()
}

async fn sandboxes(config: &Config, ground: Ground, started: Started, findings: &mut Findings) {
    let spare = ground.try_clone();
    match app::open_parts(config, ground, None).await {
        // Inside a running container this is the daemon itself, and all is well.
        Err(StartError::Workspace(WorkspaceError::SessionsTaken { .. })) if serves_already(config) => {
            workspace(&config.workspace_path, started.user, findings);
            sandboxes_elsewhere(config, spare.ok(), started, findings).await;
        }
        Err(StartError::Workspace(error)) => {
            findings.bad(&chain(&error), &fixes::of_workspace(&error, config, started.user));
            sandboxes_elsewhere(config, spare.ok(), started, findings).await;
        }
        opened => {
            if opened.is_ok() {
                workspace(&config.workspace_path, started.user, findings);
            }
            tell(opened.map(|(parts, _tasks)| parts), started, findings);
        }
    }
}

/// Whatever is wrong with the workspace, the rest is named too, as far as there is another place to try it.
async fn sandboxes_elsewhere(
    config: &Config,
    ground: Option<Ground>,
    started: Started,
    findings: &mut Findings,
) {
    let mut config = Config { workspace_origin: Origin::Default, ..config.clone() };
    let places = [std::env::temp_dir(), PathBuf::from("/dev/shm")];
    let scratch = places.into_iter().find_map(|place| Scratch::make_in(place, &mut config).ok());
    let (Some(scratch), Some(ground)) = (scratch, ground) else {
        return findings.untold("whether sandboxes can be built: no directory to try it in can be written");
    };
    let opened = app::open_parts(&config, ground, None).await;
    tell(opened.map(|(parts, _tasks)| parts), started, findings);
    if let Err(error) = scratch.remove() {
        findings.reduced(&chain(&error), &[]);
    }
}

fn workspace(path: &Path, user: Identity, findings: &mut Findings) {
    let shown = path.display();
    findings.good(&format!("the workspace {shown} is writable"));
    if mounts::forbids_programs(path).is_ok_and(|forbids| forbids) {
        let what =
            format!("the workspace {shown} is mounted noexec: what a program writes there cannot be started");
        findings.reduced(&what, &fixes::workspace(path, user));
    }
}

fn tell(opened: Result<Arc<Parts>, StartError>, started: Started, findings: &mut Findings) {
    match opened {
        Ok(parts) => {
            host(&parts.host, findings);
            root(&parts.host, started, findings);
        }
        Err(StartError::Host(ProbeError::Obstacle { obstacle, what })) => {
            let what = obstacle.map_or(what, |obstacle| obstacle.what().to_owned());
            findings.bad(&what, &fixes::of_obstacle(obstacle));
        }
        Err(StartError::Isolation(below)) => {
            let mut fixes = fixes::of_obstacle(below.obstacle);
            fixes.push(("or accept it", format!("ISOLATION_MINIMUM={}", below.given.name())));
            findings.bad(&below.what(), &fixes);
        }
        Err(error) => findings.bad(&chain(&error), &[]),
    }
}

/// Being root is of use for cgroups only.
fn root(host: &Host, Started { by, user }: Started, findings: &mut Findings) {
    match (by, host.facts.capabilities.memory) {
        (StartedBy::AnOrdinaryUser, MemoryKeeper::Cgroup(_) | MemoryKeeper::Watcher) => {}
        (StartedBy::Root, MemoryKeeper::Cgroup(_)) => {
            findings.good(&format!("started as root, for the cgroups; serves as user {}", user.uid));
        }
        (StartedBy::Root, MemoryKeeper::Watcher) => {
            let what = format!(
                "started as root, which gains nothing here: it serves as user {}, and other commands in this container are root",
                user.uid
            );
            findings.reduced(&what, &fixes::start_as(user));
        }
    }
}

fn host(host: &Host, findings: &mut Findings) {
    findings.good(&format!("bubblewrap {} runs unprivileged", host.bwrap_version));
    findings.good("namespaces, capabilities, mounts, environment, limits and the system call filter hold inside (self test)");
    if host.facts.capabilities.proc == ProcView::Private {
        findings.good("/proc is private");
    }
    if host.facts.capabilities.user_namespaces == UserNamespaces::Disabled {
        findings.good("programs cannot make user namespaces");
    }
    match host.facts.capabilities.memory {
        MemoryKeeper::Cgroup(_) => findings.good("the kernel holds the memory of runs (a cgroup each)"),
        MemoryKeeper::Watcher => {}
    }
    for language in &host.languages {
        let interpreter = language.runtime.interpreter.display();
        findings.good(&format!("{} {} ({interpreter})", language.runtime.language.name(), language.version));
    }
    for shortfall in &host.shortfalls {
        match shortfall {
            Shortfall::Obstacle(obstacle) => {
                findings.reduced(obstacle.what(), &fixes::of_obstacle(Some(*obstacle)))
            }
            Shortfall::Cgroup(why) => findings.reduced(&shortfall.to_string(), &fixes::lines(why.fixes())),
            Shortfall::Language { .. } => findings.reduced(&shortfall.to_string(), &[]),
        }
    }
}
