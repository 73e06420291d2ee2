//! Our enums → those of the wire. Each match is complete, so that a new variant does not compile until it has a name.

use sandbox::{outcome, program, usage};

use crate::run::record;

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

pub(super) fn language(language: program::Language) -> protocol::Language {
    match language {
        program::Language::Python => protocol::Language::Python,
        program::Language::Javascript => protocol::Language::Javascript,
        program::Language::Shell => protocol::Language::Shell,
    }
}

pub(super) fn memory_source(source: usage::MemorySource) -> protocol::MemorySource {
    match source {
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
