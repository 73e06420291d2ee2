//! The system call filter of a sandbox: which calls a program may make of the kernel, and what it is told of the others.
//!
//! A call that no group allows does not exist (`ENOSYS`): new ones of the kernel are refused until somebody has decided, and
//! programs know how to do without. One that is known and refused is not permitted (`EPERM`), which is an honest answer. Only
//! a call through another architecture's door ends the process.
//!
//! ```text
//!  groups ──► a search by number ─┐
//!                                 ├─► Filter: three programs ──► bubblewrap installs them, in this order
//!  rules  ──► seccompiler ────────┘     numbers     allowed, EPERM, or else ENOSYS
//!  (once, at start)                     families    sockets of other families: EAFNOSUPPORT
//!                                       arguments   allowed calls, asked for what is refused: EPERM
//! ```
//!
//! The kernel asks all programs and takes the strictest answer (seccomp(2)). Of two errors it would take the one of the program
//! that came last; no call gets two here, since only an allowed call has a rule. Every program but the last must let the next one
//! be installed.

mod arch;
mod numbers;
pub mod policy;
mod groups;
mod rules;
mod table;
mod compile;
mod filter;
#[cfg(test)]
mod tests;

pub use arch::Arch;
pub use compile::CompileError;
pub use filter::{Filter, Filters, Program};
