//! Removes the cgroups of runs that are over: on a thread of its own, because nobody's answer has to wait for it.
//!
//! The kernel removes a cgroup only when nobody is in it, which is a moment after its last process has died: what cannot be
//! removed yet is tried again, until it can or [`PATIENCE`] is over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// How long an empty cgroup may take to become removable.
const PATIENCE: Duration = Duration::from_secs(10);

/// From one try to the next.
const PAUSE: Duration = Duration::from_millis(5);

/// How long the end of this program waits. What is left then, the next daemon removes.
const AT_THE_END: Duration = Duration::from_secs(1);

enum Message {
    Remove(PathBuf),
    /// Dropped when nothing is left.
    Settle(Sender<()>),
}

/// Empty until something is removed; `None` where no thread could be made.
static REMOVER: OnceLock<Option<Sender<Message>>> = OnceLock::new();

fn start() -> Option<Sender<Message>> {
    let (sender, inbox) = mpsc::channel();
    let thread = thread::Builder::new().name("cgroups".into()).stack_size(256 * 1024);
    thread.spawn(move || work(&inbox)).is_ok().then_some(sender)
}

/// Removes it soon, or now where that cannot be.
pub(super) fn begin(directory: PathBuf) {
    let sent =
        REMOVER.get_or_init(start).as_ref().map(|remover| remover.send(Message::Remove(directory.clone())));
    if !matches!(sent, Some(Ok(()))) {
        complain(&directory, remove(&directory));
    }
}

/// Waits until everything that was begun is done, but not for long: for the end of this program.
pub fn settle() {
    let Some(Some(remover)) = REMOVER.get() else { return };
    let (settling, settled) = mpsc::channel::<()>();
    if remover.send(Message::Settle(settling)).is_ok() {
        // Either way this program ends now.
        settled.recv_timeout(AT_THE_END).ok();
    }
}

fn work(inbox: &Receiver<Message>) {
    let mut left: Vec<(PathBuf, Instant)> = Vec::new();
    let mut settling: Vec<Sender<()>> = Vec::new();
    loop {
        let message = if left.is_empty() {
            settling.clear();
            inbox.recv().map_err(|_gone| RecvTimeoutError::Disconnected)
        } else {
            inbox.recv_timeout(PAUSE)
        };
        match message {
            Ok(Message::Remove(directory)) => left.push((directory, Instant::now() + PATIENCE)),
            Ok(Message::Settle(answer)) => settling.push(answer),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        left.retain(|(directory, deadline)| match remove(directory) {
            Ok(()) => false,
            Err(error) if Instant::now() > *deadline => {
                complain(directory, Err(error));
                false
            }
            Err(_) => true,
        });
    }
}

fn complain(directory: &Path, removed: io::Result<()>) {
    if let Err(error) = removed {
        let error = format!("the cgroup {} of a run cannot be removed: {error}", directory.display());
        tracing::error!(error, "cleanup_failed");
    }
}

pub(super) fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
