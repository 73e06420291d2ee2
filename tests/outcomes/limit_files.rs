//! Files: how large one may get, how many may be open, and how much the file systems in memory hold.

use conformance::Settings;
use serde_json::{Value, json};

use crate::ask::{assert_end, assert_limit, assert_says, run_all, shown, wide};

fn one_mb() -> Value {
    json!({ "limits": { "max_file_mb": 1 } })
}

#[test]
fn a_file_that_grows_too_large_hits_the_file_limit_in_each_language() {
    let daemon = wide();
    let results = run_all(
        &daemon,
        &[
            ("python", "def handler(event): open('big', 'wb').write(bytes(2 << 20))", one_mb()),
            (
                "python",
                "import os\ndef handler(event): os.truncate(os.open('big', os.O_CREAT | os.O_RDWR), 1 << 40)",
                one_mb(),
            ),
            (
                "python",
                "import os\ndef handler(event): os.posix_fallocate(os.open('big', os.O_CREAT | os.O_RDWR), 0, 2 << 20)",
                one_mb(),
            ),
            (
                "javascript",
                "exports.handler = () => require('fs').writeFileSync('big', Buffer.alloc(2 << 20))",
                one_mb(),
            ),
            ("javascript", "require('fs').promises.writeFile('big', Buffer.alloc(2 << 20))", one_mb()),
            ("shell", "dd if=/dev/zero of=big bs=64k count=32 2>/dev/null", one_mb()),
            ("shell", "head -c 2M /dev/zero > big", one_mb()),
            ("shell", "truncate -s 1T big", one_mb()),
        ],
    );
    for result in &results {
        assert_limit(result, "file_limit", 1.0, 1.0);
        let size = result["artifacts"][0]["size"].as_u64().unwrap_or(0);
        assert!(size <= 1 << 20, "{}", shown(result));
    }
}

#[test]
fn a_file_of_just_the_limit_is_written() {
    let daemon = wide();
    let results = run_all(
        &daemon,
        &[
            ("python", "def handler(event): return open('big', 'wb').write(bytes(1 << 20))", one_mb()),
            ("shell", "head -c 1M /dev/zero > big", one_mb()),
        ],
    );
    for result in &results {
        assert_end(result, "success", 0, "exit");
        assert_eq!(result["artifacts"][0]["size"], 1 << 20);
    }
}

#[test]
fn too_many_open_files_are_an_error_that_the_program_sees() {
    let daemon = wide();
    let more = || json!({ "limits": { "max_open_files": 64 } });
    let results = run_all(
        &daemon,
        &[
            (
                "python",
                "import errno\ndef handler(event):\n  held = []\n  try:\n    while True: held.append(open('/dev/null'))\n  \
                 except OSError as error: return [error.errno == errno.EMFILE, len(held) < 64]",
                more(),
            ),
            (
                "javascript",
                "exports.handler = () => { const held = []; try { for (;;) held.push(require('fs').openSync('/dev/null')) } \
                 catch (error) { return [error.code === 'EMFILE', held.length < 64] } }",
                more(),
            ),
            ("python", "held = []\nwhile True: held.append(open('/dev/null'))", more()),
            (
                "javascript",
                "const held = []; for (;;) held.push(require('fs').openSync('/dev/null'))",
                more(),
            ),
            ("shell", "for i in {1..100}; do exec {fd}</dev/null || exit 9; done", more()),
        ],
    );
    for result in &results[..2] {
        assert_eq!(result["return_value"], json!([true, true]), "{}", shown(result));
    }
    assert_end(&results[2], "failed", 1, "exception");
    assert_says(&results[2], "stderr", &["Too many open files"]);
    assert_end(&results[3], "failed", 1, "exception");
    assert_says(&results[3], "stderr", &["EMFILE"]);
    assert_eq!(results[4]["status"], "failed", "{}", shown(&results[4]));
    assert_says(&results[4], "stderr", &["Too many open files"]);
}

#[test]
fn the_file_systems_in_memory_are_full_at_their_size() {
    let daemon = Settings::new().set("MAX_TMP_MB", 4).start();
    let code = "import errno, os\n\
                def fill(folder):\n  written = 0\n  try:\n    with open(folder + '/full', 'wb', 0) as file:\n      \
                while True: written += file.write(bytes(1 << 16))\n  except OSError as error:\n    \
                return [error.errno == errno.ENOSPC, written]\n\
                def handler(event): return [fill('/tmp'), fill('/dev/shm')]";
    let result = daemon.run("python", code);
    assert_end(&result, "success", 0, "exit");
    for place in result["return_value"].as_array().unwrap() {
        assert_eq!(place[0], true, "{}", shown(&result));
        let written = place[1].as_u64().unwrap();
        assert!((3 << 20..=4 << 20).contains(&written), "{}", shown(&result));
    }
    let shell = daemon.run("shell", "head -c 8M /dev/zero > /tmp/full");
    assert_end(&shell, "failed", 1, "exit");
    assert_says(&shell, "stderr", &["No space left on device"]);
}
