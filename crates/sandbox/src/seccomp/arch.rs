//! The architectures that there is a filter for, and what their kernels call each call.

use seccompiler::TargetArch;

use super::numbers;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    X86_64,
    Aarch64,
}

impl Arch {
    /// The one this program was built for; `None` where there is no list of its calls.
    pub const fn native() -> Option<Self> {
        if cfg!(target_arch = "x86_64") {
            Some(Self::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Aarch64)
        } else {
            None
        }
    }

    /// Every call it has, in the order of the numbers.
    pub(super) const fn calls(self) -> &'static [(&'static str, u32)] {
        match self {
            Self::X86_64 => numbers::X86_64,
            Self::Aarch64 => numbers::AARCH64,
        }
    }

    /// `None`: it has no such call. Those that newer ones replaced were never given to aarch64.
    pub(super) fn number(self, name: &str) -> Option<u32> {
        self.calls().iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
    }

    /// `AUDIT_ARCH_*`, as `linux/audit.h` has it: how the kernel names it to a filter.
    pub(super) const fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    pub(super) const fn target(self) -> TargetArch {
        match self {
            Self::X86_64 => TargetArch::x86_64,
            Self::Aarch64 => TargetArch::aarch64,
        }
    }
}
