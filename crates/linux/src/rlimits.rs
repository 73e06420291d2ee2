//! Resource limits and priorities of the calling process. Used by the launcher, inside the sandbox.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Soft and hard value of each limit that a sandbox sets, in the kernel's own units (setrlimit(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rlimit {
    Data(u64),
    Stack(u64),
    CpuSeconds(u64),
    FileSize(u64),
    OpenFiles(u64),
    /// Counted per user *and user namespace* since Linux 5.14: set inside the sandbox's namespace it is the run's own budget.
    Processes(u64),
    /// 1, not 0: a core_pattern that pipes to a program ignores 0 (core(5)).
    Core(u64),
    LockedMemory(u64),
    PendingSignals(u64),
    MessageQueues(u64),
}

const ALL: [fn(u64) -> Rlimit; 10] = [
    Rlimit::Data,
    Rlimit::Stack,
    Rlimit::CpuSeconds,
    Rlimit::FileSize,
    Rlimit::OpenFiles,
    Rlimit::Processes,
    Rlimit::Core,
    Rlimit::LockedMemory,
    Rlimit::PendingSignals,
    Rlimit::MessageQueues,
];

impl Rlimit {
    const fn resource(self) -> (Resource, u64) {
        match self {
            Self::Data(value) => (Resource::RLIMIT_DATA, value),
            Self::Stack(value) => (Resource::RLIMIT_STACK, value),
            Self::CpuSeconds(value) => (Resource::RLIMIT_CPU, value),
            Self::FileSize(value) => (Resource::RLIMIT_FSIZE, value),
            Self::OpenFiles(value) => (Resource::RLIMIT_NOFILE, value),
            Self::Processes(value) => (Resource::RLIMIT_NPROC, value),
            Self::Core(value) => (Resource::RLIMIT_CORE, value),
            Self::LockedMemory(value) => (Resource::RLIMIT_MEMLOCK, value),
            Self::PendingSignals(value) => (Resource::RLIMIT_SIGPENDING, value),
            Self::MessageQueues(value) => (Resource::RLIMIT_MSGQUEUE, value),
        }
    }

    /// The resource's number and the value, for whoever makes the call elsewhere.
    pub(crate) fn as_numbers(self) -> (u32, u64) {
        let (resource, value) = self.resource();
        (resource as u32, value)
    }
}

/// Sets soft and hard alike, so that user code cannot raise it again. Where the container's own hard limit is lower already,
/// that one stays: it is stricter.
pub fn set(limit: Rlimit) -> io::Result<()> {
    let (resource, value) = limit.resource();
    let (_, hard) = getrlimit(resource)?;
    let value = value.min(hard);
    Ok(setrlimit(resource, value, value)?)
}

/// The hard limits of this process. What it starts cannot have more.
#[derive(Debug, Clone)]
pub struct Ceilings(Vec<(u32, u64)>);

impl Ceilings {
    pub const NONE: Self = Self(Vec::new());

    pub fn of_this_process() -> io::Result<Self> {
        let hard = ALL.map(|limit| limit(0).resource().0).into_iter();
        hard.map(|resource| Ok((resource as u32, getrlimit(resource)?.1)))
            .collect::<io::Result<_>>()
            .map(Self)
    }

    #[cfg(test)]
    pub(crate) fn lowered(to: Rlimit) -> Self {
        Self(vec![to.as_numbers()])
    }

    pub(crate) fn over_resource(&self, resource: u32) -> u64 {
        self.0.iter().find(|(of, _)| *of == resource).map_or(u64::MAX, |(_, hard)| *hard)
    }
}

/// Raises the soft limit of open files to the hard one, and returns it.
pub fn raise_open_files() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// Lowers the scheduling priority of this process and of what it starts. It cannot be raised again without a capability.
pub fn set_nice(nice: i32) -> io::Result<()> {
    // SAFETY: setpriority takes three integers; who = 0 is the calling process.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceilings_of_this_process_are_what_the_kernel_lists() {
        let ceilings = Ceilings::of_this_process().unwrap();
        let table = std::fs::read_to_string("/proc/self/limits").unwrap();
        let listed = |name: &str| {
            let line = table.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap_or(u64::MAX)
        };
        for (name, limit) in [
            ("Max data size", Rlimit::Data(0)),
            ("Max stack size", Rlimit::Stack(0)),
            ("Max cpu time", Rlimit::CpuSeconds(0)),
            ("Max file size", Rlimit::FileSize(0)),
            ("Max open files", Rlimit::OpenFiles(0)),
            ("Max processes", Rlimit::Processes(0)),
            ("Max core file size", Rlimit::Core(0)),
            ("Max locked memory", Rlimit::LockedMemory(0)),
            ("Max pending signals", Rlimit::PendingSignals(0)),
            ("Max msgqueue size", Rlimit::MessageQueues(0)),
        ] {
            assert_eq!(ceilings.over_resource(limit.as_numbers().0), listed(name), "{name}");
        }
        assert_eq!(ceilings.0.len(), ALL.len());
    }
}
