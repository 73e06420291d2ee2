//! RS: what a program can use up, and that nobody else notices.

use std::fs;
use std::time::{Duration, Instant};

use conformance::{Daemon, Settings};
use serde_json::{Value, json};

use crate::support::{
    assert_all_allowed, assert_all_refused, canary, errno, inside, outside, outside_through, probe,
};

/// Runs a script of this language and returns the result, whatever it is.
fn script(daemon: &Daemon, language: &str, code: &str, more: &Value) -> Value {
    let mut request = json!({ "language": language, "code": code, "mode": "script", "workspace": "fresh" });
    request.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    daemon.execute(&request).result()
}

// RS-08
#[test]
fn no_limit_can_be_raised_again() {
    let daemon = Daemon::default_settings();
    let seen = inside(&daemon, probe!("limits.py"), &Value::Null);
    let mut raised = seen["raised"].clone();
    // Where soft and hard are the same, there is nothing in between.
    raised.as_object_mut().unwrap().retain(|what, _| !what.ends_with("to hard"));
    assert_all_refused(&raised);
    for (name, expected) in [
        ("RLIMIT_NOFILE", 1024),
        ("RLIMIT_FSIZE", 100 << 20),
        ("RLIMIT_DATA", 512 << 20),
        ("RLIMIT_CORE", 1),
        ("RLIMIT_STACK", 8 << 20),
        ("RLIMIT_MEMLOCK", 64 << 10),
        ("RLIMIT_SIGPENDING", 4096),
        ("RLIMIT_MSGQUEUE", 800 << 10),
        // The sandbox's own two come on top.
        ("RLIMIT_NPROC", 128 + 2),
    ] {
        assert_eq!(seen["limits"][name], json!([expected, expected]), "{name}");
    }
    let shell = script(&daemon, "shell", "ulimit -Hn 4096; ulimit -Hn; ulimit -Sn", &Value::Null);
    assert_eq!(shell["stdout"], "1024\n1024\n", "{shell:#}");

    // With a soft limit below the hard one, which is what the sandbox must not leave, raising it again works.
    let control =
        outside_through(&["/usr/bin/prlimit", "--nofile=256:512"], probe!("limits.py"), &Value::Null);
    assert_eq!(control["limits"]["RLIMIT_NOFILE"], json!([256, 512]));
    assert_eq!(control["raised"]["RLIMIT_NOFILE to hard"], json!({}), "{control:#}");
}

// RS-10, bounded: no option of bubblewrap's counts inodes, so the time limit and the removal are what holds.
#[test]
fn a_flood_of_empty_files_ends_with_the_run_and_is_removed() {
    let daemon = Settings::new().set("ARTIFACT_RETENTION_SECONDS", 0).start();
    let code = "import os, itertools\n\
                for place in ('/tmp', '/dev/shm', '.'):\n\
                \x20   for i in range(20_000):\n\
                \x20       os.close(os.open(f'{place}/{i:0200}', os.O_CREAT | os.O_WRONLY))";
    let result = script(&daemon, "python", code, &Value::Null);
    assert_eq!(result["status"], "success", "{result:#}");
    assert_eq!(result["artifacts"].as_array().unwrap().len(), 1000);
    assert_eq!(result["artifacts_truncated"], true);
    let fresh = daemon.home().join("sessions/.fresh");
    daemon.eventually("the workspace is removed", |_| fs::read_dir(&fresh).unwrap().next().is_none());
}

// RS-11
#[test]
fn one_file_cannot_grow_past_its_limit() {
    let daemon = Daemon::default_settings();
    let limit = json!({ "limits": { "max_file_mb": 4 } });
    for (language, code) in [
        ("python", "open('big', 'wb').write(bytes(5 << 20))"),
        ("python", "import os; os.posix_fallocate(os.open('big', os.O_CREAT | os.O_RDWR), 0, 5 << 20)"),
        ("javascript", "require('fs').writeFileSync('big', Buffer.alloc(5 << 20))"),
        ("shell", "head -c 5M /dev/zero >big"),
    ] {
        let result = script(&daemon, language, code, &limit);
        assert_eq!(
            (&result["status"], &result["cause"]),
            (&json!("error"), &json!("file_limit")),
            "{code}: {result:#}"
        );
        for artifact in result["artifacts"].as_array().unwrap() {
            assert!(artifact["size"].as_u64().unwrap() <= 4 << 20, "{artifact}");
        }
    }
    let within = script(&daemon, "shell", "head -c 4M /dev/zero >big", &limit);
    assert_eq!(within["status"], "success", "{within:#}");
}

// RS-12
#[test]
fn a_sparse_giant_is_refused_and_a_sparse_file_stays_within_the_budget_for_hashing() {
    let daemon = Daemon::default_settings();
    let giant = script(&daemon, "shell", "truncate -s 1T big", &Value::Null);
    assert_eq!(giant["cause"], "file_limit", "{giant:#}");
    let began = Instant::now();
    let sparse = script(&daemon, "shell", "truncate -s 100M big", &Value::Null);
    assert_eq!(sparse["artifacts"][0]["size"], 100 << 20, "{sparse:#}");
    // The daemon's budgets for walking and hashing, 2 s and 5 s, and the run itself.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

// RS-17
#[test]
fn open_files_end_at_their_limit_and_the_daemon_keeps_its_own() {
    let daemon = Daemon::default_settings();
    let code = "import errno\n\
                opened = []\n\
                try:\n\
                \x20   while True: opened.append(open('/dev/null'))\n\
                except OSError as error:\n\
                \x20   print(errno.errorcode[error.errno], len(opened))";
    let result = script(&daemon, "python", code, &json!({ "limits": { "max_open_files": 64 } }));
    let stdout = result["stdout"].as_str().unwrap();
    let count: u32 = stdout.trim().strip_prefix("EMFILE ").unwrap().parse().unwrap();
    assert!((50..64).contains(&count), "{stdout}");
}

// RS-19
#[test]
fn a_crash_leaves_no_core() {
    let daemon = Daemon::default_settings();
    let secret = canary("CORE");
    let code = format!("secret='{secret}'; ulimit -c; kill -SEGV $$");
    let request = json!({ "language": "shell", "code": code, "session_id": "s" });
    let result = daemon.execute(&request).result();
    assert_eq!((&result["cause"], &result["exit_code"]), (&json!("signal"), &json!(139)), "{result:#}");
    assert_eq!(result["artifacts"], json!([]));
    let asked = json!({ "canary": secret, "places": ["/workspace", "/tmp", "/dev/shm"] });
    let found = daemon.execute(&probe!("find.py").in_session("s", &asked)).result();
    assert_eq!(crate::support::answer(&found)["found"], json!([]), "{found:#}");
}

// RS-20, bounded
#[test]
fn kernel_objects_run_out_inside_and_not_outside() {
    let daemon = Daemon::default_settings();
    let seen = inside(&daemon, probe!("objects.py"), &Value::Null);
    for object in ["files", "epolls", "timers", "maps", "locks"] {
        assert!(seen[object]["made"].as_u64().unwrap() > 0, "{object}: {seen:#}");
    }
    assert!(errno(&seen["files"]).is_some(), "{seen:#}");
    assert!(errno(&seen["timers"]).is_some(), "{seen:#}");
    let again = inside(&daemon, probe!("objects.py"), &Value::Null);
    for object in ["files", "epolls", "timers"] {
        let [first, second] = [&seen, &again].map(|seen| seen[object]["made"].as_u64().unwrap());
        assert!(second * 10 > first * 9, "{object}: {first}, then {second}");
    }
    let control = outside(probe!("objects.py"), &Value::Null);
    assert!(control["timers"]["made"].as_u64() > seen["timers"]["made"].as_u64(), "{control:#}");
    assert_all_allowed(&json!({ "timers": control["timers"] }));
}

// RS-21
#[test]
fn endless_recursion_ends_the_program_and_nothing_else() {
    let daemon = Daemon::default_settings();
    for (language, code) in [
        ("python", "def f(): f()\nf()"),
        ("python", "import sys\nsys.setrecursionlimit(10**9)\nf = lambda: [f() for _ in 'x']\nf()"),
        ("javascript", "(function f() { f(); })()"),
        // What each call costs bash grows with their number: with more of the stack for each it takes 2 s instead of 20.
        ("shell", "f() { eval 'eval f'; }; f"),
        ("python", "import ctypes\nctypes.CDLL(None).memset(ctypes.c_char_p(0), 1, 1 << 30)"),
    ] {
        let result = script(&daemon, language, code, &json!({ "timeout": 20 }));
        let status = result["status"].as_str().unwrap();
        assert!(["failed", "error"].contains(&status), "{code}: {result:#}");
        assert_ne!(result["cause"], "sandbox_error", "{code}: {result:#}");
    }
}

// RS-22
#[test]
fn expensive_expressions_end_at_the_timeout_and_bombs_at_the_size() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 2).start();
    let second = json!({ "timeout": 1 });
    for (language, code) in [
        ("python", "10**10**8 % 7"),
        ("python", "import re; re.match('(a+)+$', 'a' * 40 + 'b')"),
        ("javascript", "/(a+)+$/.test('a'.repeat(40) + 'b')"),
    ] {
        let result = script(&daemon, language, code, &second);
        assert_eq!(result["cause"], "wall_timeout", "{code}: {result:#}");
        assert!(result["execution_time"].as_f64().unwrap() < 1.5, "{result:#}");
    }
    let bomb = "import errno, zlib\n\
                packed = zlib.compress(bytes(80 << 20))\n\
                try:\n\
                \x20   open('/tmp/out', 'wb', buffering=0).write(zlib.decompress(packed))\n\
                \x20   open('/tmp/out', 'ab', buffering=0).write(b'more')\n\
                except OSError as error:\n\
                \x20   print(errno.errorcode[error.errno])";
    let result = script(&daemon, "python", bomb, &Value::Null);
    assert_eq!(result["status"], "success", "{result:#}");
    assert_eq!(result["stdout"], "ENOSPC\n", "{result:#}");
}
