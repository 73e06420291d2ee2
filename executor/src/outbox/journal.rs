//! The results directory: one file per run whose end the control plane does not know yet.
//!
//! ```text
//! <id>.running ──── the run ends ────► <id>.json ──── accepted ────► removed
//!      │ the daemon dies, the next one finds it      │ refused, or damaged
//!      └────────────────────────────────► <id>.json  └────► set-aside/<key>.<why>.json
//! ```
//! A `.running` file already holds the result that is reported should the daemon die now: taking over is a rename. Every
//! file appears whole under its name or not at all. Nothing in the directory is trusted: names that are not ours are left
//! alone, what is not a regular file is never opened, a link is never followed. One daemon per directory: it is locked.
//!
//! The calls here block; whoever is async calls them on a blocking thread.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use linux::files::{self, Kind, ReadError, Sync};
use linux::tree::{self, OpenError};

use super::entry::{CRASHED, Entry, EntryError};
use crate::intake::is_execution_id;

const RUNNING: &str = ".running";
const PENDING: &str = ".json";
const TEMPORARY: &str = ".tmp";
pub(super) const SET_ASIDE: &str = "set-aside";

/// More than any result this daemon writes, and less than would hurt.
const LONGEST_FILE: u64 = 512 << 20;

#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Opened again when somebody removed the directory under us. Holds the lock.
    dir: Mutex<Option<Arc<File>>>,
    access: Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The daemon: it makes the directory and locks it.
    Owner(Sync),
    /// The command line, beside a daemon or without one.
    Visitor,
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("RESULTS_DIR is {}, which cannot be used: {source}", path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("RESULTS_DIR is {}, which another executor is using; give each a directory of its own", path.display())]
    Taken { path: PathBuf },
}

/// A file of the directory that is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub execution_id: String,
    /// Bytes.
    pub size: u64,
    pub modified: SystemTime,
}

/// What a look at the directory shows.
#[derive(Debug, Default)]
pub struct Listing {
    pub running: Vec<Found>,
    pub pending: Vec<Found>,
    temporary: Vec<String>,
    /// Names that are not ours.
    pub foreign: Vec<String>,
}

/// What an earlier daemon left.
#[derive(Debug, Default)]
pub struct TakenOver {
    pub crashed: Vec<Found>,
    /// Execution and what was wrong: files that stood for its result and were none.
    pub set_aside: Vec<(String, String)>,
    /// Files that could not be dealt with.
    pub failed: Vec<(String, io::Error)>,
}

/// A result that is kept for a person to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    name: String,
    pub execution_id: String,
    /// `http-413`, `damaged`.
    pub why: String,
    pub size: u64,
    pub modified: SystemTime,
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It was delivered, or somebody took it away.
    #[error("there is no such result")]
    Missing,
    #[error("the file {0}")]
    Damaged(String),
    #[error("the file cannot be read: {0}")]
    Failed(#[source] io::Error),
}

impl Journal {
    /// A directory that cannot be used now may be usable later: each call tries again.
    pub fn at(path: &Path, access: Access) -> Self {
        Self { path: path.to_owned(), dir: Mutex::new(None), access }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory if it is missing, opens and locks it.
    pub fn open(&self) -> Result<(), JournalError> {
        self.dir().map(drop)
    }

    fn dir(&self) -> Result<Arc<File>, JournalError> {
        let mut dir = self.dir.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dir) = &*dir {
            return Ok(Arc::clone(dir));
        }
        let unusable = |source| JournalError::Unusable { path: self.path.clone(), source };
        let opened = match self.access {
            Access::Visitor => File::open(&self.path).map_err(unusable)?,
            Access::Owner(_) => {
                DirBuilder::new().recursive(true).mode(0o700).create(&self.path).map_err(unusable)?;
                let opened = File::open(&self.path).map_err(unusable)?;
                match opened.try_lock() {
                    Ok(()) => opened,
                    Err(TryLockError::WouldBlock) => {
                        return Err(JournalError::Taken { path: self.path.clone() });
                    }
                    Err(TryLockError::Error(source)) => return Err(unusable(source)),
                }
            }
        };
        let opened = Arc::new(opened);
        *dir = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Works in the directory; once more in a new one when it turns out to have been removed.
    fn within<T>(&self, work: impl Fn(&File) -> io::Result<T>) -> io::Result<T> {
        match work(&*self.dir().map_err(io::Error::other)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *self.dir.lock().unwrap_or_else(PoisonError::into_inner) = None;
                work(&*self.dir().map_err(io::Error::other)?)
            }
            done => done,
        }
    }

    /// A run was accepted. `bytes` is what is reported if nothing more is ever written.
    pub fn begin(&self, execution_id: &str, bytes: &[u8]) -> io::Result<()> {
        let name = format!("{execution_id}{RUNNING}");
        match self.within(|dir| files::write_new(dir.as_fd(), OsStr::new(&name), bytes)) {
            // Of an earlier run with this id, when it could not be removed then.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.update(execution_id, bytes),
            begun => begun,
        }
    }

    /// More is known of the run.
    pub fn update(&self, execution_id: &str, bytes: &[u8]) -> io::Result<()> {
        self.replace(&format!("{execution_id}{RUNNING}"), bytes, Sync::PageCache)
    }

    /// The run is over; its result waits for delivery. The other file is withdrawn before that, but after the caller has its
    /// answer: where both are, this one counts.
    pub fn finish(&self, execution_id: &str, bytes: &[u8]) -> io::Result<()> {
        let sync = match self.access {
            Access::Owner(sync) => sync,
            Access::Visitor => Sync::PageCache,
        };
        self.replace(&format!("{execution_id}{PENDING}"), bytes, sync)
    }

    /// The run never was, or its result is safe.
    pub fn withdraw(&self, execution_id: &str) -> io::Result<()> {
        self.remove(&format!("{execution_id}{RUNNING}"))
    }

    /// The run died, or its task did: what is known of it waits for delivery.
    pub fn give_up(&self, execution_id: &str) -> io::Result<()> {
        let (from, to) = (format!("{execution_id}{RUNNING}"), format!("{execution_id}{PENDING}"));
        let dir = self.dir().map_err(io::Error::other)?;
        files::rename(dir.as_fd(), OsStr::new(&from), dir.as_fd(), OsStr::new(&to))
    }

    /// The control plane has it.
    pub fn accepted(&self, execution_id: &str) -> io::Result<()> {
        self.remove(&format!("{execution_id}{PENDING}"))
    }

    pub fn load(&self, execution_id: &str) -> Result<Entry, LoadError> {
        self.read(&format!("{execution_id}{PENDING}"), execution_id)
    }

    pub fn load_running(&self, execution_id: &str) -> Result<Entry, LoadError> {
        self.read(&format!("{execution_id}{RUNNING}"), execution_id)
    }

    fn read(&self, name: &str, execution_id: &str) -> Result<Entry, LoadError> {
        let dir = self.dir().map_err(|error| LoadError::Failed(io::Error::other(error)))?;
        parse(files::read_regular(dir.as_fd(), OsStr::new(name), LONGEST_FILE), execution_id)
    }

    /// Everything in the directory but what was set aside.
    pub fn list(&self) -> io::Result<Listing> {
        self.within(|dir| {
            let mut listing = Listing::default();
            for entry in files::list(dir.as_fd())? {
                let name = entry.name.to_string_lossy().into_owned();
                let found = |id: &str| Found {
                    execution_id: id.to_owned(),
                    size: entry.size,
                    modified: entry.modified,
                };
                let id = |suffix| name.strip_suffix(suffix).filter(|id| is_execution_id(id));
                let unfinished = |name: &str| {
                    let id = name.strip_suffix(PENDING).or_else(|| name.strip_suffix(RUNNING));
                    id.is_some_and(is_execution_id)
                };
                if let (Some(id), Kind::Regular) = (id(RUNNING), entry.kind) {
                    listing.running.push(found(id));
                } else if let Some(id) = id(PENDING) {
                    // What is not a regular file is found out, and set aside, when it is read.
                    listing.pending.push(found(id));
                } else if name.strip_suffix(TEMPORARY).is_some_and(unfinished) {
                    listing.temporary.push(name);
                } else if name != SET_ASIDE {
                    listing.foreign.push(name);
                }
            }
            Ok(listing)
        })
    }

    /// Takes over from a daemon that died: its unfinished files are removed, its runs wait for delivery as crashed.
    ///
    /// What stands in the way of one run keeps no other from being reported.
    pub fn take_over(&self, rescue: impl Fn(&Found) -> Vec<u8>) -> io::Result<TakenOver> {
        let Listing { running, pending, temporary, .. } = self.list()?;
        let mut taken = TakenOver::default();
        for name in temporary {
            if let Err(error) = self.remove(&name) {
                taken.failed.push((name, error));
            }
        }
        let ended: BTreeSet<_> = pending.into_iter().map(|found| found.execution_id).collect();
        for run in running {
            let id = &run.execution_id;
            let result = if ended.contains(id) { self.load(id).map(drop) } else { Err(LoadError::Missing) };
            let done = match result {
                // It ended, and the daemon died before it had removed this.
                Ok(()) => self.withdraw(id).map(|()| None),
                Err(LoadError::Missing) => self.take_over_one(&run, &rescue).map(Some),
                // After a power failure, say. Nobody would hear of this run if it were believed to have a result.
                Err(LoadError::Damaged(why)) => self.set_aside_damaged(id).and_then(|()| {
                    taken.set_aside.push((id.clone(), why));
                    self.take_over_one(&run, &rescue).map(Some)
                }),
                Err(LoadError::Failed(error)) => Err(error),
            };
            match done {
                Ok(None) => {}
                Ok(Some(())) => taken.crashed.push(run),
                Err(error) => taken.failed.push((format!("{id}{RUNNING}"), error)),
            }
        }
        Ok(taken)
    }

    fn take_over_one(&self, run: &Found, rescue: impl Fn(&Found) -> Vec<u8>) -> io::Result<()> {
        let id = &run.execution_id;
        match self.load_running(id) {
            Ok(_) => self.give_up(id),
            // The daemon died while it wrote this very file: that the run was there is all that is known.
            Err(LoadError::Damaged(_)) => {
                self.finish(id, &rescue(run))?;
                self.withdraw(id)
            }
            Err(LoadError::Missing) => Ok(()),
            Err(LoadError::Failed(error)) => Err(error),
        }
    }

    /// Keeps a result that cannot be delivered. `key` tells results of one execution apart.
    pub fn set_aside(&self, execution_id: &str, key: &str, why: &str) -> io::Result<()> {
        let (from, to) = (format!("{execution_id}{PENDING}"), format!("{key}.{why}{PENDING}"));
        let dir = self.dir().map_err(io::Error::other)?;
        let aside = self.aside_dir()?;
        files::rename(dir.as_fd(), OsStr::new(&from), aside.as_fd(), OsStr::new(&to))
    }

    /// Keeps what is no result. No key in it can be trusted; the time tells it from others.
    pub fn set_aside_damaged(&self, execution_id: &str) -> io::Result<()> {
        let key = format!("{execution_id}-{}", jiff::Timestamp::now().as_millisecond());
        self.set_aside(execution_id, &key, "damaged")
    }

    /// What was set aside, oldest first.
    pub fn aside(&self) -> io::Result<Vec<Aside>> {
        let dir = self.dir().map_err(io::Error::other)?;
        let dir = match tree::open_dir_beneath(dir.as_fd(), Path::new(SET_ASIDE)) {
            Ok(dir) => dir,
            Err(OpenError::Missing { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(io::Error::other(error)),
        };
        let mut aside: Vec<_> = files::list(dir.as_fd())?.into_iter().filter_map(Aside::of).collect();
        aside.sort_by_key(|entry| entry.modified);
        Ok(aside)
    }

    pub fn load_aside(&self, aside: &Aside) -> Result<Entry, LoadError> {
        let dir = self.aside_dir().map_err(LoadError::Failed)?;
        parse(files::read_regular(dir.as_fd(), OsStr::new(&aside.name), LONGEST_FILE), &aside.execution_id)
    }

    /// Puts it back among those that wait. A daemon that runs will find it.
    ///
    /// # Errors
    /// `AlreadyExists`: another result of this execution waits, or will when its run is over.
    pub fn put_back(&self, aside: &Aside) -> io::Result<()> {
        if self.path.join(format!("{}{RUNNING}", aside.execution_id)).exists() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "an execution with this id is under way",
            ));
        }
        let to = self.path.join(format!("{}{PENDING}", aside.execution_id));
        // A newer result of the same execution must not be lost for an older one: a link, unlike a rename, replaces nothing.
        let from = self.path.join(SET_ASIDE).join(&aside.name);
        std::fs::hard_link(&from, to)?;
        std::fs::remove_file(from)
    }

    pub fn let_go_aside(&self, aside: &Aside) -> io::Result<()> {
        files::remove(self.aside_dir()?.as_fd(), OsStr::new(&aside.name)).map(drop)
    }

    /// Not through a link: what is behind one is not ours.
    fn aside_dir(&self) -> io::Result<OwnedFd> {
        let dir = self.dir().map_err(io::Error::other)?;
        match tree::make_dir_beneath(dir.as_fd(), OsStr::new(SET_ASIDE)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        tree::open_dir_beneath(dir.as_fd(), Path::new(SET_ASIDE)).map_err(io::Error::other)
    }

    fn replace(&self, name: &str, bytes: &[u8], sync: Sync) -> io::Result<()> {
        let temporary = format!("{name}{TEMPORARY}");
        self.within(|dir| {
            files::write_replacing(dir.as_fd(), OsStr::new(&temporary), OsStr::new(name), bytes, sync)
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let dir = self.dir().map_err(io::Error::other)?;
        files::remove(dir.as_fd(), OsStr::new(name)).map(drop)
    }
}

impl Aside {
    /// `<key>.<why>.json`, where the key is the execution's id, a time, and perhaps that it crashed.
    fn of(entry: files::Entry) -> Option<Self> {
        let name = entry.name.into_string().ok()?;
        let (key, why) = name.strip_suffix(PENDING)?.split_once('.')?;
        let (id, _accepted_at) = key.trim_end_matches(CRASHED).rsplit_once('-')?;
        is_execution_id(id).then(|| Self {
            execution_id: id.to_owned(),
            why: why.to_owned(),
            size: entry.size,
            modified: entry.modified,
            name: name.clone(),
        })
    }
}

fn parse(read: Result<Vec<u8>, ReadError>, execution_id: &str) -> Result<Entry, LoadError> {
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(ReadError::Missing) => return Err(LoadError::Missing),
        Err(ReadError::NotRegular) => return Err(LoadError::Damaged("is no regular file".to_owned())),
        Err(ReadError::TooLarge { size }) => {
            return Err(LoadError::Damaged(format!("has {size} bytes; at most {LONGEST_FILE} are read")));
        }
        Err(ReadError::Failed { source }) => return Err(LoadError::Failed(source)),
    };
    Entry::parse(execution_id, &bytes).map_err(|error: EntryError| LoadError::Damaged(error.to_string()))
}
