//! XR-06: a thousand runs, a third of them hostile, and the machine is as it was before.
//!
//! Each kind of run has one way to end, whatever runs beside it. A control plane is told of each of them once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use conformance::{INTERNAL_TOKEN, Settings, can, is_root, leaves, processes};
use control_plane_mock::{Kind, Mock, Options};
use serde_json::{Value, json};

const RUNS: usize = 500;
const SIDE_BY_SIDE: usize = 4;

/// For the last of the results, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a run is, and how it must end.
#[derive(Debug, Clone, Copy)]
struct Sort {
    language: &'static str,
    code: &'static str,
    limits: fn() -> Value,
    end: (&'static str, &'static str),
}

const WELL_BEHAVED: [Sort; 4] = [
    Sort { language: "shell", code: "echo fine", limits: none, end: ("success", "exit") },
    Sort { language: "python", code: "print('fine')", limits: none, end: ("success", "exit") },
    Sort { language: "shell", code: "echo fine | cat", limits: none, end: ("success", "exit") },
    Sort { language: "javascript", code: "console.log('fine')", limits: none, end: ("success", "exit") },
];

const HOSTILE: [Sort; 5] = [
    Sort {
        language: "python",
        code: "import os\nwhile True: os.fork()",
        limits: || json!({ "max_processes": 10 }),
        end: ("error", "process_limit"),
    },
    Sort {
        language: "python",
        code: "held = []\nwhile True: held.append(bytearray(b'x') * (4 << 20))",
        limits: || json!({ "memory_mb": 64 }),
        end: ("error", "memory_limit"),
    },
    Sort {
        language: "shell",
        code: "yes >&2 & yes",
        limits: || json!({ "max_output_bytes": 10_000 }),
        end: ("error", "output_limit"),
    },
    Sort {
        language: "shell",
        code: "trap '' TERM HUP INT QUIT\n\
               (setsid bash -c 'trap \"\" TERM HUP INT QUIT; exec <&- >&- 2>&-; sleep 1000; sleep 1000' &)\n\
               setsid sleep 1000 &\n\
               echo fine",
        limits: none,
        end: ("success", "exit"),
    },
    Sort {
        language: "python",
        code: "import os\nfor _ in range(300): os.mkdir('d'); os.chdir('d')\nopen('file', 'w').close()\nprint('fine')",
        limits: none,
        end: ("success", "exit"),
    },
];

fn none() -> Value {
    json!({})
}

/// Every third is hostile.
fn sort(number: usize) -> Sort {
    if number % 3 == 2 {
        HOSTILE[number / 3 % HOSTILE.len()]
    } else {
        WELL_BEHAVED[number / 3 % WELL_BEHAVED.len()]
    }
}

fn id(number: usize) -> String {
    format!("exec_thousand_{number:03}")
}

fn request(number: usize) -> Value {
    let Sort { language, code, limits, .. } = sort(number);
    json!({
        "execution_id": id(number), "language": language, "code": code, "mode": "script", "limits": limits(),
        "timeout": 60, "workspace": "fresh",
    })
}

// XR-06
#[test]
fn five_hundred_runs_that_the_kernel_holds_leave_the_machine_as_it_was() {
    if can(is_root(), "only root may make cgroups here") {
        let leaves = run_them(Settings::new());
        assert!(!leaves.is_empty(), "no run had a cgroup");
    }
}

// XR-06
#[test]
fn five_hundred_runs_that_the_daemon_watches_leave_the_machine_as_it_was() {
    if can(is_root(), "only root can hide cgroups") {
        let leaves = run_them(Settings::new().without_cgroups());
        assert_eq!(leaves, BTreeSet::new());
    }
}

/// Runs them, checks all there is to check, and gives back the cgroups that were seen meanwhile.
fn run_them(settings: Settings) -> BTreeSet<PathBuf> {
    let mock = Mock::start(Options { token: Some(INTERNAL_TOKEN.to_owned()), ..Options::default() }).unwrap();
    let daemon = settings
        .set("EXECUTOR_CONCURRENCY", SIDE_BY_SIDE)
        .set("ARTIFACT_RETENTION_SECONDS", 0)
        .calling(&mock)
        .start();
    let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let seen = thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::SeqCst) {
                seen.extend(leaves(daemon.pid()));
                thread::sleep(Duration::from_millis(20));
            }
            seen
        });
        let callers: Vec<_> = (0..SIDE_BY_SIDE)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        if number >= RUNS {
                            break;
                        }
                        ends_as_it_must(number, &daemon.execute(&request(number)).result());
                    }
                })
            })
            .collect();
        let ended: Vec<_> = callers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::SeqCst);
        let seen = watching.join().unwrap();
        ended.into_iter().for_each(|ended| ended.unwrap());
        seen
    });
    daemon.eventually("no process is left", |daemon| processes::below(daemon.pid()).is_empty());
    daemon.eventually("no cgroup is left", |daemon| {
        // The last ones that were begun have been seen, and wait for a run.
        let waiting: Vec<_> =
            processes::standbys(daemon.pid()).into_iter().flat_map(processes::leaf_names).collect();
        seen.iter().all(|leaf| !leaf.exists() || waiting.iter().any(|name| leaf.ends_with(name)))
    });
    daemon.eventually("no workspace is left", |daemon| {
        names(&daemon.home().join("sessions/.fresh")).is_empty()
    });
    each_is_reported_once(&mock);
    daemon.eventually("no result waits on disk", |daemon| names(&daemon.results()).is_empty());
    assert!(daemon.events("cleanup_failed").is_empty(), "{}", daemon.log());
    assert!(daemon.events("execution_failed").is_empty(), "{}", daemon.log());
    // Descriptors, mounts, threads and memory: the harness looks at them when the daemon ends.
    drop(daemon);
    assert_eq!(mock.violations(), Vec::<String>::new());
    seen
}

fn ends_as_it_must(number: usize, result: &Value) {
    let Sort { end: (status, cause), .. } = sort(number);
    let stdout = result["stdout"].as_str().unwrap();
    let ended = (&result["status"], &result["cause"]) == (&json!(status), &json!(cause));
    assert!(ended && (status != "success" || stdout == "fine\n"), "{}: {result:#.2000}", request(number));
    assert_eq!(result["execution_id"], id(number));
}

fn each_is_reported_once(mock: &Mock) {
    let counted = || {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for call in mock.calls().iter().filter(|call| call.kind == Kind::Result && call.accepted) {
            *counts.entry(call.execution_id.clone().unwrap()).or_default() += 1;
        }
        counts
    };
    mock.wait_for(PATIENCE, |calls| {
        let accepted = calls.iter().filter(|call| call.kind == Kind::Result && call.accepted);
        (accepted.count() >= RUNS).then_some(())
    });
    let expected: BTreeMap<String, usize> = (0..RUNS).map(|number| (id(number), 1)).collect();
    assert_eq!(counted(), expected);
}

fn names(directory: &Path) -> Vec<std::ffi::OsString> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).collect()
}
