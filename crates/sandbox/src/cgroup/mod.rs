//! The kernel's own account of a run: a cgroup for each, with its limits, its counters and its end.
//!
//! ```text
//! still root        as the daemon          per run
//! claim ──────────► Cgroups::open ───────► leaf ── bubblewrap in it ── limit ── read ── remove
//!   │ places found,   │ a trial: a program    │ version 1: started inside;
//!   │ made, given     │ is killed by it       │ version 2: moved while it waits for its arguments
//!   ▼                 ▼
//! Unavailable: why, and what to do; the watcher holds memory then (`watch.rs`), and every answer says so
//! ```
//!
//! Version 2 where it has the memory controller, else version 1 where that is what is mounted. What is said to be in force
//! has been seen to work. A leaf belongs to the [`Cage`](crate::cage::Cage) of its run, which removes it when every
//! process in it is dead; what a daemon that was killed left, the next one removes.

pub mod claim;
mod leaf;
mod places;
mod removal;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use claim::{Claim, claim};
pub(crate) use leaf::{Charged, Leaf};
use linux::spawn::Detour;
use places::Place;
pub use removal::settle;

use crate::host::CgroupVersion;

/// How often a run's cgroup is tried to be made.
const TRIES: usize = 5;

/// What is limited. Each is a hierarchy of its own in version 1, and all are one in version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    Memory,
    Pids,
    Cpu,
}

impl Controller {
    pub const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }
}

/// Why the kernel cannot hold the memory of runs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// No cgroup file system with a memory controller.
    NotMounted,
    /// It is there, and may not be written.
    NotWritable { place: PathBuf, error: String },
    /// Others live in the daemon's cgroup (version 2 keeps processes in leaves only).
    Shared { place: PathBuf },
    /// A limit was set, and did not hold.
    DoesNotHold(String),
}

impl Unavailable {
    /// What helps, by platform.
    pub fn fixes(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::NotMounted | Self::NotWritable { .. } => &[
                (
                    "docker (28 or later, cgroup v2)",
                    "--security-opt writable-cgroups=true, and start it as root",
                ),
                ("podman", "--security-opt unmask=/sys/fs/cgroup"),
                ("containerd", "cgroup_writable = true in the runtime's options, through a RuntimeClass"),
                ("systemd", "Delegate=yes in the unit"),
            ],
            Self::Shared { .. } => &[("systemd", "run it in a unit of its own, with Delegate=yes")],
            Self::DoesNotHold(_) => &[],
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMounted => {
                write!(f, "no cgroup with a memory controller is mounted at /sys/fs/cgroup")
            }
            Self::NotWritable { place, error } => {
                write!(f, "{} cannot be written ({error})", place.display())
            }
            Self::Shared { place } => {
                write!(f, "other processes live in the daemon's own cgroup {}", place.display())
            }
            Self::DoesNotHold(how) => write!(f, "a cgroup does not hold a run: {how}"),
        }
    }
}

/// Where this daemon makes the cgroups of its runs.
#[derive(Debug)]
pub struct Cgroups {
    version: CgroupVersion,
    places: Vec<Place>,
}

impl Cgroups {
    /// Takes over what was claimed, and removes what daemons that are dead left there.
    pub fn open(claim: Claim) -> io::Result<Self> {
        let Claim { version, places } = claim;
        for place in &places {
            leaf::sweep(place)?;
        }
        Ok(Self { version, places })
    }

    pub fn version(&self) -> CgroupVersion {
        self.version
    }

    /// How a child is born in a leaf; `None` where it has to [`join`](Leaf::join).
    pub(crate) fn detour(&self, leaf: &Leaf) -> Option<Detour> {
        leaf.detour(&self.places)
    }

    /// A cgroup for one run, without limits yet and with nobody in it.
    pub(crate) fn leaf(&self) -> io::Result<Leaf> {
        let make = || {
            // A run can read the name of its cgroup, and must learn nothing from it.
            let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
            let name = format!("{}{random:016x}", leaf::PREFIX);
            Leaf::make(self.version, &self.places, &name)
        };
        let mut made = make();
        for _ in 1..TRIES {
            match made {
                // Another daemon that starts in this very moment takes a new one for one that was left.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock) => {
                    made = make();
                }
                made => return made,
            }
        }
        made
    }
}
