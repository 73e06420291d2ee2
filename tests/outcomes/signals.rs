//! Programs start with no signal blocked or ignored, whatever the daemon does with its own.

use serde_json::{Value, json};

use crate::ask::{run, run_all, shown, wide};

/// glibc keeps them for itself, and has posix_spawn ignore them in each child.
const INTERNAL: u64 = 0b11 << 31;
const SIGPIPE: u64 = 1 << 12;
const SIGXFSZ: u64 = 1 << 24;

// LC-10
#[test]
fn a_pipe_whose_reader_has_left_kills_its_writer() {
    let daemon = wide();
    let code = "yes | head -1; echo ${PIPESTATUS[*]}";
    let shell = run(&daemon, "shell", code, &Value::Null);
    assert_eq!(shell["stdout"], "y\n141 0\n", "{}", shown(&shell));
    let python = format!(
        "import subprocess\nprint(subprocess.run(['bash', '-c', {code:?}], capture_output=True, text=True).stdout, end='')"
    );
    let node = format!(
        "console.log(require('child_process').execFileSync('bash', ['-c', {code:?}]).toString().trim())"
    );
    let results = run_all(
        &daemon,
        &[("python", &python, json!({ "mode": "script" })), ("javascript", &node, Value::Null)],
    );
    for result in &results {
        assert_eq!(result["stdout"], "y\n141 0\n", "{}", shown(result));
    }
}

// LC-10
#[test]
fn no_signal_is_blocked_or_ignored() {
    let daemon = wide();
    let results = run_all(
        &daemon,
        &[
            ("shell", "cat /proc/self/status", Value::Null),
            ("python", "print(open('/proc/self/status').read())", json!({ "mode": "script" })),
            (
                "python",
                "import subprocess\nsubprocess.run(['cat', '/proc/self/status'])",
                json!({ "mode": "script" }),
            ),
            (
                "javascript",
                "console.log(require('fs').readFileSync('/proc/self/status', 'utf8'))",
                Value::Null,
            ),
            (
                "javascript",
                "require('child_process').spawnSync('cat', ['/proc/self/status'], { stdio: 'inherit' })",
                Value::Null,
            ),
        ],
    );
    for result in &results {
        let set = |name: &str| {
            let lines = result["stdout"].as_str().unwrap().lines();
            let hex = lines.filter_map(|line| line.strip_prefix(name)).next().unwrap();
            u64::from_str_radix(hex.trim(), 16).unwrap()
        };
        assert_eq!(set("SigBlk:"), 0, "{}", shown(result));
        // CPython and node ignore these two themselves, and give them back to their children.
        let own = if result["stdout"].as_str().unwrap().contains("Name:\tpython3")
            || result["stdout"].as_str().unwrap().contains("Name:\tnode")
        {
            SIGPIPE | SIGXFSZ
        } else {
            0
        };
        assert_eq!(set("SigIgn:") & !(own | INTERNAL), 0, "{}", shown(result));
    }
}
