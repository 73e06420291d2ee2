//! The journal over a real directory: what is found in it, what becomes of it, and what is never touched.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use linux::files::Sync;
use protocol::{ExecuteResponse, Status};

use super::entry::{Entry, Label};
use super::journal::{Access, Found, Journal, JournalError, LoadError};
use super::pledge::crashed;
use crate::job::Fingerprint;
use crate::run::progress::Snapshot;

const OWNER: Access = Access::Owner(Sync::PageCache);

fn label(id: &str) -> Label {
    Label::new(
        id,
        Timestamp::from_millisecond(1_700_000_000_123).unwrap(),
        "request-1",
        None,
        &Fingerprint::default(),
    )
}

fn entry(id: &str) -> Vec<u8> {
    crashed(&label(id), &Snapshot::default(), None)
}

fn rescue(run: &Found) -> Vec<u8> {
    entry(&run.execution_id)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn ids(found: Vec<Found>) -> Vec<String> {
    let mut ids: Vec<_> = found.into_iter().map(|found| found.execution_id).collect();
    ids.sort();
    ids
}

#[test]
fn a_run_leaves_its_result_and_an_accepted_result_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("made/results");
    let journal = Journal::at(&dir, OWNER);
    journal.begin("exec_a", &entry("exec_a")).unwrap();
    assert_eq!(names(&dir), ["exec_a.running"]);
    journal.update("exec_a", &entry("exec_a")).unwrap();
    journal.finish("exec_a", &entry("exec_a")).unwrap();
    assert_eq!(names(&dir), ["exec_a.json", "exec_a.running"]);
    journal.withdraw("exec_a").unwrap();
    assert_eq!(names(&dir), ["exec_a.json"]);
    let loaded = journal.load("exec_a").unwrap();
    assert_eq!(loaded.run.request_id, label("exec_a").request_id);
    assert_eq!(loaded.run.idempotency_key, "exec_a-1700000000123~crashed");
    journal.accepted("exec_a").unwrap();
    assert_eq!(names(&dir), [""; 0]);
    assert!(matches!(journal.load("exec_a"), Err(LoadError::Missing)));
}

#[test]
fn the_next_daemon_takes_over_what_a_dead_one_left() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    for (name, content) in [
        ("exec_ran.running", entry("exec_ran")),
        ("exec_torn.running", entry("exec_torn")[..100].to_vec()),
        ("exec_empty.running", Vec::new()),
        ("exec_both.running", entry("exec_both")),
        ("exec_both.json", entry("exec_both")),
        ("exec_waits.json", entry("exec_waits")),
        ("exec_half.json.tmp", b"half".to_vec()),
        ("exec_half.running.tmp", b"half".to_vec()),
    ] {
        fs::write(dir.join(name), content).unwrap();
    }
    let journal = Journal::at(dir, OWNER);
    let taken = journal.take_over(rescue).unwrap();
    assert!(taken.failed.is_empty());
    assert_eq!(ids(taken.crashed), ["exec_empty", "exec_ran", "exec_torn"]);
    let waiting = ["exec_both", "exec_empty", "exec_ran", "exec_torn", "exec_waits"];
    assert_eq!(names(dir), waiting.map(|id| format!("{id}.json")));
    for id in waiting {
        let result: ExecuteResponse = serde_json::from_str(journal.load(id).unwrap().result.get()).unwrap();
        assert_eq!((result.execution_id.as_str(), result.status), (id, Status::Crashed));
    }
    assert_eq!(ids(journal.take_over(rescue).unwrap().crashed), [""; 0], "once");
}

#[test]
fn a_run_whose_result_is_damaged_is_reported_as_crashed_and_the_damage_kept() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    fs::write(dir.join("exec_a.running"), entry("exec_a")).unwrap();
    fs::write(dir.join("exec_a.json"), "").unwrap();
    fs::write(dir.join("exec_b.running"), "torn").unwrap();
    fs::write(dir.join("exec_b.json"), "torn as well").unwrap();
    fs::write(dir.join("exec_c.running"), entry("exec_c")).unwrap();
    fs::create_dir(dir.join("exec_c.json")).unwrap();
    let journal = Journal::at(dir, OWNER);
    let taken = journal.take_over(rescue).unwrap();
    assert!(taken.failed.is_empty(), "{taken:?}");
    assert_eq!(ids(taken.crashed), ["exec_a", "exec_b", "exec_c"]);
    assert_eq!(taken.set_aside.len(), 3);
    for id in ["exec_a", "exec_b", "exec_c"] {
        assert!(journal.load(id).unwrap().run.idempotency_key.ends_with("~crashed"), "{id}");
    }
    assert_eq!(names(dir), ["exec_a.json", "exec_b.json", "exec_c.json", "set-aside"]);
    let aside = journal.aside().unwrap();
    assert!(aside.len() == 3 && aside.iter().all(|aside| aside.why == "damaged"), "{aside:?}");
}

#[test]
fn a_result_whose_key_is_another_ones_is_damaged_and_found_again_when_set_aside() {
    let home = tempfile::tempdir().unwrap();
    let journal = Journal::at(home.path(), OWNER);
    let good = String::from_utf8(entry("exec_a")).unwrap();
    for key in
        ["", "anything", "../../x", "exec_a", "exec_a-", "exec_a-1x", "exec_b-1", "exec_a-1~crashed~crashed"]
    {
        let bad = good.replacen("exec_a-1700000000123~crashed", key, 1);
        assert_ne!(bad, good);
        journal.finish("exec_a", bad.as_bytes()).unwrap();
        assert!(matches!(journal.load("exec_a"), Err(LoadError::Damaged(_))), "{key:?}");
        journal.set_aside_damaged("exec_a").unwrap();
        let aside = journal.aside().unwrap();
        assert!(aside.iter().all(|aside| aside.execution_id == "exec_a"), "{aside:?}");
        assert!(!aside.is_empty());
    }
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let (dir, outside) = (home.path().join("results"), home.path().join("outside.json"));
    fs::create_dir(&dir).unwrap();
    fs::write(&outside, entry("exec_link")).unwrap();
    let foreign = [
        "README",
        "exec_.json",
        "exec_a b.json",
        "exec_a.json.bak",
        "exec_a.json.json.tmp",
        "exec_a.tmp",
        "lost+found.tmp",
        ".running",
    ];
    for name in foreign {
        fs::write(dir.join(name), "mine").unwrap();
    }
    let journal = Journal::at(&dir, OWNER);
    assert_eq!(ids(journal.take_over(rescue).unwrap().crashed), [""; 0]);
    assert_eq!(journal.list().unwrap().foreign.len(), foreign.len());
    for name in foreign {
        assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), "mine", "{name}");
    }
}

#[test]
fn what_is_no_result_is_damaged_and_neither_followed_nor_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let (dir, outside) = (home.path().join("results"), home.path().join("outside.json"));
    fs::create_dir(&dir).unwrap();
    fs::write(&outside, entry("exec_link")).unwrap();
    symlink(&outside, dir.join("exec_link.json")).unwrap();
    fs::create_dir(dir.join("exec_dir.json")).unwrap();
    fs::write(dir.join("exec_garbage.json"), b"\xff\x00{").unwrap();
    fs::write(dir.join("exec_other.json"), entry("exec_another")).unwrap();
    let newer = String::from_utf8(entry("exec_newer")).unwrap().replacen("\"version\":1", "\"version\":2", 1);
    fs::write(dir.join("exec_newer.json"), newer).unwrap();
    let header = String::from_utf8(entry("exec_header")).unwrap().replacen("request-1", "request\\n1", 1);
    fs::write(dir.join("exec_header.json"), header).unwrap();
    let journal = Journal::at(&dir, OWNER);
    let found = ids(journal.list().unwrap().pending);
    assert_eq!(
        found,
        ["exec_dir", "exec_garbage", "exec_header", "exec_link", "exec_newer", "exec_other"],
        "they are found, and found out when they are read"
    );
    for id in &found {
        assert!(matches!(journal.load(id), Err(LoadError::Damaged(_))), "{id}");
        journal.set_aside(id, &format!("{id}-7"), "damaged").unwrap();
    }
    assert_eq!(names(&dir), ["set-aside"]);
    let aside = journal.aside().unwrap();
    assert_eq!(aside.len(), found.len());
    assert!(aside.iter().all(|entry| entry.why == "damaged"));
    assert!(outside.exists());
}

#[test]
fn what_was_set_aside_can_be_put_back_but_never_over_a_newer_result() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let journal = Journal::at(dir, OWNER);
    journal.finish("exec_a", &entry("exec_a")).unwrap();
    journal.set_aside("exec_a", "exec_a-1700000000123~crashed", "http-413").unwrap();
    let aside = journal.aside().unwrap().remove(0);
    assert_eq!((aside.execution_id.as_str(), aside.why.as_str()), ("exec_a", "http-413"));
    assert_eq!(journal.load_aside(&aside).unwrap().run.accepted_at, label("exec_a").accepted_at);
    journal.finish("exec_a", &entry("exec_a")).unwrap();
    assert_eq!(journal.put_back(&aside).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(journal.aside().unwrap().len(), 1);
    journal.accepted("exec_a").unwrap();
    journal.put_back(&aside).unwrap();
    assert!(journal.load("exec_a").is_ok() && journal.aside().unwrap().is_empty());
}

#[test]
fn a_set_aside_that_leads_elsewhere_is_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let (dir, outside) = (home.path().join("results"), home.path().join("outside"));
    fs::create_dir(&dir).unwrap();
    fs::create_dir(&outside).unwrap();
    symlink(&outside, dir.join("set-aside")).unwrap();
    let journal = Journal::at(&dir, OWNER);
    journal.finish("exec_a", &entry("exec_a")).unwrap();
    assert!(journal.set_aside("exec_a", "exec_a-1", "http-400").is_err());
    assert_eq!(names(&outside), [""; 0]);
    assert!(journal.load("exec_a").is_ok(), "it is still there");
}

#[test]
fn two_daemons_cannot_share_a_directory_and_a_visitor_disturbs_nobody() {
    let home = tempfile::tempdir().unwrap();
    let first = Journal::at(home.path(), OWNER);
    first.open().unwrap();
    assert!(matches!(Journal::at(home.path(), OWNER).open(), Err(JournalError::Taken { .. })));
    Journal::at(home.path(), Access::Visitor).open().unwrap();
    drop(first);
    Journal::at(home.path(), OWNER).open().unwrap();
}

#[test]
fn a_directory_that_somebody_removed_is_made_again() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("results");
    let journal = Journal::at(&dir, OWNER);
    journal.begin("exec_a", &entry("exec_a")).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    journal.finish("exec_a", &entry("exec_a")).unwrap();
    assert_eq!(names(&dir), ["exec_a.json"]);
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_every_time_and_no_more() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("file");
    fs::write(&path, "in the way").unwrap();
    let journal = Journal::at(&path.join("results"), OWNER);
    assert!(matches!(journal.open(), Err(JournalError::Unusable { .. })));
    assert!(journal.begin("exec_a", b"{}").is_err() && journal.finish("exec_a", b"{}").is_err());
    fs::remove_file(&path).unwrap();
    journal.finish("exec_a", &entry("exec_a")).unwrap();
    assert!(journal.load("exec_a").is_ok(), "it works as soon as it can");
}

#[test]
fn the_body_is_the_same_text_every_time_and_keeps_what_json_numbers_would_lose() {
    let mut result: ExecuteResponse =
        serde_json::from_str(Entry::parse("exec_a", &entry("exec_a")).unwrap().result.get()).unwrap();
    let long = "123456789012345678901234567890.10";
    result.return_value = serde_json::value::RawValue::from_string(long.to_owned()).unwrap();
    let bytes = Entry::new(label("exec_a"), &result).unwrap().to_bytes().unwrap();
    let entry = Entry::parse("exec_a", &bytes).unwrap();
    for format in [crate::config::CallbackFormat::Full, crate::config::CallbackFormat::Compact] {
        let body = String::from_utf8(entry.body(format).unwrap()).unwrap();
        assert!(body.contains(long), "{body}");
        assert_eq!(body.as_bytes(), entry.body(format).unwrap());
    }
}

#[test]
fn a_file_says_when_it_began_to_wait() {
    let home = tempfile::tempdir().unwrap();
    let journal = Journal::at(home.path(), OWNER);
    let before = SystemTime::now() - std::time::Duration::from_secs(2);
    journal.finish("exec_a", &entry("exec_a")).unwrap();
    let found = journal.list().unwrap().pending.remove(0);
    assert!(found.modified > before && found.size == entry("exec_a").len() as u64);
}

#[test]
fn a_result_that_an_earlier_version_stored_is_read_and_claims_no_isolation() {
    let text = String::from_utf8(entry("exec_a")).unwrap();
    let without = text.replace(r#","isolation":null"#, "");
    assert_ne!(without, text);
    let stored = crate::outlet::stored(&Entry::parse("exec_a", without.as_bytes()).unwrap()).unwrap();
    assert!(stored.result.unwrap().isolation.is_none());
}
