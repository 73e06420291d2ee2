//! Compiled filters, as bubblewrap reads them.

use std::sync::Arc;

use super::arch::Arch;
use super::compile::{CompileError, compile};
use crate::host::MemoryKeeper;

/// One program for the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// For people.
    pub name: &'static str,
    /// Instructions of eight bytes, as `struct sock_filter` has them (seccomp(2)).
    pub code: Vec<u8>,
}

impl Program {
    pub fn instructions(&self) -> usize {
        self.code.len() / 8
    }
}

/// What every process of a sandbox runs under, all at once.
///
/// It is passed on as it is. That the kernel takes it is bubblewrap's matter, and that it refuses what it must is the self
/// test's: both end a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    pub programs: Vec<Program>,
}

/// The filters of a host, compiled once, at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filters {
    in_a_cgroup: Arc<Filter>,
    watched: Arc<Filter>,
}

impl Filters {
    pub fn compile(arch: Arch) -> Result<Self, CompileError> {
        let watched = MemoryKeeper::Watcher;
        let in_a_cgroup = MemoryKeeper::Cgroup(crate::host::CgroupVersion::V2);
        Ok(Self { in_a_cgroup: compile(arch, in_a_cgroup)?.into(), watched: compile(arch, watched)?.into() })
    }

    /// The one for runs whose memory is held by `keeper`.
    pub fn held_by(&self, keeper: MemoryKeeper) -> &Arc<Filter> {
        match keeper {
            MemoryKeeper::Cgroup(_) => &self.in_a_cgroup,
            MemoryKeeper::Watcher => &self.watched,
        }
    }
}
