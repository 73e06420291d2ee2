//! The policy, held together; and the compiled programs, asked about every call by a kernel made of Rust (`simulator.rs`).
//!
//! A real kernel is asked in `tests/isolation/system_calls.rs`.

mod document;
mod simulator;

use std::collections::BTreeSet;

use simulator::{
    AARCH64, ARM, Call, I386, RISCV64, Verdict, X86_64, ask, ask_one, is_acceptable, looks_at_arguments,
};

use seccompiler::{SeccompAction, SeccompFilter};

use super::compile::{answers, written};
use super::policy::{Answer, Condition, Errno, GROUPS, RULES, Rule};
use super::{Arch, Filter, Filters, Program, numbers};
use crate::host::{CgroupVersion, MemoryKeeper};

const ARCHES: [(Arch, u32); 2] = [(Arch::X86_64, X86_64), (Arch::Aarch64, AARCH64)];
const KEEPERS: [MemoryKeeper; 2] = [MemoryKeeper::Watcher, MemoryKeeper::Cgroup(CgroupVersion::V2)];

const EPERM: Verdict = Verdict::Errno(1);
const ENOSYS: Verdict = Verdict::Errno(38);
const EAFNOSUPPORT: Verdict = Verdict::Errno(97);

fn filter(arch: Arch, keeper: MemoryKeeper) -> Filter {
    Filter::clone(Filters::compile(arch).unwrap().held_by(keeper))
}

/// Each filter there is, with its architecture and who holds memory.
fn each_filter(mut check: impl FnMut(&Filter, Arch, u32, MemoryKeeper)) {
    for (arch, audit) in ARCHES {
        for keeper in KEEPERS {
            check(&filter(arch, keeper), arch, audit, keeper);
        }
    }
}

/// The answer to a call by its name, on an architecture that has it.
fn ask_by_name(filter: &Filter, (arch, audit): (Arch, u32), name: &str, arguments: [u64; 6]) -> Verdict {
    let number = arch.number(name).unwrap_or_else(|| panic!("{arch:?} has no {name}"));
    ask(filter, Call { arch: audit, number, arguments })
}

#[test]
fn each_call_of_the_kernel_is_in_exactly_one_group() {
    let mut named = BTreeSet::new();
    for name in GROUPS.iter().flat_map(|group| group.calls) {
        assert!(named.insert(*name), "{name} is in two groups");
    }
    let known: BTreeSet<_> = numbers::X86_64.iter().chain(numbers::AARCH64).map(|(name, _)| *name).collect();
    assert_eq!(known, named, "left: what the kernel has; right: what is decided");
}

#[test]
fn numbers_and_names_are_unique() {
    for (arch, _) in ARCHES {
        let calls = arch.calls();
        assert!(calls.is_sorted_by(|(_, before), (_, after)| before < after), "{arch:?}");
        assert_eq!(calls.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len(), calls.len());
    }
}

#[test]
fn what_a_rule_limits_is_allowed_otherwise() {
    for name in RULES.iter().flat_map(|rule| rule.calls) {
        let group = GROUPS.iter().find(|group| group.calls.contains(name)).unwrap();
        assert_eq!(group.answer, Answer::Allowed, "{name}");
    }
}

/// The policy's answer, found without the compiler.
fn decided(arch: Arch, keeper: MemoryKeeper, number: u32, arguments: [u64; 6]) -> Verdict {
    let Some((name, _)) = arch.calls().iter().find(|(_, known)| *known == number) else { return ENOSYS };
    let holds = |condition: &Condition| match *condition {
        Condition::Is(at, value) => arguments[usize::from(at)] as u32 == value,
        Condition::IsNot(at, value) => arguments[usize::from(at)] as u32 != value,
        Condition::Has(at, bits) => arguments[usize::from(at)] as u32 & bits == bits,
    };
    let refused = |rule: &&Rule| {
        rule.holds_for(keeper)
            && rule.calls.contains(name)
            && rule.any_of.iter().any(|all_of| all_of.iter().all(holds))
    };
    if let Some(rule) = RULES.iter().find(refused) {
        return Verdict::Errno(rule.errno.number());
    }
    match (GROUPS.iter().find(|group| group.calls.contains(name)).unwrap().answer, keeper) {
        (Answer::Allowed, _) | (Answer::AllowedInACgroup, MemoryKeeper::Cgroup(_)) => Verdict::Allowed,
        (Answer::AllowedInACgroup, MemoryKeeper::Watcher) | (Answer::NoSuchCall, _) => ENOSYS,
        (Answer::NotPermitted, _) => EPERM,
    }
}

/// Arguments of each kind that a condition can tell apart, and some that none does.
fn argument_classes() -> Vec<[u64; 6]> {
    let mut values: BTreeSet<u64> = [0, 17, u64::MAX, 1 << 32, 1 << 63].into();
    for condition in RULES.iter().flat_map(|rule| rule.any_of).flat_map(|all_of| *all_of) {
        let (Condition::Is(_, value) | Condition::IsNot(_, value) | Condition::Has(_, value)) = *condition;
        let value = u64::from(value);
        values.extend([value, value ^ 1, value | 0xdead_beef_0000_0000, value << 32]);
    }
    let with_third =
        |value: &u64| [0, 1, 7, 8, 15, 32, 33, 1 << 32].map(|third| [*value, *value, third, 0, u64::MAX, 0]);
    values.iter().flat_map(with_third).collect()
}

#[test]
fn each_number_with_each_kind_of_arguments_gets_the_answer_of_the_policy() {
    let classes = argument_classes();
    let numbers = (0..600).chain([4096, 0x3fff_ffff, 0x7fff_ffff, 0x8000_0000, u32::MAX]);
    // Those of x32 are numbers with this bit, through the door of x86_64.
    let numbers: Vec<u32> = numbers.flat_map(|number| [number, number | 0x4000_0000]).collect();
    let with_rules: BTreeSet<&str> = RULES.iter().flat_map(|rule| rule.calls).copied().collect();
    each_filter(|filter, arch, audit, keeper| {
        for number in &numbers {
            let has_rule = with_rules.iter().any(|name| arch.number(name) == Some(*number));
            // The others look at no argument (a test below), so a few show it.
            let step = if has_rule { 1 } else { classes.len() / 3 };
            for arguments in classes.iter().step_by(step) {
                let call = Call { arch: audit, number: *number, arguments: *arguments };
                let answer = decided(arch, keeper, *number, *arguments);
                assert_eq!(ask(filter, call), answer, "{arch:?} {keeper:?} {call:x?}");
            }
        }
    });
}

#[test]
fn another_architecture_ends_the_process() {
    each_filter(|filter, _, audit, _| {
        for other in [X86_64, AARCH64, I386, ARM, RISCV64, 0, u32::MAX] {
            for number in (0..600).chain([0x4000_0000, u32::MAX]) {
                let verdict = ask(filter, Call { arch: other, number, arguments: [0; 6] });
                assert_eq!(verdict == Verdict::Killed, other != audit, "{other:x} {number}");
            }
        }
    });
}

/// Written by hand, so that a slip in the policy's own words does not go round in a circle.
#[test]
fn the_calls_that_matter_are_answered_as_intended() {
    each_filter(|filter, arch, audit, keeper| {
        let of = |name: &str| ask_by_name(filter, (arch, audit), name, [0; 6]);
        for name in [
            "unshare",
            "setns",
            "mount",
            "umount2",
            "pivot_root",
            "chroot",
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "pidfd_getfd",
            "kcmp",
            "process_madvise",
            "add_key",
            "request_key",
            "keyctl",
            "bpf",
            "perf_event_open",
            "userfaultfd",
            "name_to_handle_at",
            "open_by_handle_at",
            "fanotify_init",
            "syslog",
            "init_module",
            "finit_module",
            "kexec_load",
            "kexec_file_load",
            "quotactl",
            "quotactl_fd",
            "acct",
            "swapon",
            "swapoff",
            "reboot",
            "migrate_pages",
            "move_pages",
            "settimeofday",
            "clock_settime",
            "sethostname",
            "setdomainname",
            "lookup_dcookie",
            "vhangup",
        ] {
            assert_eq!(of(name), EPERM, "{name}");
        }
        for name in [
            "clone3",
            "io_uring_setup",
            "io_uring_enter",
            "io_uring_register",
            "open_tree",
            "open_tree_attr",
            "move_mount",
            "fsopen",
            "fsconfig",
            "fsmount",
            "fspick",
            "mount_setattr",
            "statmount",
            "listmount",
            "listns",
        ] {
            assert_eq!(of(name), ENOSYS, "{name}");
        }
        let charged = matches!(keeper, MemoryKeeper::Cgroup(_));
        for name in ["memfd_create", "memfd_secret", "shmget", "semget", "msgget"] {
            assert_eq!(of(name), if charged { Verdict::Allowed } else { ENOSYS }, "{name}");
        }
        for name in [
            "read",
            "write",
            "openat",
            "mmap",
            "mprotect",
            "clone",
            "execve",
            "exit_group",
            "wait4",
            "futex",
            "rseq",
            "set_robust_list",
            "membarrier",
            "faccessat2",
            "statx",
            "prlimit64",
            "getrandom",
            "eventfd2",
            "pidfd_open",
            "close_range",
            "copy_file_range",
            "sched_setaffinity",
            "sched_getaffinity",
            "get_mempolicy",
            "mbind",
            "madvise",
            "mremap",
            "sysinfo",
            "pkey_alloc",
            "timer_create",
            "tgkill",
            "sigaltstack",
            "epoll_pwait",
            "setpgid",
            "mknodat",
            "fchownat",
            "rt_sigreturn",
            "prctl",
            "seccomp",
        ] {
            assert_eq!(of(name), Verdict::Allowed, "{name}");
        }
    });
}

#[test]
fn clone_makes_threads_and_processes_and_no_namespace() {
    each_filter(|filter, arch, audit, _| {
        let clone = |flags| ask_by_name(filter, (arch, audit), "clone", [flags, 0, 0, 0, 0, 0]);
        // A thread of glibc; fork; posix_spawn.
        for flags in [0x003d_0f00, 0x0120_0011, 0x0000_4111] {
            assert_eq!(clone(flags), Verdict::Allowed, "{flags:x}");
            for namespace in
                [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]
            {
                assert_eq!(clone(flags | namespace), EPERM, "{flags:x} {namespace:x}");
                assert_eq!(clone(flags | namespace | 0xffff_ffff_0000_0000), EPERM);
            }
        }
    });
}

#[test]
fn no_high_bit_leads_past_the_terminal_rule() {
    each_filter(|filter, arch, audit, _| {
        let ioctl = |command| ask_by_name(filter, (arch, audit), "ioctl", [0, command, 0, 0, 0, 0]);
        for command in [0x5412, 0x541c] {
            for high in [0, 0xdead_beef_0000_0000, 1 << 32, 1 << 63] {
                assert_eq!(ioctl(command | high), EPERM, "{high:x}");
            }
        }
        // TCGETS, TIOCGPGRP, TIOCSPGRP, TIOCGWINSZ, FIONREAD, FIOCLEX.
        for command in [0x5401, 0x540f, 0x5410, 0x5413, 0x541b, 0x5451, 0x5412_0000_0000] {
            assert_eq!(ioctl(command), Verdict::Allowed, "{command:x}");
        }
    });
}

#[test]
fn sockets_are_of_four_families() {
    each_filter(|filter, arch, audit, _| {
        for name in ["socket", "socketpair"] {
            let socket = |family, protocol| {
                ask_by_name(filter, (arch, audit), name, [family, 0x8_0001, protocol, 0, 0, 0])
            };
            for family in 0..=256 {
                let allowed = [1, 2, 10, 16].contains(&family);
                let answer = if allowed { Verdict::Allowed } else { EAFNOSUPPORT };
                assert_eq!(socket(family, 0), answer, "{family}");
                // The kernel takes the family for an int.
                assert_eq!(socket(family | 0xffff_ffff_0000_0000, 0), answer, "{family}");
            }
            for protocol in 1..=32 {
                assert_eq!(socket(16, protocol), EAFNOSUPPORT, "netlink {protocol}");
                assert_eq!(socket(2, protocol), Verdict::Allowed);
            }
        }
    });
}

/// Two programs never refuse the same call, so their order decides nothing.
#[test]
fn the_order_of_the_programs_does_not_matter() {
    each_filter(|filter, arch, audit, _| {
        let mut reversed = filter.clone();
        reversed.programs.reverse();
        for (_, number) in arch.calls() {
            for arguments in argument_classes().into_iter().step_by(7) {
                let call = Call { arch: audit, number: *number, arguments };
                assert_eq!(ask(filter, call), ask(&reversed, call), "{call:x?}");
            }
        }
    });
}

/// The search by number is this crate's own; what `seccompiler` makes of the same lists is the measure.
#[test]
fn the_search_by_number_answers_as_the_lists_of_seccompiler_do() {
    each_filter(|filter, arch, audit, keeper| {
        let answers = answers(arch, keeper);
        let list = |answer: SeccompAction, otherwise: SeccompAction| {
            let numbers = answers.iter().filter(|(_, listed)| **listed == answer);
            let listed = numbers.map(|(number, _)| (i64::from(*number), Vec::new())).collect();
            let program = SeccompFilter::new(listed, otherwise, answer.clone(), arch.target()).unwrap();
            written("list", &program.try_into().unwrap())
        };
        let lists = Filter {
            programs: vec![
                list(SeccompAction::Allow, SeccompAction::Errno(38)),
                list(SeccompAction::Errno(1), SeccompAction::Allow),
            ],
        };
        let search = &filter.programs[0];
        for number in (0..2000).chain((0..600).map(|number| number | 0x4000_0000)).chain([u32::MAX]) {
            for arch in [audit, audit ^ 1, I386] {
                let call = Call { arch, number, arguments: [0; 6] };
                assert_eq!(ask_one(search, call), ask(&lists, call), "{call:x?}");
            }
        }
    });
}

/// The kernel asks a program about every number when it is installed, twice for each sandbox.
#[test]
fn the_programs_are_short() {
    each_filter(|filter, arch, _, keeper| {
        let instructions: usize = filter.programs.iter().map(Program::instructions).sum();
        assert!(instructions < 500, "{arch:?} {keeper:?}: {instructions}");
    });
}

#[test]
fn each_program_lets_the_next_one_be_installed() {
    each_filter(|filter, arch, audit, _| {
        for program in &filter.programs {
            for name in ["prctl", "seccomp"] {
                let call =
                    Call { arch: audit, number: arch.number(name).unwrap(), arguments: [22, 2, 0, 0, 0, 0] };
                assert_eq!(ask_one(program, call), Verdict::Allowed, "{} {name}", program.name);
            }
        }
    });
}

/// A call that every program answers alike, whatever its arguments, costs next to nothing: the kernel works that out once, when
/// a program is installed (`seccomp_cache_prepare`, Linux 5.11), as long as nothing but number and architecture is looked at.
#[test]
fn only_the_calls_with_a_rule_have_their_arguments_looked_at() {
    each_filter(|filter, arch, audit, keeper| {
        let mut with_rules = vec!["clone", "ioctl", "personality", "socket", "socketpair"];
        if keeper == MemoryKeeper::Watcher {
            with_rules.push("setsockopt");
        }
        for (name, number) in arch.calls() {
            let call = Call { arch: audit, number: *number, arguments: [0; 6] };
            let looked = filter.programs.iter().any(|program| looks_at_arguments(program, call));
            assert_eq!(looked, with_rules.contains(name), "{arch:?} {name}");
        }
    });
}

#[test]
fn the_kernel_would_take_each_program() {
    each_filter(|filter, arch, _, keeper| {
        assert_eq!(filter.programs.len(), 3);
        for program in &filter.programs {
            assert!(is_acceptable(program), "{arch:?} {keeper:?} {}", program.name);
            let mut truncated = program.clone();
            truncated.code.truncate(truncated.code.len() - 8);
            assert!(!is_acceptable(&truncated), "{}", program.name);
        }
    });
}

#[test]
fn errors_have_the_numbers_of_their_names() {
    for (errno, number) in [(Errno::NotPermitted, 1), (Errno::NoSuchCall, 38), (Errno::NoSuchFamily, 97)] {
        assert_eq!(errno.number(), number, "{}", errno.name());
    }
}
