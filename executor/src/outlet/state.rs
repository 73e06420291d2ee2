//! The daemon's own state → `/health` and `/info`.

use protocol::{
    CgroupVersion, Info, IsolationState, LanguageVersion, LimitRange, LimitsInForce, MemoryWatch,
    OutboxState, Platform, ProcMount, RunIsolation, SeccompState,
};
use sandbox::host::{self, Capabilities, Host, MemoryKeeper, ProcView, UserNamespaces};
use sandbox::limits::Bytes;

use super::names;
use crate::config::Config;
use crate::intake::bounds;
use crate::outbox::Counts;

pub fn isolation(host: &Host) -> IsolationState {
    let capabilities = &host.facts.capabilities;
    let RunIsolation { tier, seccomp, cgroup, memory } = run_isolation(capabilities);
    IsolationState {
        tier,
        // The daemon does not start without these two.
        userns: true,
        seccomp,
        proc: match capabilities.proc {
            ProcView::Private => ProcMount::Private,
            ProcView::Shared => ProcMount::Shared,
        },
        disable_userns: match capabilities.user_namespaces {
            UserNamespaces::Disabled => true,
            UserNamespaces::LeftToSeccomp => false,
        },
        cgroup,
        memory,
        bwrap_version: Some(host.bwrap_version.clone()),
    }
}

/// The same words as in `/health`, for each result.
pub fn run_isolation(capabilities: &Capabilities) -> RunIsolation {
    let (cgroup, memory) = match capabilities.memory {
        MemoryKeeper::Cgroup(host::CgroupVersion::V1) => (CgroupVersion::V1, MemoryWatch::Cgroup),
        MemoryKeeper::Cgroup(host::CgroupVersion::V2) => (CgroupVersion::V2, MemoryWatch::Cgroup),
        MemoryKeeper::Watcher => (CgroupVersion::None, MemoryWatch::Poller),
    };
    RunIsolation { tier: names::tier(capabilities.tier()), seccomp: SeccompState::On, cgroup, memory }
}

pub fn outbox(counts: Counts) -> OutboxState {
    OutboxState { pending: counts.pending as u64, set_aside: counts.set_aside as u64, let_go: counts.let_go }
}

pub fn info(config: &Config, host: &Host) -> Info {
    Info {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        platform: Platform {
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            kernel: host.kernel.clone(),
        },
        isolation: isolation(host),
        languages: host.languages.iter().map(language).collect(),
        limits: limits(config),
    }
}

fn language(installed: &sandbox::host::Installed) -> LanguageVersion {
    LanguageVersion {
        language: names::language(installed.runtime.language),
        version: installed.version.clone(),
        path: installed.runtime.interpreter.to_string_lossy().into_owned(),
    }
}

fn limits(config: &Config) -> LimitsInForce {
    let ceilings = &config.ceilings;
    let mib = |bytes: Bytes| bytes.0 / (1024 * 1024);
    LimitsInForce {
        timeout_seconds: LimitRange {
            minimum: bounds::TIMEOUT_MINIMUM,
            default: Some(bounds::TIMEOUT_DEFAULT),
            ceiling: bounds::TIMEOUT_MAXIMUM,
        },
        cpu_seconds: LimitRange {
            minimum: bounds::CPU_SECONDS_MINIMUM,
            default: None,
            ceiling: bounds::CPU_SECONDS_MAXIMUM,
        },
        memory_mb: up_to(bounds::MEMORY_MB_MINIMUM, mib(ceilings.memory)),
        max_processes: up_to(bounds::PROCESSES_MINIMUM, ceilings.processes.into()),
        max_open_files: up_to(bounds::OPEN_FILES_MINIMUM, ceilings.open_files.into()),
        max_file_mb: up_to(bounds::FILE_MB_MINIMUM, mib(ceilings.file_size)),
        max_output_bytes: up_to(bounds::OUTPUT_BYTES_MINIMUM, ceilings.output.0),
        max_tmp_mb: mib(ceilings.tmp),
        max_code_bytes: bounds::CODE_BYTES as u64,
        max_request_bytes: config.max_request.0,
        max_event_depth: bounds::EVENT_DEPTH as u64,
        max_env_vars: bounds::ENV_VARS as u64,
        max_env_bytes: bounds::ENV_BYTES as u64,
        max_files: bounds::FILES as u64,
        concurrency: config.concurrency.get() as u64,
        queue: config.queue as u64,
    }
}

/// A run that asks for nothing gets the ceiling.
fn up_to(minimum: u64, ceiling: u64) -> LimitRange<u64> {
    LimitRange { minimum, default: Some(ceiling), ceiling }
}
