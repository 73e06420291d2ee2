//! The policy as tables: each cause, and which question is asked first where several have an answer.

use std::time::Duration;

use super::*;
use crate::channel::null;
use crate::limits::{Bytes, Limits};

const SIGSEGV: i32 = 11;

/// A program that was run, used little and exited with 0.
fn fine() -> ExitFacts {
    ExitFacts {
        language: Language::Python,
        limits: Limits {
            wall: Duration::from_secs(30),
            cpu: Some(Duration::from_secs(2)),
            memory: Bytes::mib(100),
            processes: 10,
            open_files: 64,
            file_size: Bytes::mib(5),
            tmp: Bytes::mib(5),
            output: Bytes(1000),
        },
        killed: None,
        exit_code: Some(0),
        end: Some(End::Exited(0)),
        started: true,
        launch_failure: None,
        reported: Reported::Nothing,
        wall: Duration::from_secs(1),
        cpu: Duration::from_millis(10),
        peak_memory: Bytes::mib(10),
        out_of_memory: None,
        peak_tasks: 1,
    }
}

fn exited(code: i32) -> ExitFacts {
    ExitFacts { exit_code: Some(code), end: Some(End::Exited(code)), ..fine() }
}

fn died(signal: i32) -> ExitFacts {
    ExitFacts { exit_code: Some(128 + signal), end: Some(End::Signaled(signal)), ..fine() }
}

/// bubblewrap reports a status only where the sandbox's init could; killed from outside it could not.
fn killed(kill: Kill) -> ExitFacts {
    ExitFacts { killed: Some(kill), exit_code: None, end: None, ..fine() }
}

fn value() -> Reported {
    Reported::Value(null())
}

fn error(kind: ErrorKind, limit: Option<InnerLimit>) -> Reported {
    Reported::Error { kind, limit }
}

fn exception() -> Reported {
    error(ErrorKind::Exception, None)
}

fn short(facts: &ExitFacts) -> (Status, i32, Cause) {
    let outcome = judge(facts);
    (outcome.status, outcome.exit_code, outcome.cause)
}

#[test]
fn each_way_to_end_has_its_status_exit_code_and_cause() {
    use Cause as C;
    use Status as S;
    let mib = Bytes::mib;
    let second = Duration::from_secs;
    let table = [
        ("exit 0", fine(), (S::Success, 0, C::Exit)),
        ("a value", ExitFacts { reported: value(), ..fine() }, (S::Success, 0, C::Exit)),
        ("garbage", ExitFacts { reported: Reported::Garbage, ..fine() }, (S::Success, 0, C::Exit)),
        ("exit 3", exited(3), (S::Failed, 3, C::Exit)),
        ("exit 3 after a value", ExitFacts { reported: value(), ..exited(3) }, (S::Failed, 3, C::Exit)),
        ("exit 137", exited(137), (S::Failed, 137, C::Exit)),
        ("a signal", died(SIGSEGV), (S::Failed, 139, C::Signal)),
        ("SIGKILL from inside", died(SIGKILL), (S::Failed, 137, C::Signal)),
        ("SIGXCPU without reason", died(SIGXCPU), (S::Failed, 152, C::Signal)),
        ("an exception", ExitFacts { reported: exception(), ..exited(1) }, (S::Failed, 1, C::Exception)),
        (
            "no handler",
            ExitFacts { reported: error(ErrorKind::NoHandler, None), ..exited(1) },
            (S::Failed, 1, C::Exception),
        ),
        (
            "not JSON",
            ExitFacts { reported: error(ErrorKind::Result, None), ..exited(1) },
            (S::Failed, 1, C::Exception),
        ),
        (
            "an input file",
            ExitFacts { reported: error(ErrorKind::Input, None), ..exited(1) },
            (S::Failed, 1, C::Exception),
        ),
        (
            "an error, then exit 0",
            ExitFacts { reported: exception(), ..fine() },
            (S::Failed, 1, C::Exception),
        ),
        (
            "timeout",
            killed(Kill::WallTimeout { observed: Duration::from_millis(30_010) }),
            (S::Timeout, -1, C::WallTimeout),
        ),
        ("CPU, watched", killed(Kill::Cpu { observed: second(3) }), (S::Error, -1, C::CpuLimit)),
        ("CPU, the kernel's", ExitFacts { cpu: second(4), ..died(SIGXCPU) }, (S::Error, -1, C::CpuLimit)),
        (
            "CPU, the kernel's last",
            ExitFacts { cpu: second(4), ..died(SIGKILL) },
            (S::Error, -1, C::CpuLimit),
        ),
        ("memory, watched", killed(Kill::Memory { observed: mib(101) }), (S::Error, -1, C::MemoryLimit)),
        (
            "memory, the kernel's",
            ExitFacts { out_of_memory: Some(mib(104)), ..died(SIGKILL) },
            (S::Error, -1, C::MemoryLimit),
        ),
        (
            "memory, the kernel's, and everybody was killed",
            ExitFacts { out_of_memory: Some(mib(104)), exit_code: None, end: None, ..fine() },
            (S::Error, -1, C::MemoryLimit),
        ),
        (
            "memory, the kernel's, and the program went on without the killed process",
            ExitFacts { out_of_memory: Some(mib(104)), reported: value(), ..fine() },
            (S::Error, -1, C::MemoryLimit),
        ),
        (
            "memory, refused inside",
            ExitFacts { reported: error(ErrorKind::Exception, Some(InnerLimit::Memory)), ..exited(1) },
            (S::Error, -1, C::MemoryLimit),
        ),
        ("memory, full", ExitFacts { peak_memory: mib(95), ..died(SIGSEGV) }, (S::Error, -1, C::MemoryLimit)),
        ("memory, nearly full", ExitFacts { peak_memory: mib(94), ..exited(1) }, (S::Failed, 1, C::Exit)),
        ("memory, full and fine", ExitFacts { peak_memory: mib(99), ..fine() }, (S::Success, 0, C::Exit)),
        (
            "processes, refused inside",
            ExitFacts { reported: error(ErrorKind::Exception, Some(InnerLimit::Processes)), ..exited(1) },
            (S::Error, -1, C::ProcessLimit),
        ),
        ("processes, all used", ExitFacts { peak_tasks: 10, ..exited(1) }, (S::Error, -1, C::ProcessLimit)),
        ("processes, nearly all used", ExitFacts { peak_tasks: 9, ..exited(1) }, (S::Failed, 1, C::Exit)),
        ("processes, all used and fine", ExitFacts { peak_tasks: 10, ..fine() }, (S::Success, 0, C::Exit)),
        ("a file, the kernel's", died(SIGXFSZ), (S::Error, -1, C::FileLimit)),
        (
            "a file, refused inside",
            ExitFacts { reported: error(ErrorKind::Exception, Some(InnerLimit::FileSize)), ..exited(1) },
            (S::Error, -1, C::FileLimit),
        ),
        ("output", killed(Kill::Output { observed: 64_001 }), (S::Error, -1, C::OutputLimit)),
        ("cancelled", killed(Kill::Stopped(Stop::Cancelled)), (S::Cancelled, -1, C::Cancelled)),
        ("shut down", killed(Kill::Stopped(Stop::DaemonShutdown)), (S::Error, -1, C::DaemonShutdown)),
        ("no word of bubblewrap's", ExitFacts { exit_code: None, ..fine() }, (S::Error, -1, C::SandboxError)),
    ];
    for (name, facts, expected) in table {
        assert_eq!(short(&facts), expected, "{name}");
    }
}

#[test]
fn what_the_daemon_did_comes_before_what_the_program_did_and_says() {
    let kills = [
        (Kill::WallTimeout { observed: Duration::from_secs(30) }, Cause::WallTimeout),
        (Kill::Cpu { observed: Duration::from_secs(3) }, Cause::CpuLimit),
        (Kill::Memory { observed: Bytes::mib(200) }, Cause::MemoryLimit),
        (Kill::Output { observed: 1 << 20 }, Cause::OutputLimit),
        (Kill::Stopped(Stop::Cancelled), Cause::Cancelled),
    ];
    for (kill, cause) in kills {
        for reported in [Reported::Nothing, value(), exception(), Reported::Garbage] {
            // It may even have ended by itself while it was being killed.
            for facts in [exited(0), exited(3), died(SIGXFSZ), killed(kill)] {
                let facts =
                    ExitFacts { killed: Some(kill), reported: reported.clone(), peak_tasks: 99, ..facts };
                assert_eq!(judge(&facts).cause, cause, "{facts:?}");
            }
        }
    }
}

#[test]
fn what_the_kernel_did_comes_before_what_the_program_says() {
    let claims = || error(ErrorKind::Exception, Some(InnerLimit::Memory));
    let file = ExitFacts { reported: claims(), ..died(SIGXFSZ) };
    assert_eq!(judge(&file).cause, Cause::FileLimit);
    let cpu = ExitFacts { reported: claims(), cpu: Duration::from_secs(4), ..died(SIGXCPU) };
    assert_eq!(judge(&cpu).cause, Cause::CpuLimit);
    // A claim explains a failure, and never makes a signal an exception.
    let signal = ExitFacts { reported: exception(), ..died(SIGSEGV) };
    assert_eq!(short(&signal), (Status::Failed, 139, Cause::Signal));
    // What was refused inside says more than how full it was outside.
    let both = ExitFacts {
        reported: error(ErrorKind::Exception, Some(InnerLimit::Processes)),
        peak_memory: Bytes::mib(100),
        ..exited(1)
    };
    assert_eq!(judge(&both).cause, Cause::ProcessLimit);
}

#[test]
fn killed_after_its_answer_a_run_is_what_it_answered() {
    let after = |reported| ExitFacts { reported, ..killed(Kill::Leftovers) };
    assert_eq!(short(&after(value())), (Status::Success, 0, Cause::Exit));
    assert_eq!(short(&after(exception())), (Status::Failed, 1, Cause::Exception));
    let refused = after(error(ErrorKind::Exception, Some(InnerLimit::Processes)));
    assert_eq!(short(&refused), (Status::Error, -1, Cause::ProcessLimit));
    let full = ExitFacts { peak_tasks: 10, ..after(value()) };
    assert_eq!(short(&full), (Status::Success, 0, Cause::Exit));
}

#[test]
fn bash_ends_like_its_last_command_and_others_do_not() {
    let shell = |facts| ExitFacts { language: Language::Shell, ..facts };
    assert_eq!(judge(&shell(exited(153))).cause, Cause::FileLimit);
    assert_eq!(short(&exited(153)), (Status::Failed, 153, Cause::Exit));
    let cpu = ExitFacts { cpu: Duration::from_secs(4), ..shell(exited(152)) };
    assert_eq!(judge(&cpu).cause, Cause::CpuLimit);
    for code in [137, 139, 152] {
        assert_eq!(short(&shell(exited(code))), (Status::Failed, code, Cause::Exit));
    }
}

#[test]
fn threads_of_the_interpreter_are_not_the_programs() {
    let own = crate::runtimes::own_threads(Language::Javascript);
    let node = |peak_tasks| ExitFacts { language: Language::Javascript, peak_tasks, ..exited(1) };
    assert_eq!(judge(&node(own + 9)).cause, Cause::Exit);
    let full = judge(&node(own + 10));
    assert_eq!(full.cause, Cause::ProcessLimit);
    assert_eq!(full.detail.unwrap().observed, Some(10.0));
}

#[test]
fn the_launcher_is_believed_where_bubblewrap_agrees() {
    let told = |exit_code, end| ExitFacts { exit_code: Some(exit_code), end, ..fine() };
    let table = [
        (told(139, Some(End::Signaled(11))), (Status::Failed, 139, Cause::Signal)),
        (told(139, Some(End::Exited(139))), (Status::Failed, 139, Cause::Exit)),
        // It was killed, or lies: then bubblewrap's number is read the way it writes it.
        (told(139, None), (Status::Failed, 139, Cause::Signal)),
        (told(139, Some(End::Exited(0))), (Status::Failed, 139, Cause::Signal)),
        (told(3, Some(End::Exited(0))), (Status::Failed, 3, Cause::Exit)),
        (told(0, Some(End::Signaled(9))), (Status::Success, 0, Cause::Exit)),
        (told(255, None), (Status::Failed, 255, Cause::Exit)),
    ];
    for (facts, expected) in table {
        assert_eq!(short(&facts), expected, "{facts:?}");
    }
}

#[test]
fn a_limit_is_told_in_the_unit_of_its_own_field_and_with_what_to_do() {
    let limit = |facts: &ExitFacts| {
        let detail = judge(facts).detail.unwrap();
        assert!(!detail.message.is_empty());
        (detail.limit, detail.observed, detail.message)
    };
    let timed_out = ExitFacts {
        wall: Duration::from_millis(30_010),
        ..killed(Kill::WallTimeout { observed: Duration::from_millis(30_010) })
    };
    let table = [
        (timed_out, 30.0, 30.01, "`timeout`"),
        (killed(Kill::Cpu { observed: Duration::from_millis(2500) }), 2.0, 2.5, "`limits.cpu_seconds`"),
        (killed(Kill::Memory { observed: Bytes(101 << 20) }), 100.0, 101.0, "`limits.memory_mb`"),
        (killed(Kill::Output { observed: 64_001 }), 1000.0, 64_001.0, "file"),
        (ExitFacts { peak_tasks: 12, ..exited(1) }, 10.0, 12.0, "`limits.max_processes`"),
        (died(SIGXFSZ), 5.0, 5.0, "`limits.max_file_mb`"),
    ];
    for (facts, expected, observed, advice) in table {
        let (limit, seen, message) = limit(&facts);
        assert_eq!((limit, seen), (Some(expected), Some(observed)), "{message}");
        assert!(message.contains(advice), "{message}");
    }
}

#[test]
fn a_run_that_never_was_has_an_outcome_too() {
    let outcome = sandbox_error("no room".into());
    assert_eq!((outcome.status, outcome.exit_code, outcome.cause), (Status::Error, -1, Cause::SandboxError));
    assert_eq!(outcome.detail.unwrap().message, "no room");
    assert_eq!(never_ran(Stop::Cancelled).cause, Cause::Cancelled);
    assert_eq!(never_ran(Stop::DaemonShutdown).cause, Cause::DaemonShutdown);
}

#[test]
fn a_program_that_never_began_is_not_blamed() {
    let launch_failure = Some("start the interpreter: not found".to_owned());
    let not_launched = ExitFacts { launch_failure, ..exited(1) };
    assert_eq!(short(&not_launched), (Status::Error, -1, Cause::SandboxError));
    let runtime_died = ExitFacts { started: false, ..exited(1) };
    assert_eq!(short(&runtime_died), (Status::Error, -1, Cause::SandboxError));
    let input_refused = ExitFacts { started: false, reported: error(ErrorKind::Input, None), ..exited(1) };
    assert_eq!(short(&input_refused), (Status::Failed, 1, Cause::Exception));
}
