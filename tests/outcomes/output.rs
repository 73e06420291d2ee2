//! stdout and stderr: to the byte, in any amount, without a deadlock.

use serde_json::{Value, json};

use crate::ask::{assert_end, run, run_all, shown, wide};

/// Numbers of eight digits, so that a missing or doubled byte shows.
fn pattern(bytes: usize) -> String {
    (0..bytes / 9).map(|n| format!("{n:08}\n")).collect()
}

fn script() -> Value {
    json!({ "mode": "script" })
}

// RS-14
#[test]
fn megabytes_arrive_to_the_byte() {
    let daemon = wide();
    for mib in [1_usize, 4] {
        let lines = (mib << 20) / 9;
        let python = format!("import sys\nsys.stdout.write(''.join(f'{{n:08}}\\n' for n in range({lines})))");
        let node = format!(
            "let text = ''; for (let n = 0; n < {lines}; n++) text += String(n).padStart(8, '0') + '\\n'; process.stdout.write(text)"
        );
        let shell = format!("seq -f %08.0f 0 {}", lines - 1);
        let results = run_all(
            &daemon,
            &[("python", &python, script()), ("javascript", &node, script()), ("shell", &shell, Value::Null)],
        );
        for result in &results {
            assert_end(result, "success", 0, "exit");
            assert!(result["stdout"] == pattern(mib << 20), "{}", shown(result));
            assert_eq!(result["stdout_truncated"], false);
        }
    }
}

#[test]
fn ten_mebibytes_are_kept_whole() {
    let daemon = wide();
    let code = "import sys\nsys.stdout.write('0123456789abcde\\n' * (10 * 1024 * 1024 // 16))";
    let result = run(&daemon, "python", code, &script());
    assert_end(&result, "success", 0, "exit");
    assert!(result["stdout"] == "0123456789abcde\n".repeat(10 * 1024 * 1024 / 16));
    assert_eq!(
        (&result["stdout_truncated"], &result["stdout_bytes_total"]),
        (&json!(false), &json!(10 * 1024 * 1024))
    );
}

#[test]
fn what_is_printed_before_exit_is_not_cut_off() {
    let daemon = wide();
    let results = run_all(
        &daemon,
        &[
            ("javascript", "process.stdout.write('x'.repeat(3 << 20)); process.exit(0)", script()),
            (
                "javascript",
                "exports.handler = () => { process.stdout.write('x'.repeat(3 << 20)); return 1 }",
                Value::Null,
            ),
            ("javascript", "process.stdout.write('x'.repeat(3 << 20)); throw new Error('late')", script()),
            ("python", "import sys\nprint('x' * (3 << 20), end='')\nsys.exit(0)", script()),
        ],
    );
    for result in &results {
        assert_eq!(result["stdout"].as_str().unwrap().len(), 3 << 20, "{}", shown(result));
    }
}

// RS-16
#[test]
fn neither_stream_blocks_the_other_nor_does_unread_input() {
    let daemon = wide();
    let unread = "x".repeat(2 << 20);
    let with_stdin = |more: Value| {
        let mut more = more;
        more["stdin"] = unread.clone().into();
        more["timeout"] = 20.into();
        more
    };
    let python = "import sys\nsys.stderr.write('e' * (1 << 20))\nsys.stdout.write('o' * (1 << 20))";
    let reverse = "import sys\nsys.stdout.write('o' * (1 << 20))\nsys.stdout.flush()\nsys.stderr.write('e' * (1 << 20))";
    let shell = "head -c 1M /dev/zero | tr '\\0' e >&2; head -c 1M /dev/zero | tr '\\0' o";
    let node = "process.stderr.write('e'.repeat(1 << 20)); process.stdout.write('o'.repeat(1 << 20))";
    let results = run_all(
        &daemon,
        &[
            ("python", python, with_stdin(script())),
            ("python", reverse, with_stdin(script())),
            ("shell", shell, with_stdin(json!({}))),
            ("javascript", node, with_stdin(json!({}))),
        ],
    );
    for result in &results {
        assert_end(result, "success", 0, "exit");
        assert_eq!(result["stdout"].as_str().unwrap(), "o".repeat(1 << 20));
        assert_eq!(result["stderr"].as_str().unwrap(), "e".repeat(1 << 20));
    }
}

// RC-12
#[test]
fn bytes_that_are_not_text_are_replaced_and_the_rest_is_intact() {
    let daemon = wide();
    let code = "import os\nos.write(1, b'start ' + bytes(range(256)) + ' é😀 end'.encode())\nos.write(2, b'a\\xf0\\x9f b\\x00c')";
    let result = run(&daemon, "python", code, &script());
    let mut bytes = b"start ".to_vec();
    bytes.extend(0..=255);
    bytes.extend(" é😀 end".as_bytes());
    assert_eq!(result["stdout"].as_str().unwrap(), String::from_utf8_lossy(&bytes));
    assert_eq!(result["stderr"], "a\u{FFFD} b\0c");
    assert_eq!(result["stdout_bytes_total"].as_u64().unwrap(), bytes.len() as u64);
}

// RC-12
#[test]
fn characters_survive_being_written_in_pieces() {
    let daemon = wide();
    // One byte first, so that no power of two is ever the end of a character.
    let code = "import os\ndata = b'.' + '😀'.encode() * (1 << 18)\n\
                while data: data = data[os.write(1, data[:65536]):]\n\
                for byte in '😀é'.encode(): os.write(2, bytes([byte]))";
    let result = run(&daemon, "python", code, &script());
    assert!(result["stdout"] == format!(".{}", "😀".repeat(1 << 18)), "{}", shown(&result));
    assert_eq!(result["stderr"], "😀é");
}

// RS-15
#[test]
fn nul_bytes_and_endless_lines_are_output_like_any_other() {
    let daemon = wide();
    let results = run_all(
        &daemon,
        &[
            ("shell", "head -c 100000 /dev/zero", Value::Null),
            ("shell", "head -c 16M /dev/zero | tr '\\0' x", Value::Null),
        ],
    );
    assert_eq!(results[0]["stdout"], "\0".repeat(100_000));
    assert_eq!(
        (&results[1]["stdout_truncated"], &results[1]["stdout_bytes_total"]),
        (&json!(true), &json!(16 << 20))
    );
    assert_end(&results[1], "success", 0, "exit");
}

#[test]
fn a_program_may_close_its_streams() {
    let daemon = wide();
    let results = run_all(
        &daemon,
        &[
            ("shell", "exec >&- 2>&- <&-; sleep 0.1; exit 4", Value::Null),
            ("python", "import os\nos.closerange(0, 3)\nos._exit(4)", script()),
            (
                "javascript",
                "const fs = require('fs'); [0, 1, 2].forEach((fd) => fs.closeSync(fd)); process.exit(4)",
                script(),
            ),
        ],
    );
    for result in &results {
        assert_end(result, "failed", 4, "exit");
    }
}
