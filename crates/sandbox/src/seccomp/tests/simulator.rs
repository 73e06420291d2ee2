//! What the kernel does with a filter: classic BPF, as far as seccomp allows it, and the choice between several programs.
//!
//! Written from seccomp(2) and `kernel/seccomp.c`, not from the compiler that is under test.

use crate::seccomp::filter::{Filter, Program};

/// `AUDIT_ARCH_*`, as `linux/audit.h` has them.
pub(super) const X86_64: u32 = 0xc000_003e;
pub(super) const AARCH64: u32 = 0xc000_00b7;
pub(super) const I386: u32 = 0x4000_0003;
pub(super) const ARM: u32 = 0x4000_0028;
pub(super) const RISCV64: u32 = 0xc000_00f3;

#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) arch: u32,
    pub(super) number: u32,
    pub(super) arguments: [u64; 6],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    Errno(u32),
    Killed,
}

/// What the kernel answers under the whole filter.
pub(super) fn ask(filter: &Filter, call: Call) -> Verdict {
    // The newest first, and a later one only if it is stricter: the order of the actions is that of signed numbers.
    let strictest = filter
        .programs
        .iter()
        .rev()
        .map(|program| run(program, call).0)
        .reduce(|kept, next| if action(next) < action(kept) { next } else { kept });
    verdict(strictest.unwrap())
}

pub(super) fn ask_one(program: &Program, call: Call) -> Verdict {
    verdict(run(program, call).0)
}

fn action(value: u32) -> i32 {
    (value & 0xffff_0000).cast_signed()
}

fn verdict(value: u32) -> Verdict {
    match value & 0xffff_0000 {
        0x7fff_0000 => Verdict::Allowed,
        0x0005_0000 => Verdict::Errno(value & 0xffff),
        0x8000_0000 => Verdict::Killed,
        other => panic!("no program answers {other:#x}"),
    }
}

/// `struct seccomp_data`, in words.
fn word(call: Call, offset: u32) -> u32 {
    match offset {
        0 => call.number,
        4 => call.arch,
        16..64 => {
            let argument = call.arguments[(offset as usize - 16) / 8];
            if offset.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 }
        }
        _ => panic!("a load from {offset}"),
    }
}

/// On the way to its answer.
pub(super) fn looks_at_arguments(program: &Program, call: Call) -> bool {
    run(program, call).1
}

/// The answer, and whether an argument was looked at.
fn run(program: &Program, call: Call) -> (u32, bool) {
    let mut looked = false;
    let mut accumulator = 0_u32;
    let mut at = 0;
    loop {
        let (code, jump_true, jump_false, k) = instruction(program, at);
        at += 1;
        let jump = |condition: bool| usize::from(if condition { jump_true } else { jump_false });
        match code {
            0x20 => {
                looked |= k >= 16;
                accumulator = word(call, k);
            }
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x06 => return (k, looked),
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn instruction(program: &Program, at: usize) -> (u16, u8, u8, u32) {
    let bytes: [u8; 8] = program.code[at * 8..at * 8 + 8].try_into().unwrap();
    let [c0, c1, jump_true, jump_false, k @ ..] = bytes;
    (u16::from_ne_bytes([c0, c1]), jump_true, jump_false, u32::from_ne_bytes(k))
}

/// What the kernel asks of a program before it takes it (`bpf_check_classic`, `seccomp_check_filter`).
pub(super) fn is_acceptable(program: &Program) -> bool {
    let count = program.instructions();
    let whole = program.code.len() == count * 8 && (1..=4096).contains(&count);
    let within = (0..count).all(|at| {
        let (code, jump_true, jump_false, k) = instruction(program, at);
        let last_target = match code {
            0x05 => k as usize,
            0x15 | 0x25 | 0x35 => usize::from(jump_true.max(jump_false)),
            _ => 0,
        };
        let load = code != 0x20 || (k.is_multiple_of(4) && k < 64);
        load && at + 1 + last_target < count + usize::from(code == 0x06)
    });
    whole && within && instruction(program, count - 1).0 == 0x06
}
