//! System calls that another process makes: written down here, carried out by `forker.rs` in a copy of an interpreter, one after another.
//!
//! An order is memory as the calls need it. Texts and structures lie behind the steps; what points to them is a distance from the
//! order's beginning, and a table at the very beginning says where such distances are.
//!
//! ```text
//! number of pointers │ where each is │ call, call, … END │ texts and structures
//! ```
//!
//! Every call is judged: one whose result is not what it must be ends the copy, which says the name of the step.

use std::fmt;
use std::io;
use std::os::fd::RawFd;

use crate::forker;
use crate::rlimits::{Ceilings, Rlimit};

/// The library that carries orders out: its function `serve` is called with the number of a socket.
pub const FORKER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/forker.so"));

/// Where a copy has its descriptors, in the order in which they are sent, from this number on.
pub const FIRST_FD: RawFd = forker::FIRST_FD as RawFd;

/// How many it is sent.
pub const SENT: usize = forker::SENT;

/// The lowest number that is free in a copy once its own descriptors are in place: what it opens for a moment gets this one.
const NEXT_FD: RawFd = 3;

/// What is done under one name, by which a failure is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub name: String,
    pub calls: Vec<Call>,
}

impl Step {
    /// `name` is said as it is, in JSON.
    pub fn new(name: impl Into<String>, calls: impl Into<Vec<Call>>) -> Self {
        let name: String = name.into();
        debug_assert!(!name.contains(['"', '\\', '\0']), "{name}");
        Self { name, calls: calls.into() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    name: &'static str,
    number: u64,
    arguments: Vec<Argument>,
    wanted: Wanted,
}

/// What a call must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Success,
    Refusal,
    /// It reads, and there was something.
    Something,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Argument {
    Number(u64),
    /// Bytes, and a zero behind them.
    Text(Vec<u8>),
    /// A structure, or a list.
    Words(Vec<Argument>),
}

const NULL: Argument = Argument::Number(0);

impl From<u64> for Argument {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for Argument {
    /// As C passes it: the sign fills the register.
    fn from(number: i32) -> Self {
        Self::Number(i64::from(number).cast_unsigned())
    }
}

impl From<&str> for Argument {
    fn from(text: &str) -> Self {
        Self::Text(text.as_bytes().into())
    }
}

impl From<Vec<Argument>> for Argument {
    fn from(words: Vec<Argument>) -> Self {
        Self::Words(words)
    }
}

impl<const N: usize> From<[u64; N]> for Argument {
    fn from(words: [u64; N]) -> Self {
        Self::Words(words.map(Self::Number).into())
    }
}

/// New namespaces for a copy, as clone(2) numbers them.
pub mod namespace {
    pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
    pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
    pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
    pub const USER: u64 = libc::CLONE_NEWUSER as u64;
    pub const PID: u64 = libc::CLONE_NEWPID as u64;
    pub const NET: u64 = libc::CLONE_NEWNET as u64;
}

// The calls ---------------------------------------------------------------------------------------------------------

impl Call {
    fn new<const N: usize>(name: &'static str, number: libc::c_long, arguments: [Argument; N]) -> Self {
        Self { name, number: number.cast_unsigned(), arguments: arguments.into(), wanted: Wanted::Success }
    }

    /// As the kernel calls it.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// From here on there are two: init, which waits for the other, and the program's process, which makes the calls that follow.
pub fn fork() -> Call {
    Call { name: "fork", number: forker::FORK, arguments: Vec::new(), wanted: Wanted::Success }
}

/// How a file system is mounted, or a part of one that is mounted already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounting<'a> {
    Bind,
    BindAll,
    /// One of this kind, with its options.
    New(&'a str, &'a str),
}

/// `without`: what the file system is not good for.
pub fn mount(source: &str, at: &str, how: Mounting<'_>, without: u64) -> Call {
    let (kind, flags, options) = match how {
        Mounting::Bind => (NULL, libc::MS_BIND, NULL),
        Mounting::BindAll => (NULL, libc::MS_BIND | libc::MS_REC, NULL),
        Mounting::New(kind, options) => (kind.into(), 0, options.into()),
    };
    Call::new("mount", libc::SYS_mount, [source.into(), at.into(), kind, (flags | without).into(), options])
}

pub const NO_SETUID: u64 = libc::MS_NOSUID;
pub const NO_DEVICES: u64 = libc::MS_NODEV;
pub const NO_PROGRAMS: u64 = libc::MS_NOEXEC;

/// Makes the working directory the root; the one before is above it, and is taken away.
pub fn leave_root() -> [Call; 2] {
    let detach = [".".into(), libc::MNT_DETACH.into()];
    [
        Call::new("pivot_root", libc::SYS_pivot_root, [".".into(), ".".into()]),
        Call::new("umount2", libc::SYS_umount2, detach),
    ]
}

pub fn chdir(path: &str) -> Call {
    Call::new("chdir", libc::SYS_chdir, [path.into()])
}

/// What [`leave_root`] is not: the root before stays within reach.
pub fn chroot(path: &str) -> Call {
    Call::new("chroot", libc::SYS_chroot, [path.into()])
}

pub fn write_file(path: &str, text: &str) -> [Call; 3] {
    let flags = libc::O_WRONLY | libc::O_CLOEXEC;
    [
        Call::new("openat", libc::SYS_openat, [libc::AT_FDCWD.into(), path.into(), flags.into(), NULL]),
        Call::new("write", libc::SYS_write, [NEXT_FD.into(), text.into(), (text.len() as u64).into()]),
        close(NEXT_FD),
    ]
}

/// It must not be writable.
pub fn refuses_writing(path: &str) -> Call {
    let arguments = [libc::AT_FDCWD.into(), path.into(), libc::W_OK.into()];
    Call { wanted: Wanted::Refusal, ..Call::new("faccessat", libc::SYS_faccessat, arguments) }
}

/// Waits until there is a byte; fails where none will come any more.
pub fn wait_for_byte(fd: RawFd) -> Call {
    let arguments = [fd.into(), [0].into(), 1.into()];
    Call { wanted: Wanted::Something, ..Call::new("read", libc::SYS_read, arguments) }
}

/// `last`: -1 for all that follow.
pub fn close_range(first: RawFd, last: RawFd) -> Call {
    // An unsigned int.
    let last = Argument::Number(last.cast_unsigned().into());
    Call::new("close_range", libc::SYS_close_range, [first.into(), last, NULL])
}

pub fn close(fd: RawFd) -> Call {
    Call::new("close", libc::SYS_close, [fd.into()])
}

/// `to` is inherited by programs.
pub fn duplicate(fd: RawFd, to: RawFd) -> Call {
    Call::new("dup3", libc::SYS_dup3, [fd.into(), to.into(), NULL])
}

pub fn make_inheritable(fd: RawFd) -> Call {
    Call::new("fcntl", libc::SYS_fcntl, [fd.into(), libc::F_SETFD.into(), NULL])
}

pub fn begin_session() -> Call {
    Call::new("setsid", libc::SYS_setsid, [])
}

pub fn begin_process_group() -> Call {
    Call::new("setpgid", libc::SYS_setpgid, [NULL, NULL])
}

pub fn set_umask(mask: i32) -> Call {
    Call::new("umask", libc::SYS_umask, [mask.into()])
}

/// SIGCHLD as it is in a new program.
pub fn heed_children() -> Call {
    let action = [libc::SIGCHLD.into(), [0; 4].into(), NULL, 8.into()];
    Call::new("rt_sigaction", libc::SYS_rt_sigaction, action)
}

/// Holds back all signals that can be held back, or none.
pub fn block_signals(all: bool) -> Call {
    let mask = if all { u64::MAX } else { 0 };
    let arguments = [libc::SIG_SETMASK.into(), [mask].into(), NULL, 8.into()];
    Call::new("rt_sigprocmask", libc::SYS_rt_sigprocmask, arguments)
}

/// Whether its like may read the process's memory.
pub fn set_readable(readable: bool) -> Call {
    prctl(libc::PR_SET_DUMPABLE, i32::from(readable), NULL)
}

/// Soft and hard alike. Where a ceiling is lower already, that one stays: it is stricter.
pub fn set_limit(limit: Rlimit, ceilings: &Ceilings) -> Call {
    let (resource, value) = limit.as_numbers();
    let value = value.min(ceilings.over_resource(resource));
    set_soft_and_hard(resource, value, value)
}

/// What [`set_limit`] is not: the program could raise it again.
pub fn set_soft_limit(limit: Rlimit, ceilings: &Ceilings) -> Call {
    let (resource, value) = limit.as_numbers();
    set_soft_and_hard(resource, value, ceilings.over_resource(resource))
}

fn set_soft_and_hard(resource: u32, soft: u64, hard: u64) -> Call {
    let arguments = [NULL, u64::from(resource).into(), [soft, hard].into(), NULL];
    Call::new("prlimit64", libc::SYS_prlimit64, arguments)
}

/// No capability is left, nor can one be had again. `last`: the highest that this kernel has.
pub fn drop_capabilities(last: u32) -> Vec<Call> {
    let mut calls = vec![prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, NULL)];
    calls.extend((0..=last).map(|capability| prctl(libc::PR_CAPBSET_DROP, capability.cast_signed(), NULL)));
    // struct __user_cap_header_struct with _LINUX_CAPABILITY_VERSION_3, and two of __user_cap_data_struct.
    calls.push(Call::new("capset", libc::SYS_capset, [[0x2008_0522].into(), [0; 3].into()]));
    calls
}

/// A program for seccomp(2): instructions of eight bytes.
pub fn filter_calls(code: &[u8]) -> Call {
    // struct sock_fprog: a short, and a pointer.
    let program = vec![Argument::Number((code.len() / 8) as u64), Argument::Text(code.into())];
    prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER.cast_signed(), program.into())
}

fn prctl(option: i32, first: i32, second: Argument) -> Call {
    Call::new("prctl", libc::SYS_prctl, [option.into(), first.into(), second, NULL, NULL])
}

/// From linux/sockios.h; C libraries differ in its type.
const SIOCSIFFLAGS: u64 = 0x8914;

/// Brings an interface up.
pub fn bring_up(interface: &str) -> [Call; 3] {
    // struct ifreq: the name in 16 bytes, then the flags.
    let mut request = [0; 40];
    request[..interface.len()].copy_from_slice(interface.as_bytes());
    request[16..18].copy_from_slice(&((libc::IFF_UP | libc::IFF_RUNNING) as u16).to_ne_bytes());
    let flags = [NEXT_FD.into(), SIOCSIFFLAGS.into(), Argument::Text(request.into())];
    [
        Call::new("socket", libc::SYS_socket, [libc::AF_INET.into(), libc::SOCK_DGRAM.into(), NULL]),
        Call::new("ioctl", libc::SYS_ioctl, flags),
        close(NEXT_FD),
    ]
}

/// Becomes another program: its path comes first among the arguments.
pub fn execute(arguments: &[String], environment: &[(&str, String)]) -> Call {
    let mut words: Vec<Argument> = arguments.iter().map(|text| text.as_str().into()).collect();
    let path = words.first().cloned().unwrap_or(NULL);
    words.push(NULL);
    let mut variables: Vec<Argument> =
        environment.iter().map(|(name, value)| format!("{name}={value}").as_str().into()).collect();
    variables.push(NULL);
    Call::new("execve", libc::SYS_execve, [path, words.into(), variables.into()])
}

// The order ---------------------------------------------------------------------------------------------------------

/// # Errors
/// When it is longer than what a copy has room for.
pub fn written(steps: &[Step]) -> io::Result<Vec<u8>> {
    let count: usize = steps.iter().map(|step| step.calls.len()).sum();
    // The last one is the end.
    let mut order = Order { words: vec![0; (count + 1) * forker::STEP], pointers: Vec::new() };
    let mut at = 0;
    for step in steps {
        let name = order.place_text(step.name.as_bytes());
        for call in &step.calls {
            order.point(at, name);
            order.words[at + 1] = call.number;
            order.words[at + 2] = match call.wanted {
                Wanted::Success => 0,
                Wanted::Something => 1,
                Wanted::Refusal => forker::REFUSED.cast_unsigned(),
            };
            for (place, argument) in (at + 3..at + forker::STEP).zip(&call.arguments) {
                order.put(place, argument);
            }
            at += forker::STEP;
        }
    }
    order.words[at + 1] = forker::END;
    order.finish()
}

#[derive(Debug)]
struct Order {
    words: Vec<u64>,
    /// Which words are distances.
    pointers: Vec<usize>,
}

impl Order {
    fn put(&mut self, place: usize, argument: &Argument) {
        match argument {
            Argument::Number(number) => self.words[place] = *number,
            Argument::Text(text) => {
                let text = self.place_text(text);
                self.point(place, text);
            }
            Argument::Words(words) => {
                let start = self.words.len();
                self.words.resize(start + words.len(), 0);
                for (word, argument) in (start..).zip(words) {
                    self.put(word, argument);
                }
                self.point(place, start);
            }
        }
    }

    /// With at least one zero behind it.
    fn place_text(&mut self, text: &[u8]) -> usize {
        let start = self.words.len();
        self.words.extend(text.chunks(8).map(|bytes| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_ne_bytes(word)
        }));
        self.words.push(0);
        start
    }

    fn point(&mut self, place: usize, target: usize) {
        self.words[place] = target as u64;
        self.pointers.push(place);
    }

    fn finish(mut self) -> io::Result<Vec<u8>> {
        let head = 1 + self.pointers.len();
        for place in &self.pointers {
            self.words[*place] = (self.words[*place] + head as u64) * 8;
        }
        let places = self.pointers.iter().map(|place| (place + head) as u64);
        let words: Vec<u64> =
            std::iter::once(self.pointers.len() as u64).chain(places).chain(self.words).collect();
        if words.len() >= forker::ROOM {
            return Err(io::Error::other(format!("an order of {} words is too long", words.len())));
        }
        Ok(words.iter().flat_map(|word| word.to_ne_bytes()).collect())
    }
}

// For people --------------------------------------------------------------------------------------------------------

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, Listed(&self.arguments, ["(", ")"]))?;
        match self.wanted {
            Wanted::Success => Ok(()),
            Wanted::Refusal => f.write_str(" must fail"),
            Wanted::Something => f.write_str(" must have something"),
        }
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) if number.cast_signed() < 0 => write!(f, "{}", number.cast_signed()),
            Self::Number(number) if *number > 1 << 20 => write!(f, "{number:#x}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) if text.len() > 256 => write!(f, "({} bytes)", text.len()),
            Self::Text(text) => write!(f, "\"{}\"", text.escape_ascii()),
            Self::Words(words) => Listed(words, ["{", "}"]).fmt(f),
        }
    }
}

struct Listed<'a>(&'a [Argument], [&'static str; 2]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(items, [begin, end]) = self;
        f.write_str(begin)?;
        if let [first, others @ ..] = items {
            write!(f, "{first}")?;
            others.iter().try_for_each(|other| write!(f, ", {other}"))?;
        }
        f.write_str(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_that_is_lower_stays() {
        let ceilings = Ceilings::lowered(Rlimit::CpuSeconds(5));
        let told = |limit| set_limit(limit, &ceilings).to_string();
        assert!(told(Rlimit::CpuSeconds(7)).ends_with("{5, 5}, 0)"));
        assert!(told(Rlimit::CpuSeconds(4)).ends_with("{4, 4}, 0)"));
        assert!(told(Rlimit::OpenFiles(7)).ends_with("{7, 7}, 0)"));
    }
}
