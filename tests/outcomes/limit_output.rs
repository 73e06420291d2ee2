//! `max_output_bytes`: what is kept of a stream, and the flood that ends a run.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ask::{assert_end, assert_limit, run, run_all, shown, wide};

const LIMIT: u64 = 100_000;

fn limited() -> Value {
    json!({ "limits": { "max_output_bytes": LIMIT } })
}

// RS-13
#[test]
fn beyond_the_limit_head_and_tail_are_kept_and_the_run_succeeds() {
    let daemon = wide();
    // 100,000 lines of 11 bytes.
    for stream in ["stdout", "stderr"] {
        let python = format!("import sys\nfor n in range(100000): sys.{stream}.write(f'{{n:010}}\\n')");
        let node = format!(
            "for (let n = 0; n < 100000; n++) process.{stream}.write(String(n).padStart(10, '0') + '\\n')"
        );
        let shell = format!("seq -f %010.0f 0 99999 {}", if stream == "stderr" { ">&2" } else { "" });
        let script = || json!({ "limits": { "max_output_bytes": LIMIT }, "mode": "script" });
        let results = run_all(
            &daemon,
            &[("python", &python, script()), ("javascript", &node, limited()), ("shell", &shell, limited())],
        );
        for result in &results {
            assert_end(result, "success", 0, "exit");
            let text = result[stream].as_str().unwrap();
            assert!(text.len() as u64 <= LIMIT, "{}", text.len());
            assert!(
                text.starts_with("0000000000\n0000000001\n") && text.ends_with("0000099998\n0000099999\n")
            );
            assert!(text.contains("1100000 bytes in all"), "{}", shown(result));
            assert_eq!(result[format!("{stream}_truncated")], true);
            assert_eq!(result[format!("{stream}_bytes_total")], 1_100_000);
            let other = if stream == "stdout" { "stderr" } else { "stdout" };
            assert_eq!(result[format!("{other}_truncated")], false);
            assert_eq!(result[format!("{other}_bytes_total")], 0);
        }
    }
}

#[test]
fn output_of_just_the_limit_is_whole() {
    let daemon = wide();
    let result = run(&daemon, "shell", &format!("head -c {LIMIT} /dev/zero | tr '\\0' x"), &limited());
    assert_eq!(result["stdout"].as_str().unwrap().len() as u64, LIMIT);
    assert_eq!((&result["stdout_truncated"], &result["stdout_bytes_total"]), (&json!(false), &json!(LIMIT)));
}

// RS-13
#[test]
fn a_flood_ends_the_run_on_either_stream() {
    let daemon = wide();
    let asked = Instant::now();
    let results = run_all(
        &daemon,
        &[
            ("shell", "yes", limited()),
            ("shell", "yes >&2", limited()),
            ("shell", "yes >&2 & yes", limited()),
            ("python", "import os\nwhile True: os.write(1, b'x' * 65536)", limited()),
            ("javascript", "for (;;) process.stdout.write('x'.repeat(65536))", limited()),
        ],
    );
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    for result in &results {
        assert_limit(result, "output_limit", LIMIT as f64, 64.0);
        for stream in ["stdout", "stderr"] {
            // The sentence that says why comes after what the program wrote.
            let kept = result[stream].as_str().unwrap().len() as u64;
            assert!(kept <= LIMIT + 500, "{stream}: {kept}");
        }
    }
}
