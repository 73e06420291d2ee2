//! From the policy to the kernel's instructions: one program that answers by number, and for each error one that looks at
//! arguments, because a program of `seccompiler` has one answer for what it lists and one for everything else.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::arch::Arch;
use super::filter::{Filter, Program};
use super::policy::{Answer, Condition, Errno, GROUPS, RULES};
use super::table;
use crate::host::MemoryKeeper;

#[derive(Debug, thiserror::Error)]
#[error(
    "the system call filter cannot be compiled (program `{program}`): {source}; this is a bug in the executor"
)]
pub struct CompileError {
    program: &'static str,
    source: BackendError,
}

pub(super) fn compile(arch: Arch, memory: MemoryKeeper) -> Result<Filter, CompileError> {
    let numbers = table::program(arch, &answers(arch, memory), &errno(Errno::NoSuchCall));
    let rules = |name, errno| {
        let program = limits(arch, errno, memory).map_err(|source| CompileError { program: name, source })?;
        Ok(written(name, &program))
    };
    Ok(Filter {
        programs: vec![
            written("numbers", &numbers),
            rules("families", Errno::NoSuchFamily)?,
            rules("arguments", Errno::NotPermitted)?,
        ],
    })
}

/// What each number is answered, as far as numbers decide it.
pub(super) fn answers(arch: Arch, memory: MemoryKeeper) -> BTreeMap<u32, SeccompAction> {
    let mut answers = BTreeMap::new();
    for group in GROUPS {
        let answer = match (group.answer, memory) {
            (Answer::Allowed, _) | (Answer::AllowedInACgroup, MemoryKeeper::Cgroup(_)) => {
                SeccompAction::Allow
            }
            (Answer::AllowedInACgroup, MemoryKeeper::Watcher) | (Answer::NoSuchCall, _) => {
                errno(Errno::NoSuchCall)
            }
            (Answer::NotPermitted, _) => errno(Errno::NotPermitted),
        };
        let numbers = group.calls.iter().filter_map(|name| arch.number(name));
        answers.extend(numbers.map(|number| (number, answer.clone())));
    }
    answers
}

/// The rules that answer with `refusal`.
fn limits(arch: Arch, refusal: Errno, memory: MemoryKeeper) -> Result<BpfProgram, BackendError> {
    let mut listed: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for rule in RULES.iter().filter(|rule| rule.errno == refusal && rule.holds_for(memory)) {
        for number in rule.calls.iter().filter_map(|name| arch.number(name)) {
            let chain = listed.entry(number.into()).or_default();
            for all_of in rule.any_of {
                let conditions = all_of.iter().map(condition).collect::<Result<_, _>>()?;
                chain.push(SeccompRule::new(conditions)?);
            }
        }
    }
    SeccompFilter::new(listed, SeccompAction::Allow, errno(refusal), arch.target())?.try_into()
}

fn condition(condition: &Condition) -> Result<SeccompCondition, BackendError> {
    let (argument, operator, value) = match *condition {
        Condition::Is(argument, value) => (argument, SeccompCmpOp::Eq, value),
        Condition::IsNot(argument, value) => (argument, SeccompCmpOp::Ne, value),
        Condition::Has(argument, bits) => (argument, SeccompCmpOp::MaskedEq(bits.into()), bits),
    };
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value.into())
}

fn errno(errno: Errno) -> SeccompAction {
    SeccompAction::Errno(errno.number())
}

/// As bubblewrap reads it: the instructions as they lie in memory.
pub(super) fn written(name: &'static str, program: &BpfProgram) -> Program {
    let mut code = Vec::with_capacity(program.len() * 8);
    for instruction in program {
        code.extend_from_slice(&instruction.code.to_ne_bytes());
        code.extend_from_slice(&[instruction.jt, instruction.jf]);
        code.extend_from_slice(&instruction.k.to_ne_bytes());
    }
    Program { name, code }
}
