//! What keeps the daemon from starting: one clear sentence, a code that is not 0, and the same from `doctor`.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use conformance::{Daemon, can};

use crate::program::{Ended, Program, is_root};

/// Starts it in this situation, and asks `doctor` about the same one.
pub(crate) fn refuses(situation: impl Fn(Program) -> Program, sentence: &str, code: i32) {
    let ended = situation(Program::new(&[])).run();
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    assert_eq!(complaint(&ended).matches(sentence).count(), 1, "{sentence} is not said: {}", ended.stderr);
    assert!(!ended.stderr.contains("server_listening"), "{}", ended.stderr);
    let doctor = situation(Program::new(&["doctor"])).run();
    assert_eq!(doctor.code, Some(1), "{}{}", doctor.stdout, doctor.stderr);
    assert!(
        doctor.stdout.contains(sentence) || doctor.stderr.contains(sentence),
        "doctor does not say {sentence}: {}{}",
        doctor.stdout,
        doctor.stderr
    );
}

/// The one line that is not a log line.
fn complaint(ended: &Ended) -> String {
    let lines: Vec<&str> =
        ended.stderr.lines().filter(|line| line.starts_with("sandbox-executor: ")).collect();
    assert_eq!(lines.len(), 1, "{}", ended.stderr);
    let others = ended.stderr.lines().filter(|line| !line.starts_with("sandbox-executor: "));
    others.for_each(|line| assert!(line.starts_with('{'), "{}", ended.stderr));
    assert!(lines[0].len() < 700, "{}", lines[0]);
    lines[0].to_owned()
}

#[test]
fn a_workspace_that_was_named_and_is_missing() {
    let named = |program: Program| program.set("WORKSPACE_PATH", "/nowhere/to/be/found");
    refuses(
        named,
        "the workspace /nowhere/to/be/found does not exist: mount or create it, or set WORKSPACE_PATH",
        1,
    );
}

#[test]
fn a_workspace_that_is_a_file() {
    refuses(
        |program| {
            let path = program.file("file", "");
            program.set("WORKSPACE_PATH", path)
        },
        "/file is not a directory: set WORKSPACE_PATH to one",
        1,
    );
}

#[test]
fn a_workspace_that_is_mounted_read_only() {
    if !can(is_root(), "mounting takes root") {
        return;
    }
    refuses(
        |program| {
            let workspace = program.path("workspace").display().to_string();
            program.after(&format!(
                "mount --bind '{workspace}' '{workspace}' && mount -o remount,ro,bind '{workspace}'"
            ))
        },
        "is read-only: mount it writable, or set WORKSPACE_PATH",
        1,
    );
}

#[test]
fn a_workspace_that_belongs_to_somebody_else() {
    if !can(is_root(), "starting as another user takes root") {
        return;
    }
    refuses(
        |program| {
            let program = program.started_by(1000);
            std::os::unix::fs::chown(program.path("workspace"), Some(0), Some(0)).unwrap();
            fs::set_permissions(program.path("workspace"), fs::Permissions::from_mode(0o755)).unwrap();
            program
        },
        "is not writable for the daemon's user: change its owner to EXECUTOR_RUN_AS, or set WORKSPACE_PATH",
        1,
    );
}

#[test]
fn a_workspace_that_cannot_be_reached() {
    if !can(is_root(), "starting as another user takes root") {
        return;
    }
    refuses(
        |program| {
            let closed = program.path("closed");
            fs::create_dir_all(closed.join("workspace")).unwrap();
            fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
            program.set("WORKSPACE_PATH", closed.join("workspace").display())
        },
        "/closed/workspace ",
        1,
    );
}

#[test]
fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    refuses(
        |program| program.set("EXECUTOR_PORT", port),
        "the port is taken (EADDRINUSE); stop the other program or set EXECUTOR_PORT",
        1,
    );
}

#[test]
fn a_second_daemon_on_the_same_port() {
    let first = Daemon::default_settings();
    let second = Program::new(&[]).set("EXECUTOR_PORT", first.address().port()).run();
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(complaint(&second).contains("the port is taken"), "{}", second.stderr);
}

#[test]
fn another_daemons_sessions() {
    let first = Daemon::default_settings();
    let sessions = first.home().join("sessions");
    let before = fs::metadata(sessions.join(".fresh")).unwrap().ino();
    refuses(
        |program| program.set("SESSIONS_PATH", sessions.display()),
        "/sessions, which another executor is using; give each a directory of its own",
        1,
    );
    // Where it removed what earlier daemons left, programs would lose their files while they run.
    assert_eq!(fs::metadata(sessions.join(".fresh")).unwrap().ino(), before);
    let doctor = Program::new(&["doctor"]).set("SESSIONS_PATH", sessions.display());
    let beside_it = doctor.set("EXECUTOR_PORT", first.address().port()).run();
    assert_eq!(beside_it.code, Some(0), "{}{}", beside_it.stdout, beside_it.stderr);
    for expected in ["serves port", "is writable", "python 3."] {
        assert!(beside_it.stdout.contains(expected), "{expected} is missing:\n{}", beside_it.stdout);
    }
    assert_eq!(fs::metadata(sessions.join(".fresh")).unwrap().ino(), before);
}

#[test]
fn an_address_of_another_machine() {
    refuses(
        |program| program.set("EXECUTOR_HOST", "192.0.2.1"),
        "this host has no such address (EADDRNOTAVAIL)",
        1,
    );
}

#[test]
fn no_bubblewrap() {
    if !can(is_root(), "mounting takes root") {
        return;
    }
    refuses(
        |program| {
            let empty = program.path("tmp");
            program.after(&format!("mount --bind '{}' /usr/bin", empty.display()))
        },
        "bubblewrap is not installed (looked for /usr/local/bin/bwrap and /usr/bin/bwrap); install it: apt-get install bubblewrap",
        1,
    );
}

#[test]
fn a_bubblewrap_that_is_no_program() {
    if !can(is_root(), "mounting takes root") {
        return;
    }
    refuses(|program| program.after("mount --bind /dev/null /usr/bin/bwrap"), "bubblewrap does not run: ", 1);
}

#[test]
fn a_bubblewrap_that_fails_says_what_it_said() {
    if !can(is_root(), "mounting takes root") {
        return;
    }
    let script = "#!/bin/sh\ncase \"$1\" in --version) echo bubblewrap 0.8.0;; --help) echo;; \
                  *) echo 'bwrap: No permissions to create new namespace' >&2; exit 1;; esac\n";
    refuses(
        |program| {
            let fake = program.file("bwrap", script);
            fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
            program.after(&format!("mount --bind '{fake}' /usr/bin/bwrap"))
        },
        "user namespaces are forbidden in this container, by its seccomp profile or a sysctl",
        1,
    );
}

#[test]
fn no_language_at_all() {
    if !can(is_root(), "mounting takes root") {
        return;
    }
    refuses(
        |program| {
            program.after(
                "for language in python3 node bash; do real=$(readlink -f /usr/bin/$language); \
                 mount --bind /dev/null \"$real\" || exit 9; done",
            )
        },
        "no language works in this container",
        1,
    );
}
