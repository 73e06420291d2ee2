//! The fence: every call to the kernel that Rust's standard library does not offer, made safe to use.
//!
//! The only crate with `unsafe` code and the only one that knows `nix` and `libc`. It decides nothing: which limits, which
//! mounts, which user is decided above. Each unsafe block names the invariant it rests on.
//!
//! Modules in the order in which a sandbox meets them:

pub mod identity;
pub mod environment;
pub mod memory;
pub mod fds;
pub mod seqpacket;
pub mod calls;
#[expect(dead_code, reason = "build.rs builds it for itself; here are its constants and its tests")]
mod forker;
pub mod children;
pub mod spawn;
pub mod pidfd;
pub mod orphans;
pub mod rlimits;
pub mod refused;
pub mod clock;
pub mod tmpfs;
pub mod mounts;
pub mod tree;
pub mod files;
