//! `doctor`: everything `serve` tries at its start, and a line for each thing that is missing.
//!
//! It starts nothing that stays. Exit 0 only when `serve` would start.

use std::fmt::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use sandbox::bwrap::obstacle::Obstacle;
use sandbox::host::{Host, MemoryKeeper, ProcView, Shortfall, UserNamespaces};
use sandbox::probe::ProbeError;

use super::{chain, complain, say};
use crate::app::{self, StartError};
use crate::config::Config;
use crate::http::server;
use crate::lifecycle::ground;
use crate::lifecycle::port;

pub(super) fn doctor(config: Config) -> ExitCode {
    let ground = match ground::settle(&config) {
        Ok(ground) => ground,
        Err(error) => return complain(&chain(&error), 1),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start the runtime: {error}"), 1),
    };
    let mut findings = Findings::default();
    runtime.block_on(async {
        match server::bind(config.host, config.port) {
            Ok(_listener) => findings.good(&format!("port {} is free", config.port)),
            // Inside a running container this is the daemon itself, and all is well.
            Err(_) if port::ask(SocketAddr::new(config.host, config.port)).is_ok() => {
                findings.good(&format!("a sandbox-executor serves port {} already", config.port));
            }
            Err(error) => findings.bad(&chain(&error), &[]),
        }
        match app::open_parts(&config, ground, None).await {
            Ok((parts, _tasks)) => {
                findings.good(&format!("the workspace {} is writable", config.workspace_path.display()));
                host(&parts.host, &mut findings);
            }
            Err(StartError::Host(ProbeError::Obstacle { obstacle, what })) => {
                findings.bad(&obstacle.map_or(what, |obstacle| obstacle.what().to_owned()), fixes(obstacle));
            }
            Err(StartError::Isolation(below)) => {
                let accept = format!("ISOLATION_MINIMUM={}", below.given.name());
                let mut lines = fixes(below.obstacle).to_vec();
                lines.push(("or accept it", &accept));
                findings.bad(&below.what(), &lines);
            }
            Err(error) => findings.bad(&chain(&error), &[]),
        }
    });
    runtime.shutdown_background();
    findings.print()
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
            Shortfall::Obstacle(obstacle) => findings.reduced(obstacle.what(), fixes(Some(*obstacle))),
            Shortfall::Cgroup(why) => findings.reduced(&shortfall.to_string(), why.fixes()),
            Shortfall::Language { .. } => findings.reduced(&shortfall.to_string(), &[]),
        }
    }
}

fn fixes(obstacle: Option<Obstacle>) -> &'static [(&'static str, &'static str)] {
    obstacle.map_or(&[], Obstacle::fixes)
}

#[derive(Default)]
struct Findings {
    text: String,
    bad: usize,
}

impl Findings {
    fn good(&mut self, what: &str) {
        self.line("ok", what, &[]);
    }

    /// `serve` starts all the same.
    fn reduced(&mut self, what: &str, fixes: &[(&str, &str)]) {
        self.line("reduced", what, fixes);
    }

    fn bad(&mut self, what: &str, fixes: &[(&str, &str)]) {
        self.bad += 1;
        self.line("missing", what, fixes);
    }

    fn line(&mut self, mark: &str, what: &str, fixes: &[(&str, &str)]) {
        writeln!(self.text, "{mark:>8}  {what}").expect("a String takes every write");
        for (platform, fix) in fixes {
            writeln!(self.text, "{:>8}    {platform}: {fix}", "").expect("a String takes every write");
        }
    }

    fn print(mut self) -> ExitCode {
        let verdict = if self.bad == 0 { "serve would start here" } else { "serve would not start here" };
        writeln!(self.text, "\n{verdict}").expect("a String takes every write");
        let printed = say(&self.text);
        if self.bad == 0 { printed } else { ExitCode::FAILURE }
    }
}
