//! Our enums → those of the wire. Each match is complete, so that a new variant does not compile until it has a name.

use sandbox::{outcome, program, tier, usage};

use crate::run::{progress, record};

pub(super) fn status(status: outcome::Status) -> protocol::Status {
    match status {
        outcome::Status::Success => protocol::Status::Success,
        outcome::Status::Failed => protocol::Status::Failed,
        outcome::Status::Timeout => protocol::Status::Timeout,
        outcome::Status::Error => protocol::Status::Error,
        outcome::Status::Cancelled => protocol::Status::Cancelled,
    }
}

pub(super) fn cause(cause: outcome::Cause) -> protocol::Cause {
    match cause {
        outcome::Cause::Exit => protocol::Cause::Exit,
        outcome::Cause::Exception => protocol::Cause::Exception,
        outcome::Cause::Signal => protocol::Cause::Signal,
        outcome::Cause::WallTimeout => protocol::Cause::WallTimeout,
        outcome::Cause::CpuLimit => protocol::Cause::CpuLimit,
        outcome::Cause::MemoryLimit => protocol::Cause::MemoryLimit,
        outcome::Cause::ProcessLimit => protocol::Cause::ProcessLimit,
        outcome::Cause::FileLimit => protocol::Cause::FileLimit,
        outcome::Cause::OutputLimit => protocol::Cause::OutputLimit,
        outcome::Cause::Cancelled => protocol::Cause::Cancelled,
        outcome::Cause::DaemonShutdown => protocol::Cause::DaemonShutdown,
        outcome::Cause::SandboxError => protocol::Cause::SandboxError,
    }
}

pub(super) fn tier(tier: tier::Tier) -> protocol::IsolationTier {
    match tier {
        tier::Tier::Full => protocol::IsolationTier::Full,
        tier::Tier::SharedProc => protocol::IsolationTier::SharedProc,
    }
}

pub(super) fn language(language: program::Language) -> protocol::Language {
    match language {
        program::Language::Python => protocol::Language::Python,
        program::Language::Javascript => protocol::Language::Javascript,
        program::Language::Shell => protocol::Language::Shell,
    }
}

pub(super) fn memory_source(source: usage::MemorySource) -> protocol::MemorySource {
    match source {
        usage::MemorySource::Cgroup => protocol::MemorySource::Cgroup,
        usage::MemorySource::Poller => protocol::MemorySource::Poller,
        usage::MemorySource::Rusage => protocol::MemorySource::Rusage,
        usage::MemorySource::NotMeasured => protocol::MemorySource::NotMeasured,
    }
}

pub(super) fn cpu_source(source: usage::CpuSource) -> protocol::CpuSource {
    match source {
        usage::CpuSource::Poller => protocol::CpuSource::Poller,
        usage::CpuSource::Rusage => protocol::CpuSource::Rusage,
        usage::CpuSource::NotMeasured => protocol::CpuSource::NotMeasured,
    }
}

pub(super) fn artifact_type(kind: record::ArtifactKind) -> protocol::ArtifactType {
    match kind {
        record::ArtifactKind::Artifact => protocol::ArtifactType::Artifact,
        record::ArtifactKind::Log => protocol::ArtifactType::Log,
        record::ArtifactKind::Output => protocol::ArtifactType::Output,
    }
}

pub(super) fn change(change: record::Change) -> protocol::Change {
    match change {
        record::Change::Created => protocol::Change::Created,
        record::Change::Modified => protocol::Change::Modified,
        record::Change::Unchanged => protocol::Change::Unchanged,
    }
}

pub(super) fn callback(callback: record::Callback) -> protocol::Callback {
    match callback {
        record::Callback::Off => protocol::Callback::Off,
        record::Callback::Journalled => protocol::Callback::Journalled,
        record::Callback::NotDurable => protocol::Callback::NotDurable,
    }
}

pub(super) fn sandbox(sandbox: record::Sandbox) -> protocol::Sandbox {
    match sandbox {
        record::Sandbox::Warm => protocol::Sandbox::Warm,
        record::Sandbox::Cold => protocol::Sandbox::Cold,
    }
}

pub(super) fn phase(phase: progress::Phase) -> protocol::Phase {
    match phase {
        progress::Phase::Queue => protocol::Phase::Queue,
        progress::Phase::Prepare => protocol::Phase::Prepare,
        progress::Phase::Run => protocol::Phase::Run,
        progress::Phase::Collect => protocol::Phase::Collect,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_and_wire_use_the_same_words() {
        use outcome::{Cause, Status};
        for here in [Status::Success, Status::Failed, Status::Timeout, Status::Error, Status::Cancelled] {
            assert_eq!(serde_json::to_value(status(here)).unwrap(), here.name());
        }
        for here in
            [Cause::Exit, Cause::WallTimeout, Cause::ProcessLimit, Cause::DaemonShutdown, Cause::SandboxError]
        {
            assert_eq!(serde_json::to_value(cause(here)).unwrap(), here.name());
        }
    }
}
