//! AR: what of a workspace is listed, and what hostile things in it do not do.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use conformance::{Daemon, Settings};
use serde_json::{Value, json};

/// Runs Python in a session's workspace and returns the result.
fn in_session(daemon: &Daemon, session: &str, code: &str) -> Value {
    let request = json!({ "language": "python", "mode": "script", "code": code, "session_id": session });
    let result = daemon.execute(&request).result();
    assert_eq!(result["status"], "success", "{result:#}");
    result
}

/// Runs Python in a workspace of its own and returns the result.
fn fresh(daemon: &Daemon, code: &str) -> Value {
    let request =
        json!({ "language": "python", "mode": "script", "code": code, "workspace": "fresh", "timeout": 240 });
    let result = daemon.execute(&request).result();
    assert_eq!(result["status"], "success", "{result:#}");
    result
}

fn listed(result: &Value) -> Vec<&str> {
    let artifacts = result["artifacts"].as_array().unwrap().iter();
    artifacts.map(|artifact| artifact["path"].as_str().unwrap()).collect()
}

#[test]
fn a_nested_file_is_listed_with_all_there_is_to_know() {
    let daemon = Daemon::default_settings();
    let result = fresh(
        &daemon,
        "import os; os.makedirs('outputs/january'); open('outputs/january/report.pdf', 'w').write('%PDF')",
    );
    let [artifact] = result["artifacts"].as_array().unwrap().as_slice() else { panic!("{result:#}") };
    let mut artifact = artifact.clone();
    let created = artifact.as_object_mut().unwrap().remove("created_at").unwrap();
    assert!(created.as_str().unwrap().ends_with('Z'), "{created}");
    let expected = json!({
        "path": "outputs/january/report.pdf",
        "size": 4,
        "mime_type": "application/pdf",
        "type": "artifact",
        "change": "created",
        // printf %PDF | sha256sum
        "sha256": "315d429b7714cedb6ad04ac31240145257692630457f3c88253c5beceac76027",
    });
    assert_eq!(artifact, expected);
}

// AR-11
#[test]
fn each_change_is_told_whatever_the_times_of_the_file_say() {
    let daemon = Daemon::default_settings();
    in_session(
        &daemon,
        "s",
        "for name in ('same', 'rewritten', 'replaced', 'deleted', 'old'): open(name, 'w').write('1234')",
    );
    let result = in_session(
        &daemon,
        "s",
        "import os\n\
         kept = os.stat('rewritten')\n\
         open('rewritten', 'w').write('4321')\n\
         os.utime('rewritten', ns=(kept.st_atime_ns, kept.st_mtime_ns))\n\
         open('new', 'w').write('4321')\n\
         os.utime('new', ns=(kept.st_atime_ns, kept.st_mtime_ns))\n\
         os.rename('new', 'replaced')\n\
         os.unlink('deleted')\n\
         for when in (0, -1, 4294967296, 2**33): os.utime('old', (when, when))\n\
         open('created', 'w').close()",
    );
    let changes: Vec<_> = result["artifacts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|artifact| (artifact["path"].as_str().unwrap(), artifact["change"].as_str().unwrap()))
        .collect();
    let expected = [
        ("created", "created"),
        ("old", "modified"),
        ("replaced", "modified"),
        ("rewritten", "modified"),
        ("same", "unchanged"),
    ];
    assert_eq!(changes, expected, "{result:#}");
}

// AR-02, AR-03
#[test]
fn fifos_sockets_and_devices_are_passed_over() {
    let daemon = Daemon::default_settings();
    let began = Instant::now();
    let result = fresh(
        &daemon,
        "import os, socket, stat\n\
         os.mkfifo('out')\n\
         os.mkdir('d'); os.mkfifo('d/e')\n\
         socket.socket(socket.AF_UNIX).bind('s.sock')\n\
         for device in (os.makedev(0, 0), os.makedev(1, 3)):\n\
         \x20   try: os.mknod(f'c{device}', stat.S_IFCHR | 0o666, device); print('made', device)\n\
         \x20   except PermissionError: pass\n\
         open('file', 'w').close()",
    );
    assert_eq!(listed(&result), ["file"]);
    // A whiteout (0, 0) may be made by anybody since Linux 5.8; a device that leads somewhere may not.
    assert!(!result["stdout"].as_str().unwrap().contains("259"), "{result:#}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn symbolic_links_are_neither_followed_nor_listed() {
    let daemon = Daemon::default_settings();
    let outside = daemon.home().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    let code = format!(
        "import os\n\
         os.symlink('/etc/passwd', 'passwd')\n\
         os.symlink('/', 'root')\n\
         os.symlink('loop', 'loop')\n\
         os.mkdir('d'); os.symlink('..', 'd/up'); os.symlink('../file', 'd/file')\n\
         os.symlink('nowhere', 'dangling')\n\
         os.symlink({outside:?}, 'outside')\n\
         os.symlink({:?}, 'secret')\n\
         open('file', 'w').close()",
        outside.join("secret")
    );
    let result = in_session(&daemon, "s", &code);
    assert_eq!(listed(&result), ["file"]);
    // Nor when there is a link where a file was.
    let result = in_session(&daemon, "s", "import os; os.unlink('file'); os.symlink('/etc/passwd', 'file')");
    assert_eq!(listed(&result), Vec::<&str>::new());
}

// AR-06
/// The control: a reader that is not careful is led outside by the very same links.
#[test]
fn a_careless_reader_follows_the_links_of_a_workspace() {
    let daemon = Daemon::default_settings();
    let secret = daemon.home().join("secret");
    fs::write(&secret, "CANARY").unwrap();
    let code = format!("import os; os.symlink({:?}, 'secret')", secret.display().to_string());
    let result = in_session(&daemon, "s", &code);
    assert_eq!(listed(&result), Vec::<&str>::new(), "{result:#}");
    let link = daemon.home().join("sessions/s/secret");
    assert_eq!(fs::read_to_string(link).unwrap(), "CANARY");
}

// AR-06
#[test]
fn a_workspace_that_was_replaced_is_refused_and_nothing_behind_it_touched() {
    let daemon = Daemon::default_settings();
    let elsewhere = daemon.home().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("secret"), "secret").unwrap();
    in_session(&daemon, "s", "pass");
    let session = daemon.home().join("sessions/s");
    fs::remove_dir(&session).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &session).unwrap();
    let request = json!({ "language": "shell", "code": "cat secret; echo x >secret", "session_id": "s" });
    let result = daemon.execute(&request).result();
    assert_eq!(result["cause"], "sandbox_error", "{result:#}");
    assert_eq!(fs::read_to_string(elsewhere.join("secret")).unwrap(), "secret");

    let moved = daemon.home().join("moved");
    fs::rename(daemon.workspace(), &moved).unwrap();
    std::os::unix::fs::symlink(&elsewhere, daemon.workspace()).unwrap();
    let request = json!({ "language": "shell", "code": "cat secret; echo x >secret" });
    let result = daemon.execute(&request).result();
    assert_eq!(result["cause"], "sandbox_error", "{result:#}");
    assert_eq!(fs::read_to_string(elsewhere.join("secret")).unwrap(), "secret");
    fs::remove_file(daemon.workspace()).unwrap();
    fs::rename(moved, daemon.workspace()).unwrap();
}

// AR-08
#[test]
fn two_hundred_thousand_files_cost_a_bounded_answer_and_a_bounded_time() {
    let daemon = Daemon::default_settings();
    let code = "import os\nfor i in range(200_000): os.close(os.open(f'{i:06}', os.O_CREAT | os.O_WRONLY))";
    let began = Instant::now();
    let result = fresh(&daemon, code);
    let ran = Duration::from_secs_f64(result["execution_time"].as_f64().unwrap());
    assert_eq!(listed(&result).len(), 1000);
    assert_eq!(result["artifacts_truncated"], true);
    assert!(result.to_string().len() < 1 << 20);
    // Two walks of 2 s at most, and 5 s of hashing.
    assert!(began.elapsed() - ran < Duration::from_secs(10), "{:?} of {ran:?}", began.elapsed());
}

#[test]
fn a_thousand_files_are_listed_and_what_changed_comes_first() {
    let daemon = Daemon::default_settings();
    let whole = in_session(&daemon, "s", "for i in range(1000): open(f'old-{i:04}', 'w').close()");
    assert_eq!((listed(&whole).len(), &whole["artifacts_truncated"]), (1000, &json!(false)));
    let result = in_session(&daemon, "s", "open('zz-new', 'w').close()");
    assert_eq!((listed(&result).len(), &result["artifacts_truncated"]), (1000, &json!(true)));
    assert_eq!(listed(&result).last(), Some(&"zz-new"));
}

// AR-09, AR-15
#[test]
fn strange_names_are_listed_once_each_and_in_order() {
    let daemon = Daemon::default_settings();
    let names = [
        "new\nline",
        "carriage\rreturn",
        "tab\there",
        "\u{1b}[31mred",
        "quote\"",
        "back\\slash",
        "a..b.txt",
        "-rf",
        " space",
        "\u{202e}txt.exe",
        "😀",
        "%2e%2e%2f",
        "n\u{2400}l",
        "{\"level\":\"error\"}",
        &"x".repeat(255),
    ];
    let code = format!("for name in {}: open(name, 'w').close()", json!(names));
    let request = json!({
        "language": "python", "mode": "script", "code": code.replace("\\ud83d\\ude00", "😀"), "workspace": "fresh",
    });
    let result = daemon.execute(&request).result();
    let mut expected = names.to_vec();
    expected.sort_unstable();
    assert_eq!(listed(&result), expected, "{result:#}");
    for line in daemon.log().lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "not one event: {line}");
    }
}

// AR-10
#[test]
fn names_that_are_not_utf8_are_listed_replaced() {
    let daemon = Daemon::default_settings();
    let result =
        in_session(&daemon, "s", "for name in (b'\\xff\\xfe.bin', b'a\\x80b'): open(name, 'w').close()");
    assert_eq!(listed(&result), ["a\u{fffd}b", "\u{fffd}\u{fffd}.bin"]);
    let on_disk = fs::read_dir(daemon.home().join("sessions/s")).unwrap();
    assert!(on_disk.flatten().any(|entry| entry.file_name().as_bytes() == b"a\x80b"));
}

// AR-15
#[test]
fn hidden_is_what_starts_with_a_dot_below_the_workspace() {
    let daemon = Daemon::default_settings();
    // A fresh workspace lies in a directory whose own name starts with a dot.
    let result = fresh(
        &daemon,
        "import os\n\
         for path in ('.env', '.git/config', '.hidden/out.txt', 'shown/.cache/x', 'shown/..data/y', 'shown/z.', 'a.b'):\n\
         \x20   os.makedirs(os.path.dirname(path) or '.', exist_ok=True)\n\
         \x20   open(path, 'w').close()",
    );
    assert_eq!(listed(&result), ["a.b", "shown/z."]);
    assert_eq!(result["artifacts_truncated"], false);
}

// AR-12
#[test]
fn forbidden_files_and_directories_neither_hide_nor_stop_anything() {
    let daemon = Daemon::default_settings();
    let closed = in_session(
        &daemon,
        "s",
        "import os\n\
         for name in ('closed', 'open'): os.mkdir(name); open(f'{name}/file', 'w').close()\n\
         open('secret', 'w').close(); os.chmod('secret', 0)\n\
         open('setuid', 'w').close(); os.chmod('setuid', 0o6777)\n\
         os.chmod('closed', 0)",
    );
    assert_eq!(listed(&closed), ["open/file", "secret", "setuid"], "{closed:#}");
    assert_eq!(closed["artifacts"][1]["sha256"], Value::Null, "{closed:#}");
    // Nobody could look into one of them: this may not be all there is.
    assert_eq!(closed["artifacts_truncated"], true);
    let all_closed = in_session(&daemon, "s", "import os; os.chmod('.', 0)");
    assert_eq!(all_closed["artifacts_truncated"], true, "{all_closed:#}");
    // The next run can work, and so can a file of the caller's.
    let request = json!({
        "language": "shell", "session_id": "s", "code": "chmod 700 closed; cat given closed/file",
        "files": [{ "path": "given", "content": "given" }],
    });
    let next = daemon.execute(&request).result();
    assert_eq!((&next["status"], &next["stdout"]), (&json!("success"), &json!("given")), "{next:#}");
}

// AR-13
#[test]
fn hard_links_do_not_reach_out_and_are_counted_by_name() {
    let daemon = Daemon::default_settings();
    let result = fresh(
        &daemon,
        "import errno, os\n\
         for path in ('/usr/bin/env', '/etc/passwd', '/code/main.py', '/sbx/launch', '/tmp/x'):\n\
         \x20   if path == '/tmp/x': open(path, 'w').close()\n\
         \x20   try: os.link(path, os.path.basename(path)); print(path)\n\
         \x20   except OSError as error: assert error.errno in (errno.EXDEV, errno.EPERM), error\n\
         open('file', 'w').write('content')\n\
         for i in range(50): os.link('file', f'link-{i:02}')",
    );
    assert_eq!(result["stdout"], "", "{result:#}");
    assert_eq!(listed(&result).len(), 51);
    let digests: std::collections::BTreeSet<_> =
        result["artifacts"].as_array().unwrap().iter().map(|artifact| artifact["sha256"].as_str()).collect();
    assert_eq!(digests.len(), 1, "{result:#}");
}

// AR-17, U9
#[test]
fn whatever_a_run_leaves_is_removed_and_the_next_starts_empty() {
    // In memory: how fast a disk is says nothing about the removal.
    let sessions = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::set_permissions(sessions.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = Settings::new()
        .set("ARTIFACT_RETENTION_SECONDS", 0)
        .set("SESSIONS_PATH", sessions.path().join("sessions").display())
        .start();
    let left = sessions.path().join("sessions/.fresh");
    for (what, code) in [
        (
            "100,000 directories, one in the other",
            "import os\nfor _ in range(100_000): os.mkdir('d'); os.chdir('d')",
        ),
        (
            "thousands of closed directories",
            "import os\nfor i in range(5_000): os.makedirs(f'{i}/{i}/{i}'); os.chmod(f'{i}/{i}/{i}', 0); os.chmod(f'{i}', 0)",
        ),
        (
            "one of everything",
            "import os, socket\n\
             os.mkfifo('fifo'); socket.socket(socket.AF_UNIX).bind('socket'); os.symlink('/', 'link')\n\
             open('sparse', 'w').truncate(100 << 20); os.mkdir('hoisted-0'); open('hoisted-1', 'w').close()\n\
             os.mkdir('d'); open('d/file', 'w').close(); os.chmod('d', 0); os.chmod('.', 0)",
        ),
    ] {
        let result = fresh(&daemon, code);
        assert_ne!(result["cause"], "sandbox_error", "{what}: {result:#}");
        let ended = Instant::now();
        daemon.eventually(what, |_| fs::read_dir(&left).unwrap().next().is_none());
        assert!(ended.elapsed() < Duration::from_secs(30), "{what}: {:?}", ended.elapsed());
        let next = daemon.run("shell", "ls -A");
        assert_eq!((&next["status"], &next["stdout"]), (&json!("success"), &json!("")), "{what}: {next:#}");
    }
    assert!(!daemon.log().contains("cleanup_failed"), "{}", daemon.log());
}

// AR-17: the deep chain in a workspace that stays does not stop the next run either.
#[test]
fn a_deep_chain_in_a_session_leaves_the_session_usable() {
    let daemon = Daemon::default_settings();
    let deep = in_session(&daemon, "s", "import os\nfor _ in range(5_000): os.mkdir('d'); os.chdir('d')");
    assert_eq!(deep["artifacts_truncated"], true);
    let next = in_session(&daemon, "s", "open('file', 'w').close()");
    assert_eq!(listed(&next), ["file"]);
}
