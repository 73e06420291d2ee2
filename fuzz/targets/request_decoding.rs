//! `POST /execute`: any bytes as a body, decoded and checked as the daemon does it.
//!
//! Never a panic, and never a deep stack: bodies that nest are decoded on one of 128 KiB, where recursion over untrusted
//! nesting ends the process. A job that comes out is within every bound of the contract; a refusal says why, and briefly.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use executor::intake::{Ceilings, Problem, bounds, check, decode, is_execution_id};
use executor::job::{Job, Place};

/// A stack that overflows leaves nobody to write the input down, so it is written down before. scripts/fuzz says where.
static DEEP_INPUT: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os("FUZZ_DEEP_INPUT").map(PathBuf::from));

const SMALL_STACK: usize = 128 * 1024;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let nesting = body.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if nesting < 200 {
        return examine(body);
    }
    if let Some(path) = &*DEEP_INPUT {
        std::fs::write(path, body).expect("the directory for inputs can be written to");
    }
    std::thread::scope(|scope| {
        let small = std::thread::Builder::new().stack_size(SMALL_STACK);
        let examined = small.spawn_scoped(scope, || examine(body)).expect("a thread can be started");
        examined.join().expect("a panic ends the process");
    });
    if let Some(path) = &*DEEP_INPUT {
        std::fs::remove_file(path).expect("it was just written");
    }
});

fn examine(body: &[u8]) {
    let ceilings = Ceilings::default();
    match decode(body).and_then(|raw| check(raw, &ceilings)) {
        Ok(job) => {
            within_bounds(&job, &ceilings);
            let again = decode(body).and_then(|raw| check(raw, &ceilings)).expect("it was accepted before");
            assert!(job.fingerprint == again.fingerprint, "a retry of the same bytes is another request");
        }
        Err(problems) => told(&problems),
    }
}

fn told(problems: &[Problem]) {
    assert!((1..=101).contains(&problems.len()), "{} problems", problems.len());
    for Problem { field, message } in problems {
        assert!(!field.is_empty() && !message.is_empty());
        assert!(field.len() + message.len() < 1000, "{field}: {message}");
    }
}

fn within_bounds(job: &Job, ceilings: &Ceilings) {
    let (program, limits) = (&job.program, &job.limits);
    assert!((1..=bounds::CODE_BYTES).contains(&program.code.len()));
    assert!((bounds::TIMEOUT_MINIMUM..=bounds::TIMEOUT_MAXIMUM).contains(&limits.wall.as_secs_f64()));
    if let Some(cpu) = limits.cpu {
        assert!((bounds::CPU_SECONDS_MINIMUM..=bounds::CPU_SECONDS_MAXIMUM).contains(&cpu.as_secs_f64()));
    }
    assert!(limits.memory <= ceilings.memory && limits.memory.as_mib() >= bounds::MEMORY_MB_MINIMUM);
    assert!((1..=ceilings.processes).contains(&limits.processes));
    assert!(limits.open_files <= ceilings.open_files && limits.tmp == ceilings.tmp);
    assert!(limits.file_size <= ceilings.file_size && limits.output <= ceilings.output);
    assert!(is_execution_id(&program.execution_id), "{:?}", program.execution_id);
    if let Place::Session(id) = &job.place {
        assert!(id.len() <= 64 && !id.contains(['/', '.', '\0']), "{id:?}");
    }
    assert!(serde_json::from_str::<&serde_json::value::RawValue>(program.event.get()).is_ok());

    let env = &program.env;
    let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(env.len() <= bounds::ENV_VARS && bytes <= bounds::ENV_BYTES);
    for (name, value) in env {
        let mut letters = name.bytes();
        let first = letters.next().expect("a name has a letter");
        assert!(first.is_ascii_alphabetic() || first == b'_', "{name:?}");
        assert!(letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{name:?}");
        assert!(!value.contains('\0'), "{name} holds NUL");
    }

    assert!(program.files.len() <= bounds::FILES);
    for file in &program.files {
        let parts = || file.path.split('/');
        assert!(file.path.len() <= bounds::PATH_BYTES && !file.path.contains('\0'), "{:?}", file.path);
        assert!(parts().all(|part| !["", ".", ".."].contains(&part)), "{:?}", file.path);
        assert!(parts().all(|part| part.len() <= bounds::PATH_PART_BYTES), "{:?}", file.path);
    }
}
