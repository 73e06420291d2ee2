//! A results directory that somebody else filled, taken over by a daemon that starts.
//!
//! The input is up to eight files: a name, a line end, the content; between files a line of four `=`. A name that ends in `/`
//! is a directory, one that ends in `@` a link. Never a panic, and nothing lost: of each file, its result waits for delivery,
//! it was set aside, or it is still there as it was. Only unfinished files of a dead daemon go, and what a result of the same
//! run stands for. Taking over again changes nothing.

#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use executor::intake::is_execution_id;
use executor::outbox::journal::{Access, Journal, LoadError};
use executor::outbox::rescue;
use linux::files::Sync;
use tempfile::TempDir;

/// Removed by scripts/fuzz together with all temporary files: a target never returns.
static HOME: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a directory can be made"));

const MOST_FILES: usize = 8;
const BETWEEN: &[u8] = b"\n====\n";

/// What is under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Thing {
    File(Vec<u8>),
    Directory,
    Link(PathBuf),
}

/// By path below the directory.
type State = BTreeMap<Vec<u8>, Thing>;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let dir = HOME.path().join("results");
    fs::create_dir(&dir).expect("the last one was removed");
    fill(&dir, data);
    let before = state(&dir);
    let journal = Journal::at(&dir, Access::Owner(Sync::PageCache));
    journal.open().expect("nobody else has the directory");

    let taken = journal.take_over(rescue).expect("the directory can be read");
    let after = state(&dir);
    let told: Vec<_> = taken.failed.iter().map(|(name, _)| name.as_bytes()).collect();
    nothing_lost(&journal, &before, &after, &told);
    for run in &taken.crashed {
        assert!(journal.load(&run.execution_id).is_ok(), "{} cannot be delivered", run.execution_id);
    }
    assert!(journal.take_over(rescue).expect("as before").crashed.is_empty(), "they crashed once");
    assert_eq!(state(&dir), after, "it was taken over already");

    deliver(&journal, &dir);
    drop(journal);
    fs::remove_dir_all(&dir).expect("it is ours");
});

fn fill(dir: &Path, data: &[u8]) {
    let mut rest = Some(data);
    for _ in 0..MOST_FILES {
        let Some(file) = rest else { return };
        let end = file.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        rest = end.map(|end| &file[end + BETWEEN.len()..]);
        let file = &file[..end.unwrap_or(file.len())];
        let end = file.iter().position(|byte| *byte == b'\n').unwrap_or(file.len());
        let (name, content) = (&file[..end], file.get(end + 1..).unwrap_or_default());
        put(dir, name, content);
    }
}

/// Does nothing where the file system does not take such a name.
fn put(dir: &Path, name: &[u8], content: &[u8]) {
    let (name, last) = match name {
        [name @ .., last @ (b'/' | b'@')] => (name, *last),
        name => (name, 0),
    };
    let (parent, name) = match name.strip_prefix(b"set-aside/") {
        Some(name) => (dir.join("set-aside"), name),
        None => (dir.to_owned(), name),
    };
    if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.len() > 255 || name.contains(&0) {
        return;
    }
    let path = parent.join(std::ffi::OsStr::from_bytes(name));
    let made = match last {
        b'/' => fs::create_dir_all(path),
        // A name is not written through a link that an earlier one made.
        b'@' => symlink("/dev/null", path),
        _ if path.is_symlink() => Ok(()),
        _ => fs::write(path, content),
    };
    // A name that is taken, or a directory where a file is to be: then it is not there, and state() does not see it.
    made.ok();
}

fn state(dir: &Path) -> State {
    let mut state = State::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(within) = todo.pop() {
        for entry in fs::read_dir(dir.join(&within)).expect("it is ours") {
            let entry = entry.expect("it is ours");
            let (name, path) = (within.join(entry.file_name()), entry.path());
            let kind = entry.file_type().expect("it is there");
            let thing = if kind.is_symlink() {
                Thing::Link(fs::read_link(path).expect("it is a link"))
            } else if kind.is_dir() {
                todo.push(name.clone());
                Thing::Directory
            } else {
                Thing::File(fs::read(path).expect("it is ours"))
            };
            state.insert(name.into_os_string().into_encoded_bytes(), thing);
        }
    }
    state
}

/// The execution that this file of the directory is about.
fn id_of<'name>(name: &'name [u8], suffix: &str) -> Option<&'name str> {
    let id = std::str::from_utf8(name).ok()?.strip_suffix(suffix)?;
    is_execution_id(id).then_some(id)
}

/// `told`: the files of which it was said that they could not be dealt with.
fn nothing_lost(journal: &Journal, before: &State, after: &State, told: &[&[u8]]) {
    for (name, thing) in before {
        let shown = name.escape_ascii();
        let unfinished = [".json.tmp", ".running.tmp"].iter().any(|suffix| id_of(name, suffix).is_some());
        let is_directory = *thing == Thing::Directory;
        if told.contains(&name.as_slice()) {
            assert_eq!(after.get(name), Some(thing), "{shown} could not be dealt with, and is gone");
        } else if unfinished && !is_directory {
            assert!(!after.contains_key(name), "{shown} is still there, and unfinished");
        } else if let (Some(id), Thing::File(content)) = (id_of(name, ".running"), thing) {
            assert!(!after.contains_key(name), "{shown} still runs");
            match journal.load(id) {
                Ok(_) => {}
                Err(error) => panic!("{shown}, {} bytes, has no result: {error}", content.len()),
            }
        } else if id_of(name, ".json").is_some() && after.get(name) != Some(thing) {
            let kept = after.iter().any(|(place, kept)| place.starts_with(b"set-aside/") && kept == thing);
            assert!(kept, "{shown} is neither there as it was nor set aside");
        } else {
            assert_eq!(after.get(name), Some(thing), "{shown} is not ours");
        }
    }
}

/// Of each result that waits: what cannot be delivered is set aside, and found there; what can be, says the same each time.
fn deliver(journal: &Journal, dir: &Path) {
    for (number, found) in journal.list().expect("as before").pending.into_iter().enumerate() {
        let id = &found.execution_id;
        let key = match journal.load(id) {
            Ok(entry) => {
                let again = journal.load(id).expect("it was there a moment ago");
                assert_eq!(entry.result.get(), again.result.get());
                entry.run.idempotency_key
            }
            Err(LoadError::Damaged(why)) => {
                assert!(!why.is_empty());
                format!("{id}-{number}")
            }
            Err(error @ (LoadError::Missing | LoadError::Failed(_))) => panic!("{id}: {error}"),
        };
        // Whoever filled the directory may have put something in the way.
        if journal.set_aside(id, &key, "fuzz").is_err() {
            assert!(dir.join(format!("{id}.json")).symlink_metadata().is_ok(), "{id} is gone");
            continue;
        }
        let aside = journal.aside().expect("something was put there");
        assert!(
            aside.iter().any(|aside| aside.execution_id == *id && aside.why == "fuzz"),
            "{id} is not found"
        );
    }
}
