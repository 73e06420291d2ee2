//! `max_processes`: processes and threads of a run, its own budget.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ask::{assert_end, assert_limit, run, run_all, shown, wide};

const LIMIT: u32 = 20;

fn limited() -> Value {
    json!({ "limits": { "max_processes": LIMIT }, "timeout": 3, "mode": "script" })
}

// RS-02, RS-03
#[test]
fn a_fork_bomb_hits_the_process_limit_and_its_neighbour_does_not_notice() {
    let daemon = wide();
    std::thread::scope(|scope| {
        let bomb = scope.spawn(|| run(&daemon, "python", "import os\nwhile True: os.fork()", &limited()));
        let neighbour = run(&daemon, "shell", "echo hello | cat", &Value::Null);
        assert_eq!(neighbour["stdout"], "hello\n", "{}", shown(&neighbour));
        assert_limit(&bomb.join().unwrap(), "process_limit", LIMIT.into(), 0.5);
    });
}

// RS-03
#[test]
fn a_fork_bomb_of_bash_never_passes_its_limit_and_ends_on_time() {
    let daemon = wide();
    let asked = Instant::now();
    let more = json!({ "limits": { "max_processes": LIMIT }, "timeout": 2 });
    // bash tries each refused fork again, for longer than this timeout.
    let result = run(&daemon, "shell", "f() { f | f & }; f; sleep 60", &more);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_end(&result, "timeout", -1, "wall_timeout");
    let loops = run(&daemon, "shell", "for i in {1..100}; do sleep 60 & done; wait", &more);
    assert_end(&loops, "timeout", -1, "wall_timeout");
}

// RS-04
#[test]
fn a_thread_bomb_hits_the_process_limit() {
    let daemon = wide();
    let python = "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=[60], daemon=True).start()";
    let stubborn =
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=[60]).start()";
    let results = run_all(&daemon, &[("python", python, limited()), ("python", stubborn, limited())]);
    for result in &results {
        assert_limit(result, "process_limit", LIMIT.into(), 0.5);
    }
}

// RS-04
#[test]
fn workers_and_children_of_node_hit_the_process_limit() {
    let daemon = wide();
    let spawn = "const { spawn } = require('child_process'); setInterval(() => spawn('sleep', ['60']), 1);";
    let sync = "const { spawnSync, spawn } = require('child_process');\n\
                for (let i = 0; i < 18; i++) spawn('sleep', ['60']);\n\
                for (;;) { const { error } = spawnSync('bash', ['-c', 'sleep 60 & sleep 60 & true'], { stdio: 'ignore' }); if (error) throw error }";
    // A worker is a heap of its own, and many of them would be the memory limit: children use the budget up first.
    let workers = "const { spawn } = require('child_process'); const { Worker } = require('worker_threads');\n\
                   let full = false;\n\
                   const fill = () => { if (full) return new Worker('0', { eval: true });\n  \
                     spawn('sleep', ['60']).on('error', () => { full = true }); setImmediate(fill) };\n\
                   fill()";
    for code in [spawn, workers] {
        let more = json!({ "limits": { "max_processes": LIMIT }, "timeout": 10 });
        let result = run(&daemon, "javascript", code, &more);
        assert_limit(&result, "process_limit", LIMIT.into(), 0.5);
    }
    let more = json!({ "limits": { "max_processes": LIMIT }, "timeout": 2 });
    let result = run(&daemon, "javascript", sync, &more);
    assert!(["error", "timeout"].contains(&result["status"].as_str().unwrap()), "{}", shown(&result));
}

#[test]
fn a_program_within_its_process_limit_is_left_alone() {
    let daemon = wide();
    let code = "import subprocess\n\
                children = [subprocess.Popen(['sleep', '0.2']) for _ in range(15)]\n\
                print(sum(child.wait() for child in children))";
    let result = run(&daemon, "python", code, &limited());
    assert_end(&result, "success", 0, "exit");
    let shell =
        run(&daemon, "shell", "echo a | cat | cat | cat", &json!({ "limits": { "max_processes": 5 } }));
    assert_end(&shell, "success", 0, "exit");
}

#[test]
fn one_process_is_enough_to_run() {
    let daemon = wide();
    let more = || json!({ "limits": { "max_processes": 1 }, "timeout": 10 });
    let results = run_all(
        &daemon,
        &[
            ("python", "def handler(event): return 1", more()),
            ("javascript", "exports.handler = () => 1", more()),
            ("shell", "echo 1", more()),
        ],
    );
    for result in &results {
        assert_end(result, "success", 0, "exit");
    }
}
