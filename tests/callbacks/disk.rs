//! A results directory that is full, forbidden, gone, somebody else's or full of things that nobody asked for: runs go on,
//! and callers are told what the promise is worth.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use conformance::daemon::home;
use conformance::{Daemon, INTERNAL_TOKEN, Settings, can, settings};
use control_plane_mock::{Action, Kind, Mock, Rule};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    accepted, accepted_in_the_end, attempts, begin, call, daemon, holds, mock, names, nothing_wrong, script,
    tool, waiting,
};

/// Whom the daemon becomes when root starts it.
const OWNER: u32 = 1000;

fn is_root() -> bool {
    linux::identity::is_root()
}

/// A directory in which the daemon may make its own.
fn parent() -> TempDir {
    let parent = home();
    give(parent.path());
    parent
}

/// To the daemon's user; the link itself where it is one.
fn give(path: &Path) {
    if is_root() {
        std::os::unix::fs::lchown(path, Some(OWNER), Some(OWNER)).unwrap();
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A daemon with a results directory other than that of the harness.
fn daemon_at(mock: &Mock, results: &Path) -> Daemon {
    let daemon = Settings::new().calling(mock).set("RESULTS_DIR", results.display()).start();
    call(mock, |call| call.kind == Kind::Ready);
    daemon
}

/// A file system of its own for the results, until this is dropped.
struct Tmpfs(TempDir);

impl Tmpfs {
    fn of(size: &str) -> Self {
        let tmpfs = Self(home());
        let options = format!("size={size},uid={OWNER},gid={OWNER},mode=0700");
        tool("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", tmpfs.0.path().to_str().unwrap()]);
        tmpfs
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        tool("umount", &["--lazy", self.0.path().to_str().unwrap()]);
    }
}

#[test]
fn a_directory_that_cannot_be_written_to_costs_durability_and_nothing_else() {
    let mock = mock();
    let daemon = daemon(&mock);
    let results = daemon.results();
    let mode_before = mode(&results);
    if is_root() {
        chown(&results, Some(0), Some(0)).unwrap();
    }
    fs::set_permissions(&results, fs::Permissions::from_mode(0o555)).unwrap();
    let answer = daemon.execute(&script("exec_not_durable", "echo hello")).result();
    fs::set_permissions(&results, fs::Permissions::from_mode(mode_before)).unwrap();
    give(&results);
    assert_eq!((&answer["status"], &answer["stdout"]), (&json!("success"), &json!("hello\n")), "{answer}");
    assert_eq!(answer["callback"], "not_durable");
    assert_eq!(*accepted(&mock, "exec_not_durable").body, answer);
    let failed = daemon.events("journal_failed");
    assert!(failed.iter().any(|event| event["level"] == "error" && event["path"].is_string()), "{failed:?}");
    assert_eq!(daemon.execute(&script("exec_durable", "true")).result()["callback"], "journalled");
    accepted(&mock, "exec_durable");
    daemon.eventually("nothing is left on disk", |daemon| names(&daemon.results()).is_empty());
    nothing_wrong(&mock);
}

#[test]
fn a_result_that_is_not_durable_is_tried_again_as_it_is() {
    let mock = mock();
    mock.script(Rule::new(Action::CloseMidAnswer).of_execution("exec_again").of_kind(Kind::Result).times(1));
    let daemon = daemon(&mock);
    let results = daemon.results();
    fs::set_permissions(&results, fs::Permissions::from_mode(0o555)).unwrap();
    let answer = daemon.execute(&script("exec_again", "echo hello")).result();
    fs::set_permissions(&results, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(answer["callback"], "not_durable");
    assert_eq!(*accepted(&mock, "exec_again").body, answer);
    let attempts = attempts(&mock, "exec_again");
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0].idempotency_key, attempts[1].idempotency_key);
    assert_eq!(attempts[0].body_sha256, attempts[1].body_sha256);
    accepted_in_the_end(&mock, daemon, &["exec_again"]);
    nothing_wrong(&mock);
}

/// Its parent is a file.
fn never_made(starter: Option<u32>) {
    let (mock, parent) = (mock(), parent());
    fs::write(parent.path().join("file"), "").unwrap();
    let results = parent.path().join("file/results");
    let mut settings = Settings::new().calling(&mock).set("RESULTS_DIR", results.display());
    if let Some(uid) = starter {
        settings = settings.started_by(uid);
    }
    let daemon = settings.start();
    let answer = daemon.execute(&script("exec_not_durable", "echo hello")).result();
    assert_eq!((&answer["status"], &answer["callback"]), (&json!("success"), &json!("not_durable")));
    assert_eq!(*accepted(&mock, "exec_not_durable").body, answer);
    let failed = daemon.events("journal_failed");
    assert!(failed[0].to_string().contains("RESULTS_DIR"), "{failed:?}");
    assert_eq!(daemon.get("/health").json()["status"], "healthy");
    accepted_in_the_end(&mock, daemon, &["exec_not_durable"]);
    nothing_wrong(&mock);
}

#[test]
fn a_directory_that_can_never_be_made_costs_durability_and_nothing_else() {
    never_made(None);
}

#[test]
fn a_directory_that_can_never_be_made_costs_a_daemon_that_was_never_root_no_more() {
    if can(is_root(), "only root starts a daemon as somebody else") {
        never_made(Some(OWNER));
    }
}

#[test]
fn a_full_disk_costs_durability_and_nothing_else() {
    if !can(is_root(), "only root mounts a small file system") {
        return;
    }
    let (mock, tmpfs) = (mock(), Tmpfs::of("64k"));
    let results = tmpfs.0.path();
    let daemon = daemon_at(&mock, results);
    // There is room for a run that begins, and not for its result.
    let answer = daemon.execute(&script("exec_large", "head -c 300000 /dev/zero | tr '\\0' x")).result();
    assert_eq!((&answer["status"], &answer["callback"]), (&json!("success"), &json!("not_durable")));
    assert_eq!(*accepted(&mock, "exec_large").body, answer);
    daemon.eventually("nothing is left on disk", |_| names(results).is_empty());
    assert_eq!(daemon.execute(&script("exec_small", "true")).result()["callback"], "journalled");
    accepted(&mock, "exec_small");
    daemon.eventually("nothing is left on disk", |_| names(results).is_empty());
    // There is room for nothing at all: the kernel takes what fits of the rest.
    fs::write(results.join("filler"), vec![0; 128 << 10]).unwrap_err();
    let answer = daemon.execute(&script("exec_full", "echo hello")).result();
    assert_eq!((&answer["status"], &answer["callback"]), (&json!("success"), &json!("not_durable")));
    assert_eq!(*accepted(&mock, "exec_full").body, answer);
    daemon.eventually("nothing but the filler is left", |_| names(results) == ["filler"]);
    fs::remove_file(results.join("filler")).unwrap();
    assert_eq!(daemon.execute(&script("exec_room", "true")).result()["callback"], "journalled");
    assert!(daemon.log().contains("No space left on device"), "{}", daemon.log());
    accepted_in_the_end(&mock, daemon, &["exec_large", "exec_small", "exec_full", "exec_room"]);
    nothing_wrong(&mock);
}

#[test]
fn what_is_not_the_daemons_is_neither_sent_nor_followed_nor_touched() {
    let mock = mock();
    let first = daemon(&mock);
    mock.refuse_connections();
    first.execute(&script("exec_real", "echo real")).result();
    let remains = first.kill();
    let results = remains.results();
    let passwd = fs::read("/etc/passwd").unwrap();
    fs::copy(results.join("exec_real.json"), results.join("exec_other.json")).unwrap();
    fs::write(results.join("exec_garbage.json"), b"\xff\x00{").unwrap();
    fs::write(results.join("exec_empty.json"), "").unwrap();
    fs::write(results.join("exec_deep.json"), "[".repeat(1 << 20)).unwrap();
    fs::create_dir(results.join("exec_dir.json")).unwrap();
    symlink("/etc/passwd", results.join("exec_link.json")).unwrap();
    symlink(results.join("exec_real.json"), results.join("exec_alias.json")).unwrap();
    tool("mkfifo", &[results.join("exec_fifo.json").to_str().unwrap()]);
    let damaged = ["alias", "deep", "dir", "empty", "fifo", "garbage", "link", "other"];
    for name in damaged {
        give(&results.join(format!("exec_{name}.json")));
    }
    let foreign = ["README", "exec_.json", "exec_a b.json", "exec_a.json.bak"];
    for name in foreign {
        fs::write(results.join(name), "mine").unwrap();
    }
    fs::create_dir(results.join("lost+found")).unwrap();

    let next = remains.restart();
    mock.accept_connections();
    assert_eq!(accepted(&mock, "exec_real").body["stdout"], "real\n");
    next.eventually("the damaged ones are set aside", |daemon| waiting(daemon, "set_aside") == 8);
    let aside = names(&results.join("set-aside"));
    for (name, file) in damaged.iter().zip(&aside) {
        assert!(file.starts_with(&format!("exec_{name}-")) && file.ends_with(".damaged.json"), "{aside:?}");
    }
    next.eventually("the others are left", |_| {
        names(&results)
            == ["README", "exec_.json", "exec_a b.json", "exec_a.json.bak", "lost+found", "set-aside"]
    });
    for name in foreign {
        assert_eq!(fs::read_to_string(results.join(name)).unwrap(), "mine", "{name}");
    }
    assert_eq!(fs::read("/etc/passwd").unwrap(), passwd);
    let told = &next.events("foreign_files")[0];
    assert_eq!((&told["count"], &told["level"]), (&json!(5), &json!("warn")), "{told}");
    assert_eq!(next.events("callback_set_aside").len(), 8);
    assert!(!next.log().contains("root:"), "{}", next.log());
    accepted_in_the_end(&mock, next, &["exec_real"]);
    assert!(damaged.iter().all(|name| attempts(&mock, &format!("exec_{name}")).is_empty()));
    nothing_wrong(&mock);
}

#[test]
fn a_directory_that_is_removed_is_made_again() {
    let (mock, parent) = (mock(), parent());
    let results = parent.path().join("deep/results");
    let daemon = daemon_at(&mock, &results);
    give(results.parent().unwrap());
    fs::remove_dir_all(&results).unwrap();
    assert_eq!(daemon.execute(&script("exec_before", "true")).result()["callback"], "journalled");
    accepted(&mock, "exec_before");
    assert_eq!(mode(&results), 0o700);
    // In the middle of a run, too.
    let _caller = begin(&daemon, &script("exec_during", "sleep 1; echo done"));
    daemon.eventually("it runs", |_| results.join("exec_during.running").exists());
    fs::remove_dir_all(&results).unwrap();
    let heard = accepted(&mock, "exec_during");
    assert_eq!((&heard.body["stdout"], &heard.body["callback"]), (&json!("done\n"), &json!("journalled")));
    accepted_in_the_end(&mock, daemon, &["exec_before", "exec_during"]);
    assert_eq!(names(&results), [""; 0]);
    nothing_wrong(&mock);
}

#[test]
fn nobody_else_may_read_what_waits() {
    let (mock, parent) = (mock(), parent());
    let results = parent.path().join("results");
    let daemon = daemon_at(&mock, &results);
    assert_eq!(mode(&results), 0o700);
    let refusal = Action::Status { code: 413, headers: Default::default(), body: String::new() };
    mock.script(Rule::new(refusal).of_execution("exec_aside").of_kind(Kind::Result));
    mock.script(Rule::new(Action::Reset).of_execution("exec_waits").of_kind(Kind::Result));
    daemon.execute(&script("exec_aside", "true")).result();
    daemon.execute(&script("exec_waits", "true")).result();
    let _caller = begin(&daemon, &script("exec_runs", "sleep 1000"));
    daemon.eventually("all are there", |_| {
        names(&results) == ["exec_runs.running", "exec_waits.json", "set-aside"]
    });
    let aside = results.join("set-aside");
    daemon.eventually("one is set aside", |_| names(&aside).len() == 1);
    assert_eq!(mode(&aside), 0o700);
    for file in ["exec_runs.running", "exec_waits.json"].map(|name| results.join(name)) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    assert_eq!(mode(&aside.join(&names(&aside)[0])), 0o600);
    let mut daemon = daemon;
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(143));
    nothing_wrong(&mock);
}

// CP-06
#[test]
fn when_too_much_waits_the_oldest_is_let_go_and_said_so() {
    let mock = mock();
    let daemon = Settings::new().calling(&mock).set("RESULTS_MAX_MB", 1).start();
    call(&mock, |call| call.kind == Kind::Ready);
    mock.refuse_connections();
    for id in ["exec_1", "exec_2", "exec_3", "exec_4"] {
        let answer = daemon.execute(&script(id, "head -c 400000 /dev/zero | tr '\\0' x")).result();
        assert_eq!(answer["callback"], "journalled");
    }
    daemon.eventually("two are let go", |daemon| waiting(daemon, "let_go") == 2);
    assert_eq!(waiting(&daemon, "pending"), 2);
    daemon.eventually("so are their files", |daemon| {
        names(&daemon.results()) == ["exec_3.json", "exec_4.json"]
    });
    let gone = daemon.events("callback_let_go");
    assert_eq!((&gone[0]["execution_id"], &gone[1]["execution_id"]), (&json!("exec_1"), &json!("exec_2")));
    assert!(gone.iter().all(|event| event["level"] == "error" && event["reason"].is_string()), "{gone:?}");
    mock.accept_connections();
    accepted_in_the_end(&mock, daemon, &["exec_3", "exec_4"]);
    assert!(attempts(&mock, "exec_1").is_empty() && attempts(&mock, "exec_2").is_empty());
    nothing_wrong(&mock);
}

#[test]
fn one_result_is_kept_however_large_it_is() {
    let mock = mock();
    let daemon = Settings::new().calling(&mock).set("RESULTS_MAX_MB", 1).start();
    call(&mock, |call| call.kind == Kind::Ready);
    mock.refuse_connections();
    let answer = daemon.execute(&script("exec_large", "head -c 4000000 /dev/zero | tr '\\0' x")).result();
    daemon.eventually("an attempt has failed", |daemon| !daemon.events("callback_deferred").is_empty());
    assert_eq!((waiting(&daemon, "pending"), waiting(&daemon, "let_go")), (1, 0));
    mock.accept_connections();
    assert!(*accepted(&mock, "exec_large").body == answer);
    accepted_in_the_end(&mock, daemon, &["exec_large"]);
    nothing_wrong(&mock);
}

/// Starts a daemon that is not expected to serve, and waits for its end.
fn second(mock: &Mock, results: &Path, home: &Path) -> Output {
    let mut command = settings::command();
    command.env_clear().env("PATH", "/usr/bin:/bin").env("CONTAINER_ID", "second");
    for (name, dir) in [("WORKSPACE_PATH", "workspace"), ("SESSIONS_PATH", "sessions")] {
        fs::create_dir_all(home.join(dir)).unwrap();
        command.env(name, home.join(dir));
    }
    command.env("EXECUTOR_HOST", "127.0.0.1").env("EXECUTOR_PORT", "0").env("RESULTS_DIR", results);
    command.env("CONTROL_PLANE_URL", mock.url()).env("INTERNAL_API_TOKEN", INTERNAL_TOKEN).output().unwrap()
}

#[test]
fn a_second_daemon_with_the_same_directory_does_not_start_and_harms_nobody() {
    let (mock, other) = (mock(), home());
    let daemon = daemon(&mock);
    let _caller = begin(&daemon, &script("exec_long", "sleep 3; echo finished"));
    daemon.eventually("it runs", |daemon| daemon.results().join("exec_long.running").exists());
    for link in [false, true] {
        let results: PathBuf = if link {
            symlink(daemon.results(), other.path().join("link")).unwrap();
            other.path().join("link")
        } else {
            daemon.results()
        };
        let ended = second(&mock, &results, other.path());
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("RESULTS_DIR") && said.contains("another executor"), "{said}");
        assert!(!said.contains(INTERNAL_TOKEN), "{said}");
    }
    // It took nothing over.
    assert_eq!(accepted(&mock, "exec_long").body["stdout"], "finished\n");
    accepted_in_the_end(&mock, daemon, &["exec_long"]);
    nothing_wrong(&mock);
}

#[test]
fn a_failed_write_in_the_middle_of_a_run_is_no_reason_to_end_it() {
    let mock = mock();
    mock.script(Rule::new(Action::Hold).of_execution("exec_talks").of_kind(Kind::Result));
    let daemon = daemon(&mock);
    let code = "for n in 1 2 3 4 5 6; do echo line-$n; sleep 0.5; done";
    let _caller = begin(&daemon, &script("exec_talks", code));
    holds(&daemon, "exec_talks.running", "line-2");
    let results = daemon.results();
    fs::set_permissions(&results, fs::Permissions::from_mode(0o555)).unwrap();
    let heard = call(&mock, |call| call.kind == Kind::Result);
    fs::set_permissions(&results, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!((&heard.body["status"], &heard.body["callback"]), (&json!("success"), &json!("not_durable")));
    daemon.eventually("the call is let go", |_| mock.step());
    daemon.eventually("nothing is left on disk", |_| names(&results).is_empty());
    // It is not reported a second time, neither now nor by the next daemon.
    let next = daemon.kill().restart();
    accepted_in_the_end(&mock, next, &["exec_talks"]);
    nothing_wrong(&mock);
}

// CP-07
#[test]
fn a_run_whose_result_died_with_the_daemon_is_reported_under_a_key_that_said_nothing_else() {
    let mock = mock();
    mock.script(Rule::new(Action::Hold).of_execution("exec_talks").of_kind(Kind::Result).times(1));
    let daemon = daemon(&mock);
    let results = daemon.results();
    let _caller = begin(&daemon, &script("exec_talks", "sleep 1; echo done"));
    daemon.eventually("it runs", |_| results.join("exec_talks.running").exists());
    fs::set_permissions(&results, fs::Permissions::from_mode(0o555)).unwrap();
    let heard = call(&mock, |call| call.kind == Kind::Result);
    fs::set_permissions(&results, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(heard.body["callback"], "not_durable");
    // All that is left on disk is that the run was there.
    let next = daemon.kill().restart();
    let again = call(&mock, |call| call.kind == Kind::Result && call.number > heard.number);
    let same_body = heard.body_sha256 == again.body_sha256;
    assert_eq!(heard.idempotency_key == again.idempotency_key, same_body, "{:?}", mock.violations());
    drop(next);
}

#[test]
fn a_result_that_is_not_durable_and_is_refused_is_kept_when_there_is_room_again() {
    let mock = mock();
    let refusal = Action::Status { code: 413, headers: Default::default(), body: String::new() };
    mock.script(Rule::new(Action::Hold).of_execution("exec_kept").of_kind(Kind::Result).times(1));
    mock.script(Rule::new(refusal).of_execution("exec_kept").of_kind(Kind::Result));
    let daemon = daemon(&mock);
    let results = daemon.results();
    let _caller = begin(&daemon, &script("exec_kept", "sleep 1; echo kept"));
    daemon.eventually("it runs", |_| results.join("exec_kept.running").exists());
    fs::set_permissions(&results, fs::Permissions::from_mode(0o555)).unwrap();
    let heard = call(&mock, |call| call.kind == Kind::Result);
    fs::set_permissions(&results, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(heard.body["callback"], "not_durable");
    // The first call ends with the connection, the second one is refused.
    mock.refuse_connections();
    mock.accept_connections();
    daemon.eventually("it is refused", |daemon| !daemon.events("callback_set_aside").is_empty());
    daemon.eventually("it is kept", |_| names(&results) == ["set-aside"]);
    assert_eq!(names(&results.join("set-aside")).len(), 1, "{}", daemon.log());
    assert!(daemon.events("cleanup_failed").is_empty(), "{}", daemon.log());
    nothing_wrong(&mock);
}

#[test]
fn a_link_in_place_of_set_aside_is_not_followed() {
    let (mock, elsewhere) = (mock(), parent());
    let refusal = Action::Status { code: 413, headers: Default::default(), body: String::new() };
    mock.script(Rule::new(refusal).of_execution("exec_kept").of_kind(Kind::Result));
    let daemon = daemon(&mock);
    symlink(elsewhere.path(), daemon.results().join("set-aside")).unwrap();
    daemon.execute(&script("exec_kept", "true")).result();
    daemon.eventually("it is said", |daemon| !daemon.events("cleanup_failed").is_empty());
    assert_eq!(names(&daemon.results()), ["exec_kept.json", "set-aside"]);
    assert_eq!(names(elsewhere.path()), [""; 0]);
    mock.clear_script();
    fs::remove_file(daemon.results().join("set-aside")).unwrap();
    // What could not be put there waits as it did before.
    accepted_in_the_end(&mock, daemon.kill().restart(), &["exec_kept"]);
    nothing_wrong(&mock);
}
