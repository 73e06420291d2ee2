//! The part of a fork server that every sandbox waits for, in machine code: a library that the interpreter loads (`build.rs` compiles it
//! by itself, from this file alone).
//!
//! ```text
//! daemon ── flags for clone(2), descriptors ──► serve ── clone ──► init of the sandbox
//!        ◄── a pidfd of init, or an errno ──────┘                   makes the calls of its order (`calls.rs`)
//!                                                                    ├─ FORK ──► the program's process: the rest of the calls,
//!                                                                    │           then serve() returns there
//!                                                                    └─ waits, and says on VERDICT how that ended
//! ```
//!
//! Every page that a copy writes to is copied, and Python writes wherever it reads. This writes to its stack and to one table. It decides
//! nothing: what a sandbox is made of stands in its order, which is read by the copy, and never by the server.
//!
//! Only `core`, and of the C library only what every one has: `fork`, which knows what a copy of a process has to forget, and what
//! compilers take for granted (`memset`, `strlen`).

use core::arch::asm;
use core::ffi::{CStr, c_char};
use core::ptr;

/// Where a copy has what it was sent, in this order, from this number on: its order, its gate, standard input, output and error, job,
/// report, and verdict.
pub(crate) const FIRST_FD: usize = 32;
pub(crate) const SENT: usize = 8;
const ORDER: usize = FIRST_FD;
const VERDICT: usize = FIRST_FD + SENT - 1;

/// Cgroups come on top of that: one descriptor to enter each, one to come back.
const MOST_SENT: usize = SENT + 8;

/// A program may stop itself, and a child of it have it go on, as often as it likes. The daemon hears of so many.
const MOST_STOPS: u32 = 100;

/// In the place of a call's number: the order ends here; here the program's process begins.
pub(crate) const END: u64 = u64::MAX;
pub(crate) const FORK: u64 = u64::MAX - 1;
/// In the place of the least result: the call must be refused.
pub(crate) const REFUSED: i64 = i64::MAX;

/// What an order may have: 64-bit words.
pub(crate) const ROOM: usize = 8192;

/// One call, as it lies in an order. Its pointers are distances from the order's beginning until they are made into pointers.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Step {
    pub(crate) name: *const c_char,
    pub(crate) number: u64,
    pub(crate) least: i64,
    pub(crate) arguments: [usize; 6],
}

/// How many words a step is.
pub(crate) const STEP: usize = size_of::<Step>() / size_of::<u64>();

static mut TABLE: [u64; ROOM] = [0; ROOM];

#[cfg(target_arch = "x86_64")]
mod number {
    pub(super) const READ: u64 = 0;
    pub(super) const WRITE: u64 = 1;
    pub(super) const CLOSE: u64 = 3;
    pub(super) const RT_SIGACTION: u64 = 13;
    pub(super) const SENDMSG: u64 = 46;
    pub(super) const RECVMSG: u64 = 47;
    pub(super) const CLONE: u64 = 56;
    pub(super) const WAIT4: u64 = 61;
    pub(super) const FCNTL: u64 = 72;
    pub(super) const GETRUSAGE: u64 = 98;
    pub(super) const EXIT_GROUP: u64 = 231;
    pub(super) const CLOSE_RANGE: u64 = 436;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub(super) const READ: u64 = 63;
    pub(super) const WRITE: u64 = 64;
    pub(super) const CLOSE: u64 = 57;
    pub(super) const RT_SIGACTION: u64 = 134;
    pub(super) const SENDMSG: u64 = 211;
    pub(super) const RECVMSG: u64 = 212;
    pub(super) const CLONE: u64 = 220;
    pub(super) const WAIT4: u64 = 260;
    pub(super) const FCNTL: u64 = 25;
    pub(super) const GETRUSAGE: u64 = 165;
    pub(super) const EXIT_GROUP: u64 = 94;
    pub(super) const CLOSE_RANGE: u64 = 436;
}

const EAGAIN: i32 = 11;
const EINTR: isize = -4;
const SIGCHLD: usize = 17;
const SIG_IGN: usize = 1;
const CLONE_PIDFD: usize = 0x1000;
const F_DUPFD_CLOEXEC: usize = 1030;
const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
const MSG_NOSIGNAL: usize = 0x4000;
const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
const WUNTRACED: usize = 2;
const RUSAGE_CHILDREN: usize = usize::MAX;

unsafe extern "C" {
    fn fork() -> i32;
}

/// Asks the kernel: its result, or a negative errno.
///
/// # Safety
/// What the call does to this process's memory must be allowed.
unsafe fn call(number: u64, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel's convention for calls: rcx and r11 are lost, everything else is kept. Memory is the caller's business.
    unsafe {
        asm!(
            "syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above; here nothing is lost but x0.
    unsafe {
        asm!(
            "svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            in("x5") f, options(nostack),
        );
    }
    result
}

/// A call that touches no memory of this process.
fn ask(number: u64, a: usize, b: usize, c: usize) -> isize {
    // SAFETY: it is only used for calls that take numbers: closing, duplicating, ending.
    unsafe { call(number, [a, b, c, 0, 0, 0]) }
}

fn write(fd: usize, text: &[u8]) -> isize {
    // SAFETY: the kernel reads the bytes of a slice that lives meanwhile.
    unsafe { call(number::WRITE, [fd, text.as_ptr().addr(), text.len(), 0, 0, 0]) }
}

/// Ends this process.
pub(crate) fn end(code: usize) -> ! {
    loop {
        ask(number::EXIT_GROUP, code, 0, 0);
    }
}

// The server --------------------------------------------------------------------------------------------------------

/// One buffer (struct iovec).
#[repr(C)]
struct Part {
    start: *mut u8,
    length: usize,
}

/// struct msghdr, as the kernel has it.
#[repr(C)]
struct Message {
    name: *mut u8,
    name_length: u32,
    parts: *mut Part,
    part_count: usize,
    control: *mut u8,
    control_length: usize,
    flags: u32,
}

/// struct cmsghdr, and what it says of descriptors.
#[repr(C)]
struct Rights {
    length: usize,
    level: i32,
    kind: i32,
    descriptors: [i32; MOST_SENT],
}

const RIGHTS_HEAD: usize = size_of::<Rights>() - size_of::<[i32; MOST_SENT]>();

impl Rights {
    const EMPTY: Self = Self { length: 0, level: 0, kind: 0, descriptors: [-1; MOST_SENT] };

    fn sent(&self) -> &[i32] {
        let bytes = self.length.saturating_sub(RIGHTS_HEAD);
        let count =
            if self.level == SOL_SOCKET && self.kind == SCM_RIGHTS { bytes / size_of::<i32>() } else { 0 };
        self.descriptors.get(..count).unwrap_or(&[])
    }
}

/// Makes a sandbox for every message on `control`, and ends this process when there will be no more. Comes back in the processes of
/// programs only.
///
/// # Safety
/// The process has one thread, and what its C library and interpreter do before a fork has been done.
#[cfg_attr(forker, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn serve(control: i32) -> i32 {
    ignore_children();
    let control = control as usize;
    loop {
        let mut flags = 0_u64;
        let mut rights = Rights::EMPTY;
        let got = exchange(
            number::RECVMSG,
            control,
            &mut flags,
            &mut rights,
            size_of::<Rights>(),
            MSG_CMSG_CLOEXEC,
        );
        if got == EINTR {
            continue;
        }
        if got <= 0 {
            end(0);
        }
        match make(flags, rights.sent()) {
            Made::Here => return 0,
            Made::There(answer, pidfd) => {
                for fd in rights.sent() {
                    ask(number::CLOSE, *fd as usize, 0, 0);
                }
                let mut answer = u64::from(answer.cast_unsigned());
                let length = if pidfd < 0 { 0 } else { RIGHTS_HEAD + size_of::<i32>() };
                let mut rights = Rights { length, level: SOL_SOCKET, kind: SCM_RIGHTS, ..Rights::EMPTY };
                rights.descriptors[0] = pidfd;
                exchange(
                    number::SENDMSG,
                    control,
                    &mut answer,
                    &mut rights,
                    length.next_multiple_of(8),
                    MSG_NOSIGNAL,
                );
                if pidfd >= 0 {
                    ask(number::CLOSE, pidfd as usize, 0, 0);
                }
            }
        }
    }
}

/// Nobody waits for the inits of sandboxes: the daemon has their pidfds.
fn ignore_children() {
    let action = [SIG_IGN, 0, 0, 0];
    // SAFETY: the kernel reads a struct of four words, of which these are one; the mask is eight bytes.
    unsafe { call(number::RT_SIGACTION, [SIGCHLD, action.as_ptr().addr(), 0, 8, 0, 0]) };
}

/// Receives or sends one word, and descriptors with it.
fn exchange(
    number: u64,
    control: usize,
    word: &mut u64,
    rights: &mut Rights,
    room: usize,
    flags: usize,
) -> isize {
    let mut part = Part { start: ptr::from_mut(word).cast(), length: size_of::<u64>() };
    let mut message = Message {
        name: ptr::null_mut(),
        name_length: 0,
        parts: &raw mut part,
        part_count: 1,
        control: ptr::from_mut(rights).cast(),
        control_length: room,
        flags: 0,
    };
    // SAFETY: every pointer is to a local or a borrow that lives meanwhile, with its size; the kernel writes integers into them.
    unsafe { call(number, [control, (&raw mut message).addr(), flags, 0, 0, 0]) }
}

enum Made {
    /// This is the copy: the program's process.
    Here,
    /// This is the server: an errno, or 0 and the copy's pidfd.
    There(i32, i32),
}

fn make(namespaces: u64, sent: &[i32]) -> Made {
    let (own, cgroups) = sent.split_at(sent.len().min(SENT));
    // A child is born where its parent is: in the cgroups of the first half. The second half leads back.
    let (enter, leave) = cgroups.split_at(cgroups.len() / 2);
    let mut failed = 0;
    for tasks in enter {
        let written = write(*tasks as usize, b"0");
        failed = if failed == 0 && written < 0 { -written as i32 } else { failed };
    }
    let mut pidfd = -1;
    if failed == 0 {
        let flags = namespaces as usize | CLONE_PIDFD | SIGCHLD;
        // SAFETY: without a stack of its own the copy goes on from here, on its copy of this one, as after fork(2); the kernel writes
        // the pidfd to a live local.
        let pid = unsafe { call(number::CLONE, [flags, 0, (&raw mut pidfd).addr(), 0, 0, 0]) };
        if pid == 0 {
            init(own);
            return Made::Here;
        }
        failed = if pid < 0 { -pid as i32 } else { 0 };
    }
    for tasks in leave {
        // Where it fails, the next child's cgroups take it away.
        write(*tasks as usize, b"0");
    }
    Made::There(failed, if failed == 0 { pidfd } else { -1 })
}

// The sandbox -------------------------------------------------------------------------------------------------------

/// The copy's first process: init of the sandbox. Comes back in its child, which is to be the program.
fn init(sent: &[i32]) {
    if sent.len() != SENT {
        end(1);
    }
    for (place, fd) in (FIRST_FD..).zip(sent) {
        if ask(number::FCNTL, *fd as usize, F_DUPFD_CLOEXEC, FIRST_FD) != place as isize {
            end(1);
        }
    }
    let Some(mut at) = read_order() else { end(1) };
    loop {
        // SAFETY: it began at the order's first step, and stops at its last, `END`: whoever wrote the order sees to that.
        let step = unsafe { at.read() };
        match step.number {
            END => return,
            FORK => fork_program(&step),
            number => {
                // SAFETY: the daemon wrote the order, for this process and this purpose.
                let result = unsafe { call(number, step.arguments) };
                let as_wanted = match step.least {
                    REFUSED => result < 0,
                    least => result as i64 >= least,
                };
                if !as_wanted {
                    give_up(&step, result);
                }
            }
        }
        at = at.wrapping_add(1);
    }
}

/// The order's first step; `None` where it cannot be read, or is longer than the table.
fn read_order() -> Option<*const Step> {
    let table: *mut u64 = (&raw mut TABLE).cast();
    let mut length = 0;
    loop {
        let room = ROOM * size_of::<u64>() - length;
        // SAFETY: the kernel writes into what is left of the table, which nobody else uses: there is one thread.
        let got = unsafe { call(number::READ, [ORDER, table.addr() + length, room, 0, 0, 0]) };
        match usize::try_from(got) {
            Ok(0) if length > 0 => break,
            Ok(count @ 1..) if count < room => length += count,
            Ok(_) | Err(_) => return None,
        }
    }
    // SAFETY: as above; the borrow ends before the steps are read.
    let words = unsafe { core::slice::from_raw_parts_mut(table, length / size_of::<u64>()) };
    Some(table.wrapping_add(resolve(words)?).cast_const().cast())
}

/// Makes pointers of an order's distances: the first word says how many there are, and the next ones where. Where the steps begin.
fn resolve(words: &mut [u64]) -> Option<usize> {
    let begin = words.as_ptr().addr() as u64;
    let steps = usize::try_from(*words.first()?).ok()?.checked_add(1)?;
    for index in 1..steps {
        let place = usize::try_from(*words.get(index)?).ok()?;
        *words.get_mut(place)? += begin;
    }
    Some(steps)
}

/// The child goes on; this process waits for it, says how it ended, and ends.
fn fork_program(step: &Step) {
    // SAFETY: one thread, and the interpreter has prepared for a fork.
    let program = unsafe { fork() };
    if program < 0 {
        give_up(step, -(EAGAIN as isize));
    }
    if program == 0 {
        return;
    }
    ask(number::CLOSE_RANGE, 0, 2, 0);
    ask(number::CLOSE_RANGE, FIRST_FD, VERDICT - 1, 0);
    let mut stops = 0;
    loop {
        let (mut status, mut usage) = (0_i32, Usage::NONE);
        let options = if stops < MOST_STOPS { WUNTRACED } else { 0 };
        // SAFETY: the kernel writes an int and a struct rusage to live locals of these sizes.
        let changed = unsafe {
            call(
                number::WAIT4,
                [usize::MAX, (&raw mut status).addr(), options, (&raw mut usage).addr(), 0, 0],
            )
        };
        if changed < 0 && changed != EINTR {
            end(1);
        }
        if changed != program as isize {
            // A process that the program left behind; nobody else's business.
            continue;
        }
        let mut line = Line::new();
        if status & 0xff == 0x7f {
            stops += 1;
            line.text(b"{\"Stopped\":{").spent(&usage, &usage).text(b"}}\n").say();
            continue;
        }
        let (how, code) = match status & 0x7f {
            0 => (b"{\"Ended\":{\"end\":{\"Exited\":".as_slice(), status >> 8 & 0xff),
            signal => (b"{\"Ended\":{\"end\":{\"Signaled\":".as_slice(), signal),
        };
        let mut all = Usage::NONE;
        // SAFETY: as above.
        unsafe { call(number::GETRUSAGE, [RUSAGE_CHILDREN, (&raw mut all).addr(), 0, 0, 0, 0]) };
        line.text(how).number(u64::from(code.cast_unsigned()));
        line.text(b"},\"spent\":{").spent(&usage, &all).text(b"}}}\n").say();
        end(0);
    }
}

/// Says which call was not answered as it must be, and ends this process.
fn give_up(step: &Step, result: isize) -> ! {
    // SAFETY: a step's name is a text in the order that ends with a zero.
    let name = unsafe { CStr::from_ptr(step.name) };
    let mut line = Line::new();
    line.text(b"{\"Failed\":{\"stage\":\"").text(name.to_bytes()).text(b"\",\"error\":");
    line.number(u64::try_from(-result).unwrap_or(0)).text(b"}}\n").say();
    end(1);
}

/// struct rusage.
#[repr(C)]
struct Usage {
    user: [i64; 2],
    system: [i64; 2],
    max_resident: i64,
    others: [i64; 6],
    blocks: [i64; 2],
    rest: [i64; 5],
}

impl Usage {
    const NONE: Self =
        Self { user: [0; 2], system: [0; 2], max_resident: 0, others: [0; 6], blocks: [0; 2], rest: [0; 5] };
}

/// What is said, in one piece.
struct Line {
    text: [u8; 256],
    length: usize,
}

impl Line {
    const fn new() -> Self {
        Self { text: [0; 256], length: 0 }
    }

    fn text(&mut self, text: &[u8]) -> &mut Self {
        for byte in text {
            if let Some(place) = self.text.get_mut(self.length) {
                *place = *byte;
                self.length += 1;
            }
        }
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        if number >= 10 {
            self.number(number / 10);
        }
        self.text(&[b'0' + (number % 10) as u8])
    }

    /// As `launch::Spent` reads it.
    fn spent(&mut self, usage: &Usage, blocks: &Usage) -> &mut Self {
        let [user, system] = [usage.user, usage.system].map(|[s, us]| s * 1_000_000 + us);
        let figures = [
            (b"\"cpu_us\":".as_slice(), user + system),
            (b",\"max_resident\":", usage.max_resident * 1024),
            (b",\"blocks_read\":", blocks.blocks[0]),
            (b",\"blocks_written\":", blocks.blocks[1]),
        ];
        for (name, figure) in figures {
            self.text(name).number(figure.cast_unsigned());
        }
        self
    }

    /// The daemon may be gone; then nobody is left to be told.
    fn say(&self) {
        write(VERDICT, self.text.get(..self.length).unwrap_or(&[]));
    }
}

#[cfg(test)]
mod tests;
