//! The shape of the policy. Its content is in `groups.rs` and `rules.rs`, and in words in `docs/seccomp.md`, which a test holds
//! equal to them.

pub use super::groups::GROUPS;
pub use super::rules::RULES;

use crate::host::MemoryKeeper;

/// What a refused call returns. The numbers are the same on every architecture here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errno {
    /// Known, and refused.
    NotPermitted,
    /// "There is no such call": whoever made it takes the older way.
    NoSuchCall,
    NoSuchFamily,
}

impl Errno {
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotPermitted => "EPERM",
            Self::NoSuchCall => "ENOSYS",
            Self::NoSuchFamily => "EAFNOSUPPORT",
        }
    }

    pub const fn number(self) -> u32 {
        match self {
            Self::NotPermitted => 1,
            Self::NoSuchCall => 38,
            Self::NoSuchFamily => 97,
        }
    }
}

/// What becomes of the calls of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Allowed,
    /// `ENOSYS` where this daemon watches memory itself: it would not see what these take.
    AllowedInACgroup,
    /// `EPERM`.
    NotPermitted,
    /// `ENOSYS`, as for any call that no group names; named to say why.
    NoSuchCall,
}

/// Calls that have one reason for one answer.
#[derive(Debug)]
pub struct Group {
    pub name: &'static str,
    pub answer: Answer,
    pub reason: &'static str,
    pub calls: &'static [&'static str],
}

/// What an allowed call may still not be asked for.
#[derive(Debug)]
pub struct Rule {
    pub name: &'static str,
    pub calls: &'static [&'static str],
    /// For people: what is refused.
    pub refused: &'static str,
    pub reason: &'static str,
    pub errno: Errno,
    pub holds: Holds,
    /// It is refused when one of these holds.
    pub any_of: &'static [AllOf],
}

/// For whom a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    ForAll,
    /// For runs without a cgroup: this daemon would not see what is asked for.
    WithoutACgroup,
}

impl Rule {
    pub fn holds_for(&self, keeper: MemoryKeeper) -> bool {
        match (self.holds, keeper) {
            (Holds::ForAll, _) | (Holds::WithoutACgroup, MemoryKeeper::Watcher) => true,
            (Holds::WithoutACgroup, MemoryKeeper::Cgroup(_)) => false,
        }
    }
}

/// Holds when each of these does.
pub type AllOf = &'static [Condition];

/// Something about an argument, counted from 0. Only its low 32 bits are compared: the kernel reads no more of those named in
/// `rules.rs`, so a comparison of all 64 would be passed by a number with a high bit set (CVE-2019-7303).
#[derive(Debug, Clone, Copy)]
pub enum Condition {
    Is(u8, u32),
    IsNot(u8, u32),
    /// All these bits are set.
    Has(u8, u32),
}
