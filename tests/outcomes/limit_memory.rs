//! `memory_mb`: what all processes of a run hold together, whichever way they got it.

use serde_json::{Value, json};

use crate::ask::{assert_end, assert_limit, run, run_all, shown, wide};

const LIMIT: u64 = 128;

fn limited() -> Value {
    json!({ "limits": { "memory_mb": LIMIT }, "timeout": 20 })
}

fn limited_script() -> Value {
    json!({ "limits": { "memory_mb": LIMIT }, "timeout": 20, "mode": "script" })
}

/// 20 children, each of which runs `hold` to get a quarter of the limit, and keeps it.
fn children(hold: &str) -> String {
    format!(
        "import ctypes, mmap, os, time\n\
         size = {LIMIT} * 1024 * 1024 // 4\n\
         for _ in range(20):\n  \
           if os.fork() == 0:\n    \
             {hold}\n    \
             time.sleep(60)\n\
         time.sleep(60)"
    )
}

#[test]
fn a_heap_that_grows_without_end_hits_the_memory_limit_in_each_language() {
    let daemon = wide();
    let results = run_all(
        &daemon,
        &[
            (
                "python",
                "def handler(event):\n  held = []\n  while True: held.append(bytearray(b'x') * (10 << 20))",
                limited(),
            ),
            ("python", "def handler(event):\n  held = []\n  while True: held.append(object())", limited()),
            ("python", "def handler(event): return len(bytearray(1 << 40))", limited()),
            // What a system call refuses is an OSError, no MemoryError, and may come before anything was held.
            (
                "python",
                "import mmap\ndef handler(event): mmap.mmap(-1, 1 << 40, mmap.MAP_PRIVATE)",
                limited(),
            ),
            (
                "javascript",
                "exports.handler = () => { const held = []; for (;;) held.push(Buffer.alloc(10 << 20, 1)) }",
                limited(),
            ),
            ("shell", "head -c 4G /dev/zero | tail | wc -c; exit ${PIPESTATUS[1]}", limited()),
            ("shell", "printf -v x %1000000s; while :; do held+=(\"$x\"); done", limited()),
        ],
    );
    for result in &results {
        assert_limit(result, "memory_limit", LIMIT as f64, 0.0);
    }
}

#[test]
fn a_javascript_heap_that_grows_hits_the_memory_limit() {
    let daemon = wide();
    let code =
        "exports.handler = () => { const held = []; for (let i = 0;; i++) held.push({ i, text: 'x' + i }) }";
    let result = run(&daemon, "javascript", code, &limited());
    assert_limit(&result, "memory_limit", LIMIT as f64, 0.0);
}

#[test]
fn children_share_one_memory_limit_whatever_kind_of_memory_they_hold() {
    let daemon = wide();
    for hold in [
        "held = bytearray(b'x') * size",
        // Shared mappings are nobody's private pages.
        "held = mmap.mmap(-1, size); [held.write(bytes(4096)) for _ in range(size // 4096)]",
        // PR_SET_DUMPABLE: its /proc files become somebody else's.
        "ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); held = bytearray(b'x') * size",
    ] {
        let result = run(&daemon, "python", &children(hold), &limited_script());
        assert_limit(&result, "memory_limit", LIMIT as f64, 1.0);
    }
}

#[test]
fn mappings_that_each_child_shares_with_nobody_add_up() {
    let daemon = wide();
    // Little that is private, and no single process near the limit.
    let code = "import mmap, os, time\n\
                for _ in range(4):\n  \
                  if os.fork() == 0:\n    \
                    held = mmap.mmap(-1, 60 << 20)\n    \
                    for _ in range(60 << 8): held.write(bytes(4096))\n    \
                    time.sleep(60)\n\
                time.sleep(60)";
    let more = json!({ "limits": { "memory_mb": LIMIT }, "timeout": 3, "mode": "script" });
    assert_limit(&run(&daemon, "python", code, &more), "memory_limit", LIMIT as f64, 1.0);
}

#[test]
fn a_child_that_is_refused_memory_makes_a_failing_parent_a_memory_limit() {
    let daemon = wide();
    let code = "import subprocess, sys\n\
                subprocess.run([sys.executable, '-c', 'x = bytearray(b\"x\") * (100 << 20); x += x'], check=True)";
    let result = run(&daemon, "python", code, &limited_script());
    assert!(["error", "failed"].contains(&result["status"].as_str().unwrap()), "{}", shown(&result));
}

#[test]
fn pages_that_forks_share_count_once() {
    let daemon = wide();
    let code = "import os, time\n\
                held = bytearray(b'x') * (80 << 20)\n\
                children = []\n\
                for _ in range(5):\n  pid = os.fork()\n  if pid == 0:\n    time.sleep(0.5)\n    os._exit(0)\n  children.append(pid)\n\
                for pid in children: os.waitpid(pid, 0)\n\
                os._exit(3)";
    let result = run(&daemon, "python", code, &limited_script());
    assert_end(&result, "failed", 3, "exit");
    let peak = result["metrics"]["peak_memory_mb"].as_f64().unwrap();
    assert!((80.0..=LIMIT as f64).contains(&peak), "{}", shown(&result));
}

#[test]
fn a_program_within_its_memory_limit_is_left_alone() {
    let daemon = wide();
    let results = run_all(
        &daemon,
        &[
            ("python", "def handler(event): return len(bytearray(b'x') * (80 << 20))", limited()),
            ("javascript", "exports.handler = () => Buffer.alloc(60 << 20, 1).length", limited()),
            ("shell", "head -c 60M /dev/zero | tail | wc -c", limited()),
        ],
    );
    for result in &results {
        assert_end(result, "success", 0, "exit");
    }
}
