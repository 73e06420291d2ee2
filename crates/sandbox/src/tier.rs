//! How much isolation a host gives, in two steps, and holding it to the least that the operator accepts.
//!
//! Whatever the tier, a run has namespaces, mounts, limits and no capabilities; there is no tier without them. What a tier
//! says is what could not be had on top. It is never lower in silence: it is in every result.

use std::fmt;

use crate::bwrap::obstacle::Obstacle;
use crate::host::{Capabilities, Host, ProcView, Shortfall};

/// The lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// The container's `/proc`, read-only: a program sees the names of other processes, not their memory or environment.
    SharedProc,
    /// A `/proc` of its own.
    Full,
}

impl Tier {
    pub const ALL: [Self; 2] = [Self::Full, Self::SharedProc];

    /// As in settings, answers and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::SharedProc => "shared-proc",
        }
    }
}

impl Capabilities {
    pub const fn tier(&self) -> Tier {
        match self.proc {
            ProcView::Private => Tier::Full,
            ProcView::Shared => Tier::SharedProc,
        }
    }
}

/// The host gives less than the operator accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BelowMinimum {
    pub given: Tier,
    pub minimum: Tier,
    /// What is in the way.
    pub obstacle: Option<Obstacle>,
}

impl BelowMinimum {
    /// Without the lines that help: see [`Obstacle::fixes`].
    pub fn what(&self) -> String {
        let Self { given, minimum, obstacle } = self;
        let why = obstacle.map_or(String::new(), |obstacle| format!(": {}", obstacle.what()));
        format!("ISOLATION_MINIMUM is {}, but this host gives {}{why}", minimum.name(), given.name())
    }
}

impl fmt::Display for BelowMinimum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())?;
        for (platform, line) in self.obstacle.map_or(&[][..], Obstacle::fixes) {
            write!(f, "; {platform}: {line}")?;
        }
        write!(f, "; or accept it: ISOLATION_MINIMUM={}", self.given.name())
    }
}

impl std::error::Error for BelowMinimum {}

impl Host {
    /// # Errors
    /// It gives less than `minimum`.
    pub fn hold_to(&self, minimum: Tier) -> Result<(), BelowMinimum> {
        let given = self.facts.capabilities.tier();
        if given >= minimum {
            return Ok(());
        }
        let obstacle = self.shortfalls.iter().find_map(|shortfall| match shortfall {
            Shortfall::Obstacle(obstacle @ Obstacle::ProcMasked) => Some(*obstacle),
            Shortfall::Obstacle(_) | Shortfall::Cgroup(_) | Shortfall::Language { .. } => None,
        });
        Err(BelowMinimum { given, minimum, obstacle })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_is_more_than_a_shared_proc() {
        assert!(Tier::Full > Tier::SharedProc);
        assert_eq!(Tier::ALL.map(Tier::name), ["full", "shared-proc"]);
    }

    #[test]
    fn one_sentence_says_what_is_missing_why_and_what_to_do() {
        let refusal = BelowMinimum {
            given: Tier::SharedProc,
            minimum: Tier::Full,
            obstacle: Some(Obstacle::ProcMasked),
        };
        let said = refusal.to_string();
        for part in [
            "ISOLATION_MINIMUM is full, but this host gives shared-proc: parts of /proc are masked",
            "docker: --security-opt systempaths=unconfined",
            "procMount: Unmasked",
            "or accept it: ISOLATION_MINIMUM=shared-proc",
        ] {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
    }
}
