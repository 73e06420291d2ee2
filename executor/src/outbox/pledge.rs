//! The promise that the control plane hears how a run ended: given when the run is accepted, kept when its result is safe.
//!
//! Its writes never overtake each other: each waits for the one before. Dropping a pledge that was neither kept nor
//! withdrawn means that the run's task is gone, and the run is reported as crashed.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sandbox::host::Capabilities;
use sandbox::limits::Bytes;
use tokio::task::JoinHandle;

use super::Shared;
use super::deliver::{Parcel, Source};
use super::entry::{Entry, Label};
use super::journal::Journal;
use crate::outlet;
use crate::run::progress::{Progress, Snapshot};
use crate::run::record::{Callback, RunRecord};
use crate::telemetry::events;

/// How often the journal learns what a run has said.
const UPDATE_INTERVAL: Duration = Duration::from_secs(1);

/// Of each stream, for a run that dies with the daemon.
const CRASH_OUTPUT: Bytes = Bytes(64 << 10);

/// What must be over before a result may be sent.
pub type Quiet = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Debug)]
pub struct Pledge(Option<Open>);

#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    label: Label,
    capabilities: Capabilities,
    last: Option<JoinHandle<io::Result<()>>>,
}

impl Pledge {
    pub(super) fn begin(shared: Option<Arc<Shared>>, label: Label, capabilities: Capabilities) -> Self {
        Self(shared.map(|shared| {
            let mut open = Open { shared, label, capabilities, last: None };
            let bytes = open.crashed(&Snapshot::default());
            open.write(bytes, Journal::begin);
            open
        }))
    }

    /// Waits until the last write is on disk, or has failed, which is said in the log: runs go on without a journal.
    pub async fn written(&mut self) {
        if let Some(open) = &mut self.0 {
            open.written().await;
        }
    }

    /// Writes down what the run has said, as long as it is polled. May be dropped at any time.
    pub async fn follow(&mut self, progress: &Progress) -> std::convert::Infallible {
        let Some(open) = &mut self.0 else { return std::future::pending().await };
        let mut known = 0;
        let mut next = Instant::now() + UPDATE_INTERVAL;
        loop {
            tokio::time::sleep_until(next.into()).await;
            next = Instant::now() + UPDATE_INTERVAL;
            let numbers = progress.numbers();
            let said = numbers.stdout_bytes + numbers.stderr_bytes;
            if said != known
                && let Some(snapshot) = progress.snapshot(CRASH_OUTPUT)
            {
                known = said;
                open.written().await;
                let bytes = open.crashed(&snapshot);
                open.write(bytes, Journal::update);
            }
        }
    }

    /// The run is over. Whoever is told so after this cannot be told in vain: the result is delivered, even if the daemon
    /// dies. `quiet` must be over before it is sent.
    pub async fn keep(mut self, record: &mut RunRecord, quiet: Quiet) {
        let Some(mut open) = self.0.take() else { return };
        let began = Instant::now();
        open.written().await;
        // Before the file is there: nobody who looks at the directory must take it for one that was put back.
        open.enlist();
        record.callback = Callback::Journalled;
        let finished = open.finish(record).await;
        record.phases.journal = began.elapsed();
        match finished {
            Ok(size) => open.deliver(Source::Disk, size, quiet),
            Err(error) => {
                tracing::error!(path = %open.shared.journal.path().display(), %error, "{}", events::JOURNAL_FAILED);
                record.callback = Callback::NotDurable;
                let entry = Entry::new(open.label.clone(), &outlet::callback(record))
                    .expect("a result is plain data, which JSON can hold");
                let size = entry.result.get().len() as u64;
                open.deliver(Source::Memory(Arc::new(entry)), size, quiet);
            }
        }
    }

    /// There was no run after all.
    pub async fn withdraw(mut self) {
        let Some(mut open) = self.0.take() else { return };
        open.written().await;
        let (journal, id) = (Arc::clone(&open.shared.journal), open.label.execution_id.clone());
        report(tokio::task::spawn_blocking(move || journal.withdraw(&id)).await);
    }
}

impl Open {
    fn crashed(&self, seen: &Snapshot) -> Vec<u8> {
        crashed(&self.label, seen, Some(&self.capabilities))
    }

    /// In the background: see [`Open::written`].
    fn write(&mut self, bytes: Vec<u8>, how: fn(&Journal, &str, &[u8]) -> io::Result<()>) {
        let (journal, id) = (Arc::clone(&self.shared.journal), self.label.execution_id.clone());
        self.last = Some(tokio::task::spawn_blocking(move || how(&journal, &id, &bytes)));
    }

    async fn written(&mut self) {
        // Taken only when it is over: the future may be dropped while it waits.
        if let Some(last) = &mut self.last {
            report(last.await);
            self.last = None;
        }
    }

    /// Bytes on disk.
    async fn finish(&self, record: &RunRecord) -> io::Result<u64> {
        let result = outlet::callback(record);
        let (journal, label) = (Arc::clone(&self.shared.journal), self.label.clone());
        let finish = move || {
            let bytes = Entry::new(label.clone(), &result)?.to_bytes()?;
            journal.finish(&label.execution_id, &bytes)?;
            Ok(bytes.len() as u64)
        };
        tokio::task::spawn_blocking(finish).await.unwrap_or_else(|bug| Err(io::Error::other(bug)))
    }

    fn enlist(&self) {
        self.shared.ledger.add(&self.label.execution_id, 0, SystemTime::now());
    }

    fn deliver(self, source: Source, size: u64, quiet: Quiet) {
        let id = self.label.execution_id.clone();
        self.shared.hand_over(Parcel { execution_id: id, size, source, quiet: Some(quiet) });
    }
}

pub(super) fn crashed(label: &Label, seen: &Snapshot, capabilities: Option<&Capabilities>) -> Vec<u8> {
    Entry::crashed(label, &outlet::crashed(&label.execution_id, seen, capabilities))
        .and_then(|entry| entry.to_bytes())
        .expect("a crashed result is plain data, which JSON can hold")
}

fn report(written: Result<io::Result<()>, tokio::task::JoinError>) {
    let error: &dyn std::error::Error = match &written {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(bug) => bug,
    };
    tracing::error!(%error, "{}", events::JOURNAL_FAILED);
}

impl Drop for Pledge {
    fn drop(&mut self) {
        let (Some(mut open), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        runtime.spawn(async move {
            open.written().await;
            open.enlist();
            let (journal, id) = (Arc::clone(&open.shared.journal), open.label.execution_id.clone());
            let given_up = tokio::task::spawn_blocking(move || journal.give_up(&id)).await;
            let quiet = Box::pin(std::future::ready(()));
            match given_up {
                Ok(Ok(())) => open.deliver(Source::Disk, 0, quiet),
                failed => {
                    open.shared.ledger.remove(&open.label.execution_id);
                    report(failed);
                }
            }
        });
    }
}
