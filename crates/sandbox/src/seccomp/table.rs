//! The program that answers by number alone, as a search among ranges of numbers.
//!
//! `seccompiler` compares a call with one listed number after the other. Installing such a program takes the kernel 0.8 ms,
//! because it works out the answer to every number in advance, and a sandbox installs it twice; finding the range by halves
//! takes a tenth of that. So this one program is made here, and a test holds it equal to the one `seccompiler` makes.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, sock_filter};

use super::arch::Arch;

// struct sock_filter's codes (linux/bpf_common.h).
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

// Where struct seccomp_data has them (seccomp(2)).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// The answer from this number on.
type Range = (u32, u32);

/// Answers each number of `answers` so, every other one with `otherwise`; ends a process of another architecture.
pub(super) fn program(
    arch: Arch,
    answers: &BTreeMap<u32, SeccompAction>,
    otherwise: &SeccompAction,
) -> BpfProgram {
    let mut program = vec![
        statement(LOAD, ARCHITECTURE),
        sock_filter { code: JUMP_IF_EQUAL, jt: 1, jf: 0, k: arch.audit() },
        statement(RETURN, SeccompAction::KillProcess.into()),
        statement(LOAD, NUMBER),
    ];
    program.extend(search(&ranges(answers, otherwise)));
    program
}

fn ranges(answers: &BTreeMap<u32, SeccompAction>, otherwise: &SeccompAction) -> Vec<Range> {
    let otherwise = u32::from(otherwise.clone());
    let mut ranges: Vec<Range> = vec![(0, otherwise)];
    let mut add = |from: u32, answer: u32| match ranges.last_mut() {
        Some(last) if last.0 == from => last.1 = answer,
        _ => ranges.push((from, answer)),
    };
    for (number, answer) in answers {
        add(*number, answer.clone().into());
        add(number + 1, otherwise);
    }
    ranges.dedup_by_key(|(_, answer)| *answer);
    ranges
}

fn search(ranges: &[Range]) -> BpfProgram {
    if let [(_, answer)] = ranges {
        return vec![statement(RETURN, *answer)];
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let (first, lower) = (upper[0].0, search(lower));
    let over = u8::try_from(lower.len()).expect("half of the policy's ranges are fewer than 128");
    let mut program = vec![sock_filter { code: JUMP_IF_AT_LEAST, jt: over, jf: 0, k: first }];
    program.extend(lower);
    program.extend(search(upper));
    program
}

const fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}
