//! What must hold after every case, whatever it was about, as far as [`Daemon`](crate::Daemon) can see it by itself: its
//! tokens are nowhere, what it may not write to is untouched, no run took longer than it may. What it costs the machine is
//! in [`footprint`](crate::footprint).
//!
//! The look at files is bounded: a test may leave hundreds of thousands of them, or one that is a terabyte of nothing.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::answer::Answer;
use crate::settings::Settings;

/// Files and directories that are looked at, at most, in each place.
const FILES: usize = 2000;

/// Bytes of each.
const BYTES: u64 = 256 << 10;

/// Beyond the timeout, for a machine that is busy with other tests. What is promised is one second, and tests about time ask
/// for that themselves.
const LATE: f64 = 15.0;

/// What no request can exceed.
const LONGEST_TIMEOUT: f64 = 3600.0;

/// Fails when one of the daemon's tokens is in there.
pub(crate) fn assert_kept_secret(settings: &Settings, said: &[u8], wherever: &str) {
    let said = String::from_utf8_lossy(said);
    for token in [Some(settings.internal_token()), settings.api_token.as_deref()].into_iter().flatten() {
        assert!(!said.contains(token), "a token is in {wherever}: {said}");
    }
}

/// Fails when one of the daemon's tokens is in a file of this directory.
pub(crate) fn assert_no_file_tells(settings: &Settings, directory: &Path) {
    let mut found = vec![directory.to_owned()];
    for _ in 0..FILES {
        let Some(path) = found.pop() else { return };
        // A workspace may have been closed, moved or removed, and what a program made may be longer than a path can be.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            found.extend(
                fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()).take(FILES),
            );
        } else if metadata.is_file() {
            let mut content = Vec::new();
            let file = File::open(&path).map(|file| file.take(BYTES));
            if file.is_ok_and(|mut file| file.read_to_end(&mut content).is_ok()) {
                assert_kept_secret(settings, &content, &path.display().to_string());
            }
        }
    }
}

/// Fails when this is the result of a run that went on after its timeout.
pub(crate) fn assert_on_time(request: &Value, answer: &Answer) {
    let Some(took) = answer.json()["execution_time"].as_f64() else { return };
    let timeout = request["timeout"].as_f64().unwrap_or(LONGEST_TIMEOUT);
    assert!(took <= timeout + LATE, "{took} s, with a timeout of {timeout} s: {request:#}");
}

/// Whether there is a cgroup of this name anywhere.
pub(crate) fn is_cgroup(name: &str) -> bool {
    let mut directories = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.file_name() == name {
                return true;
            }
            directories.push(entry.path());
        }
    }
    false
}

/// A file beside the daemon's directories, in none of them.
#[derive(Debug)]
pub(crate) struct Planted {
    path: PathBuf,
}

impl Planted {
    const CONTENT: &str = "nobody but the test may write this";

    pub(crate) fn in_home(home: &Path) -> Self {
        let path = home.join("planted");
        fs::write(&path, Self::CONTENT).unwrap();
        Self { path }
    }

    pub(crate) fn assert_untouched(&self) {
        let content = fs::read_to_string(&self.path).unwrap();
        assert_eq!(content, Self::CONTENT, "{} was changed", self.path.display());
    }
}
