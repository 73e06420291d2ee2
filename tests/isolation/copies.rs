//! Sandboxes that are made of copies of a fork server: that a program can't tell them from those that bubblewrap builds, and that
//! nothing of the server or of another copy is in one.
//!
//! The rest of this suite runs in such sandboxes, too, wherever its daemons have a pool and a `/proc` of their own.

use std::time::Duration;

use conformance::processes::{fork_server, signal};
use conformance::{Daemon, Settings, can, is_root};
use serde_json::{Value, json};

use crate::support::{outside, probe};

/// A daemon that forks; `None` where nobody can see whether it does.
fn that_forks(settings: Settings) -> Option<Daemon> {
    if !can(is_root(), "a fork server: only root can choose a host that allows it") {
        return None;
    }
    let daemon = settings.set("POOL_PYTHON", 2).with_the_most().start();
    assert_eq!(fork_server(daemon.pid()).len(), 4, "{}", daemon.log());
    Some(daemon)
}

fn value(daemon: &Daemon, code: &str, more: Value) -> Value {
    let mut request = json!({ "language": "python", "code": code, "workspace": "fresh" });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let result = daemon.execute(&request).result();
    assert_eq!(result["status"], "success", "{result:#}");
    result["return_value"].clone()
}

// PN-01, PN-02
#[test]
fn a_program_cannot_tell_a_copy_from_a_sandbox_that_bubblewrap_built() {
    let Some(forks) = that_forks(Settings::new()) else { return };
    let builds = Settings::new().set("POOL_PYTHON", 2).set("FORK_SERVER", "off").with_the_most().start();
    assert!(fork_server(builds.pid()).is_empty());
    let look = |daemon: &Daemon| {
        let result = daemon.execute(&probe!("sandbox.py").request(&json!({}))).result();
        serde_json::from_str::<Value>(result["stdout"].as_str().unwrap())
            .unwrap_or_else(|error| panic!("{error}: {result:#}"))
    };
    let (copy, built) = (look(&forks), look(&builds));
    for (name, built) in built.as_object().unwrap() {
        assert_eq!(&copy[name], built, "{name}");
    }
    let control = outside(probe!("sandbox.py"), &json!({}));
    assert_ne!(control["status"], copy["status"]);
    assert_ne!(control["mounts"], copy["mounts"]);
}

/// What programs leave to the interpreter's end.
const ENDINGS: [(&str, &str); 11] = [
    ("a file that nobody closed", "left = open('left.txt', 'w'); left.write('kept')"),
    ("the same, in a module of the workspace", "import mine; mine.left.write('kept')"),
    (
        "the same, in a circle",
        "class Ring: pass\nring = Ring(); ring.ring = ring; ring.left = open('left.txt', 'w'); ring.left.write('kept')",
    ),
    (
        "functions for the end",
        "import atexit\natexit.register(print, 'first'); atexit.register(print, 'second', flush=False)",
    ),
    (
        "a file that nobody closed, in a program that knows itself as a path",
        "import pathlib\n__file__ = pathlib.Path(__file__)\nleft = open('left.txt', 'w'); left.write('kept')",
    ),
    (
        "a module that is none",
        "import sys\nclass None_: __slots__ = (); __file__ = '/code/x'\nsys.modules['x'] = None_()",
    ),
    ("a program that nobody can import", "import sys\ndel sys.modules['__main__']\nsys.modules = None"),
    ("a finalizer", "class Last:\n  def __del__(self): print('finalized')\nlast = Last()"),
    (
        "a thread",
        "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.2), print('late'))).start()",
    ),
    (
        "a thread that is not waited for",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    ),
    ("the C library's buffer", "import ctypes\nctypes.CDLL(None).printf(b'from C'); print('from Python')"),
];

#[test]
fn a_program_in_a_copy_ends_as_the_interpreter_would_end_it() {
    let Some(forks) = that_forks(Settings::new()) else { return };
    let builds = Settings::new().set("POOL_PYTHON", 2).set("FORK_SERVER", "off").with_the_most().start();
    for (name, code) in ENDINGS {
        for (mode, code) in
            [("script", code.to_owned()), ("handler", format!("{code}\ndef handler(event): return 7"))]
        {
            let end = |daemon: &Daemon| {
                let request = json!({
                    "language": "python", "mode": mode, "code": code, "workspace": "fresh",
                    "files": [{ "path": "mine.py", "content": "left = open('left.txt', 'w')" }],
                });
                let result = daemon.execute(&request).result();
                let artifacts: Vec<_> = result["artifacts"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|artifact| {
                        (artifact["path"].clone(), artifact["size"].clone(), artifact["sha256"].clone())
                    })
                    .filter(|(path, ..)| path == "left.txt")
                    .collect();
                let seen = ["status", "cause", "exit_code", "stdout", "stderr", "return_value"]
                    .map(|field| result[field].clone());
                (seen, artifacts)
            };
            let (forked, built) = (end(&forks), end(&builds));
            assert_eq!(forked, built, "{name}, as a {mode}");
            assert_eq!(forked.0[0], "success", "{name}: {forked:?}");
        }
    }
}

#[test]
fn a_library_that_a_program_loaded_is_ended_with_it() {
    let Some(daemon) = that_forks(Settings::new()) else { return };
    let code = "import ctypes\nlibc = ctypes.CDLL(None)\ngetattr(libc, '__cxa_atexit')(ctypes.cast(libc.malloc_stats, ctypes.c_void_p), None, None)";
    let request = json!({ "language": "python", "mode": "script", "code": code, "workspace": "fresh" });
    let result = daemon.execute(&request).result();
    assert!(result["stderr"].as_str().unwrap().contains("system bytes"), "{result:#}");
    assert_eq!(result["status"], "success");
}

/// Looks for a word in everything that it may read of its own memory. The word is not in the program as such.
const SEARCH: &str = "
def handler(event):
    word, found = bytes(event['halves'][0] + event['halves'][1], 'ascii'), []
    with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb', 0) as memory:
        for line in maps:
            place, rights = line.split()[:2]
            start, end = (int(part, 16) for part in place.split('-'))
            if rights[0] == 'r' and '[v' not in line:
                memory.seek(start)
                try:
                    found += [line] if word in memory.read(end - start) else []
                except OSError:
                    pass
    # Its own copy of the word is one of them.
    del word
    return found
";

// FS-05
#[test]
fn the_memory_of_a_copy_holds_nothing_of_another_run() {
    let Some(daemon) = that_forks(Settings::new()) else { return };
    let marker = "c2VjcmV0-of-another-run";
    let (left, right) = marker.split_at(9);
    let before = json!({
        "event": { "secret": marker }, "env_vars": { "SECRET": marker }, "stdin": marker, "session_id": marker,
        "files": [{ "path": marker, "content": marker }],
    });
    for _ in 0..3 {
        let mut request =
            json!({ "language": "python", "code": format!("def handler(e): return '{marker}'") });
        request.as_object_mut().unwrap().extend(before.as_object().unwrap().clone());
        let result = daemon.execute(&request).result();
        assert_eq!(result["return_value"], marker, "{result:#}");
    }
    let search = |more: Value| value(&daemon, SEARCH, more).as_array().unwrap().len();
    // It knows the word by searching for it, in one place at least; whoever has it from elsewhere, in more.
    let halves = json!([left, right]);
    let alone = search(json!({ "event": { "halves": halves } }));
    let told = search(
        json!({ "event": { "halves": halves, "whole": [marker, format!("{marker}.")] }, "env_vars": { "WHOLE": marker } }),
    );
    assert!(alone <= 1, "{alone}");
    assert!(told > alone, "the search finds nothing: {told}, {alone}");
}

/// The seed of their hashes they do share, as docs/isolation.md says.
#[test]
fn copies_share_no_random_state() {
    let Some(daemon) = that_forks(Settings::new().set("PRELOAD_PYTHON", "random, ssl, uuid, numpy")) else {
        return;
    };
    let code = "
import random, ssl, sys, uuid
was_there = 'numpy' in sys.modules
import numpy
def handler(event):
    return [was_there, random.random(), ssl.RAND_bytes(16).hex(), str(uuid.uuid4()), numpy.random.rand()]";
    let [first, second] = [(); 2].map(|()| value(&daemon, code, json!({})));
    for index in 1..5 {
        assert_ne!(first[index], second[index], "{first} {second}");
    }
    assert_eq!([&first[0], &second[0]], [true, true], "it was preloaded");
}

#[test]
fn a_fork_server_that_dies_is_replaced_and_no_run_is_refused() {
    let Some(daemon) = that_forks(Settings::new()) else { return };
    let server = fork_server(daemon.pid());
    signal("KILL", &server[3..]);
    // Whoever is given a sandbox in the moment of its death is told to try again.
    daemon.eventually("its copies have ended with it", |daemon| fork_server(daemon.pid()).is_empty());
    for _ in 0..10 {
        assert_eq!(value(&daemon, "def handler(e): return e", json!({ "event": 1 })), 1);
    }
    daemon.eventually("another serves", |daemon| {
        // It is seen when somebody asks.
        value(daemon, "def handler(e): return e", json!({ "event": 1 }));
        let now = fork_server(daemon.pid());
        now.len() == 4 && now != server
    });
    let reasons: Vec<Value> = daemon.events("fork_server_retired");
    assert_eq!(reasons.len(), 1, "{reasons:?}");
}

#[test]
fn the_end_of_a_fork_server_ends_its_copies() {
    let Some(daemon) = that_forks(Settings::new()) else { return };
    let server = fork_server(daemon.pid());
    let result = std::thread::scope(|scope| {
        let run = scope.spawn(|| daemon.run("python", "import time\ntime.sleep(60)"));
        daemon.eventually("it runs", |daemon| daemon.get("/health").json()["active_executions"] == 1);
        std::thread::sleep(Duration::from_millis(300));
        signal("KILL", &server[3..]);
        run.join().unwrap()
    });
    assert_eq!(
        (&result["status"], &result["cause"]),
        (&json!("error"), &json!("sandbox_error")),
        "{result:#}"
    );
    assert_eq!(value(&daemon, "def handler(e): return e", json!({ "event": 1 })), 1);
}
