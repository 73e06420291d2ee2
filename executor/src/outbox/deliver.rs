//! Delivery: one task per result that waits, and one that owns them all.
//!
//! ```text
//!            ┌── wait: 1, 2, 4, 8, then 10 s, each up to a fifth longer, or Retry-After ──┐
//! Parcel ──► attempt ──► again ──────────────────────────────────────────────────────────┘
//!               ├──► accepted ──► removed
//!               ├──► refused, damaged ──► set aside
//!               └──► 24 h old ──► let go
//! ```
//! At most so many bytes are on their way at once; nobody waits for somebody else's bad luck beyond that. [`Deliveries`]
//! keeps the directory within its bounds and finds what was put back into it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tracing::{Instrument, Span};

use super::Shared;
use super::entry::{Entry, Label};
use super::journal::{Found, LoadError};
use super::ledger::Excess;
use super::pledge::{Quiet, crashed};
use crate::config::CallbackFormat;
use crate::control_plane::{Client, Message, Verdict, delays, judge};
use crate::job::Fingerprint;
use crate::run::progress::Snapshot;
use crate::telemetry::metrics::Kind;
use crate::telemetry::throttle::Throttle;
use crate::telemetry::trace::TraceHeaders;
use crate::telemetry::{events, spans};

/// One call, from connecting to the end of the answer.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// How often the directory is looked at for what was put back.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// What may be on its way at once, in units of [`UNIT`]: a small result is one, a large one as many as it has megabytes.
const UNITS: u32 = 64;
const UNIT: u64 = 1 << 20;

/// One line per interval about deliveries that failed: with hundreds waiting, each says the same.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// A result that waits.
pub(super) struct Parcel {
    pub(super) execution_id: String,
    pub(super) size: u64,
    pub(super) source: Source,
    pub(super) quiet: Option<Quiet>,
}

#[derive(Debug, Clone)]
pub(super) enum Source {
    Disk,
    /// The disk would not take it.
    Memory(Arc<Entry>),
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parcel").field("execution_id", &self.execution_id).finish_non_exhaustive()
    }
}

impl Shared {
    /// The ledger has it already.
    pub(super) fn hand_over(&self, parcel: Parcel) {
        self.ledger.weigh(&parcel.execution_id, parcel.size);
        // Without a receiver the daemon is ending; what is on disk is found by the next one.
        self.parcels.send(parcel).ok();
    }

    /// Everything that an earlier daemon left is delivered by this one.
    pub(super) async fn take_over(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        let look = tokio::task::spawn_blocking(move || {
            let taken = shared.journal.take_over(rescue)?;
            let listing = shared.journal.list()?;
            io::Result::Ok((taken, listing))
        });
        match look.await.unwrap_or_else(|bug| Err(io::Error::other(bug))) {
            Ok((taken, listing)) => {
                if !listing.pending.is_empty() {
                    let (pending, crashed) = (listing.pending.len(), taken.crashed.len());
                    tracing::info!(pending, crashed, "{}", events::OUTBOX_TAKEN_OVER);
                }
                for (execution_id, error) in taken.set_aside {
                    tracing::error!(execution_id, error, "{}", events::CALLBACK_SET_ASIDE);
                }
                for (path, error) in taken.failed {
                    tracing::error!(path, %error, "{}", events::CLEANUP_FAILED);
                }
                if let Some(example) = listing.foreign.first() {
                    tracing::warn!(count = listing.foreign.len(), example, "{}", events::FOREIGN_FILES);
                }
                self.enlist(listing.pending);
            }
            Err(error) => {
                tracing::error!(path = %self.journal.path().display(), %error, "{}", events::JOURNAL_FAILED);
            }
        }
    }

    fn enlist(&self, found: Vec<Found>) {
        for Found { execution_id, size, modified } in found {
            if self.ledger.add(&execution_id, size, modified) {
                self.hand_over(Parcel { execution_id, size, source: Source::Disk, quiet: None });
            }
        }
    }
}

/// All that is known of a run whose entry was being written when the daemon died.
pub fn rescue(run: &Found) -> Vec<u8> {
    let accepted_at = jiff::Timestamp::try_from(run.modified).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    crashed(
        &Label::new(&run.execution_id, accepted_at, "unknown", None, &Fingerprint::default()),
        &Snapshot::default(),
        None,
    )
}

/// How a delivery ended. The file is dealt with.
#[derive(Debug)]
enum End {
    Accepted,
    SetAside,
    LetGo,
    /// Somebody took the file away.
    Gone,
    /// It can neither be delivered nor be moved out of the way: it is not tried again by this daemon.
    Stuck,
}

/// The task that delivers.
#[derive(Debug)]
pub struct Deliveries(Option<Owner>);

#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    courier: Courier,
    inbox: mpsc::UnboundedReceiver<Parcel>,
    under_way: JoinSet<(String, End)>,
    handles: HashMap<String, AbortHandle>,
    stuck: HashSet<String>,
}

impl Deliveries {
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn new(
        shared: Arc<Shared>,
        client: Client,
        format: CallbackFormat,
        inbox: mpsc::UnboundedReceiver<Parcel>,
    ) -> Self {
        let courier = Courier {
            shared: Arc::clone(&shared),
            client,
            format,
            units: Arc::new(Semaphore::new(UNITS as usize)),
            lines: Arc::new(Throttle::new(LINE_INTERVAL)),
        };
        let (handles, stuck) = (HashMap::new(), HashSet::new());
        Self(Some(Owner { shared, courier, inbox, under_way: JoinSet::new(), handles, stuck }))
    }

    /// Runs until it is dropped.
    pub async fn run(self) {
        let Some(mut owner) = self.0 else { return };
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(parcel) = owner.inbox.recv() => owner.take(parcel).await,
                Some(ended) = owner.under_way.join_next() => owner.settle(ended),
                _ = looks.tick() => owner.look().await,
            }
        }
    }
}

impl Owner {
    async fn take(&mut self, parcel: Parcel) {
        let id = parcel.execution_id.clone();
        let hurry = self.shared.hurry.subscribe();
        let handle = self.under_way.spawn(self.courier.clone().carry(parcel, hurry));
        self.handles.insert(id, handle);
        self.make_room().await;
    }

    fn settle(&mut self, ended: Result<(String, End), tokio::task::JoinError>) {
        match ended {
            Ok((id, end)) => {
                self.handles.remove(&id);
                match end {
                    End::Accepted | End::Gone => {}
                    End::Stuck => drop(self.stuck.insert(id.clone())),
                    End::SetAside => self.shared.ledger.count_set_aside(&id),
                    End::LetGo => self.shared.ledger.count_let_go(),
                }
                self.shared.ledger.remove(&id);
            }
            Err(error) if error.is_cancelled() => {}
            // Its file is still there, and found again by the next look.
            Err(error) => tracing::error!(%error, "{}", events::CLEANUP_FAILED),
        }
    }

    /// Counts what was set aside and enlists what was put back.
    async fn look(&mut self) {
        let shared = Arc::clone(&self.shared);
        let look = tokio::task::spawn_blocking(move || {
            let aside = shared.journal.aside()?;
            shared.ledger.note_set_aside(aside.len(), aside.iter().map(|entry| entry.size).sum());
            Ok(shared.journal.list()?.pending)
        });
        match look.await.unwrap_or_else(|bug| Err(io::Error::other(bug))) {
            Ok(mut pending) => {
                pending.retain(|found| !self.stuck.contains(&found.execution_id));
                self.shared.enlist(pending);
            }
            Err(error) => tracing::debug!(%error, "the results directory cannot be read"),
        }
        self.make_room().await;
    }

    async fn make_room(&mut self) {
        while let Some(excess) = self.shared.ledger.excess() {
            let shared = Arc::clone(&self.shared);
            let gone = match excess {
                Excess::Pending(id) => {
                    if let Some(handle) = self.handles.remove(&id) {
                        handle.abort();
                    }
                    self.shared.ledger.remove(&id);
                    tokio::task::spawn_blocking(move || shared.journal.accepted(&id).map(|()| id)).await
                }
                Excess::SetAside => {
                    tokio::task::spawn_blocking(move || {
                        let aside = shared.journal.aside()?;
                        let Some((oldest, rest)) = aside.split_first() else {
                            shared.ledger.note_set_aside(0, 0);
                            return Ok(String::new());
                        };
                        shared.journal.let_go_aside(oldest)?;
                        shared.ledger.note_set_aside(rest.len(), rest.iter().map(|entry| entry.size).sum());
                        Ok(oldest.execution_id.clone())
                    })
                    .await
                }
            };
            match gone.unwrap_or_else(|bug| Err(io::Error::other(bug))) {
                Ok(execution_id) if execution_id.is_empty() => {}
                Ok(execution_id) => {
                    self.shared.ledger.count_let_go();
                    let reason = "the results directory is full";
                    tracing::error!(execution_id, reason, "{}", events::CALLBACK_LET_GO);
                }
                Err(error) => {
                    tracing::error!(%error, "{}", events::CLEANUP_FAILED);
                    return;
                }
            }
        }
    }
}

/// Carries one parcel. Cheap to clone.
#[derive(Debug, Clone)]
struct Courier {
    shared: Arc<Shared>,
    client: Client,
    format: CallbackFormat,
    units: Arc<Semaphore>,
    lines: Arc<Throttle>,
}

/// How one attempt went.
enum Attempt {
    Over(End),
    Failed { error: String, not_before: Duration },
}

impl Courier {
    async fn carry(self, parcel: Parcel, mut hurry: watch::Receiver<u64>) -> (String, End) {
        let Parcel { execution_id, size, source, quiet } = parcel;
        let from_run = quiet.is_some();
        if let Some(quiet) = quiet {
            quiet.await;
            // From here on the result is the only word about this run; unless it is not on disk.
            if matches!(source, Source::Disk) {
                self.withdraw(&execution_id).await;
            }
        }
        let mut delays = delays();
        let mut attempts = 0_u32;
        let mut span = Span::none();
        loop {
            attempts += 1;
            let attempt = self.attempt(&execution_id, size, &source, attempts, &mut span).await;
            let (error, not_before) = match attempt {
                Attempt::Over(end) => {
                    // Found by a look at the directory, it may just have been delivered by another hand.
                    if matches!(end, End::Gone) && (from_run || attempts > 1) {
                        let reason = "somebody removed its file";
                        tracing::error!(execution_id, reason, "{}", events::CALLBACK_LET_GO);
                    }
                    if matches!(source, Source::Memory(_)) {
                        self.withdraw(&execution_id).await;
                    }
                    return (execution_id, end);
                }
                Attempt::Failed { error, not_before } => (error, not_before),
            };
            if self.shared.ledger.has_expired(&execution_id) {
                self.remove(&execution_id).await;
                let reason = "it has waited for 24 hours";
                tracing::error!(execution_id, reason, error, "{}", events::CALLBACK_LET_GO);
                return (execution_id, End::LetGo);
            }
            let wait = delays.next().unwrap_or_default().max(not_before);
            if let Some(suppressed) = self.lines.pass(Instant::now()) {
                let retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(
                    parent: &span,
                    execution_id,
                    attempts,
                    error,
                    retry_in_ms,
                    suppressed,
                    "{}",
                    events::CALLBACK_DEFERRED
                );
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = hurry.changed() => {}
            }
        }
    }

    /// `span`: becomes that of the run, once it is known.
    async fn attempt(
        &self,
        execution_id: &str,
        size: u64,
        source: &Source,
        attempts: u32,
        span: &mut Span,
    ) -> Attempt {
        let weight = u32::try_from(size / UNIT).unwrap_or(UNITS).clamp(1, UNITS);
        let units = self.units.acquire_many(weight).await;
        let entry = match source {
            Source::Memory(entry) => Arc::clone(entry),
            Source::Disk => match self.load(execution_id).await {
                Ok(entry) => Arc::new(entry),
                Err(LoadError::Missing) => return Attempt::Over(End::Gone),
                Err(LoadError::Damaged(error)) => return self.damaged(execution_id, &error).await,
                Err(LoadError::Failed(error)) => {
                    let error = format!("its file cannot be read: {error}");
                    return Attempt::Failed { error, not_before: Duration::ZERO };
                }
            },
        };
        let trace = entry.run.trace();
        let trace_id = trace.as_ref().and_then(TraceHeaders::trace_id);
        *span = spans::execution(execution_id, &entry.run.request_id, trace_id);
        let call = self.call(execution_id, &entry, source, attempts);
        let attempt = call.instrument(span.clone()).await;
        drop(units);
        attempt
    }

    async fn call(&self, execution_id: &str, entry: &Entry, source: &Source, attempts: u32) -> Attempt {
        let body = match entry.body(self.format) {
            Ok(body) => body,
            Err(error) => return self.damaged(execution_id, &error.to_string()).await,
        };
        let message = Message {
            kind: Kind::Result,
            path: format!("/internal/executions/{execution_id}/result"),
            idempotency_key: entry.run.idempotency_key.clone(),
            body,
            request_id: Some(entry.run.request_id.clone()),
            trace: entry.run.trace(),
        };
        let answer = match self.client.post(message, CALL_DEADLINE).await {
            Ok(answer) => answer,
            Err(error) => {
                return Attempt::Failed { error: error.to_string(), not_before: Duration::ZERO };
            }
        };
        let http_status = answer.status;
        match judge(answer) {
            Verdict::Accepted => {
                self.remove(execution_id).await;
                tracing::info!(attempts, http_status, "{}", events::CALLBACK_DELIVERED);
                Attempt::Over(End::Accepted)
            }
            Verdict::Refused => {
                let key = entry.run.idempotency_key.clone();
                let moved = self.set_aside(execution_id, key, format!("http-{http_status}"), source).await;
                match (moved, source) {
                    (Ok(()), _) => {
                        tracing::error!(http_status, "{}", events::CALLBACK_SET_ASIDE);
                        Attempt::Over(End::SetAside)
                    }
                    // There is still no room for it on disk; nobody but us has it.
                    (Err(error), Source::Memory(_)) => {
                        let error = format!(
                            "the control plane answered {http_status}, and it cannot be kept: {error}"
                        );
                        Attempt::Failed { error, not_before: Duration::ZERO }
                    }
                    (Err(error), Source::Disk) => self.stuck(execution_id, &error),
                }
            }
            Verdict::Again { not_before } => {
                Attempt::Failed { error: format!("the control plane answered {http_status}"), not_before }
            }
        }
    }

    async fn load(&self, execution_id: &str) -> Result<Entry, LoadError> {
        let (journal, id) = (Arc::clone(&self.shared.journal), execution_id.to_owned());
        let loaded = tokio::task::spawn_blocking(move || journal.load(&id)).await;
        loaded.unwrap_or_else(|bug| Err(LoadError::Failed(io::Error::other(bug))))
    }

    async fn damaged(&self, execution_id: &str, error: &str) -> Attempt {
        let (journal, id) = (Arc::clone(&self.shared.journal), execution_id.to_owned());
        let moved = tokio::task::spawn_blocking(move || journal.set_aside_damaged(&id)).await;
        match moved.unwrap_or_else(|bug| Err(io::Error::other(bug))) {
            Ok(()) => {
                tracing::error!(execution_id, error, "{}", events::CALLBACK_SET_ASIDE);
                Attempt::Over(End::SetAside)
            }
            Err(error) => self.stuck(execution_id, &error),
        }
    }

    fn stuck(&self, execution_id: &str, error: &io::Error) -> Attempt {
        let path = self.shared.journal.path().display();
        tracing::error!(execution_id, %path, %error, "{}", events::CLEANUP_FAILED);
        Attempt::Over(End::Stuck)
    }

    /// What is only in memory is written first.
    async fn set_aside(
        &self,
        execution_id: &str,
        key: String,
        why: String,
        source: &Source,
    ) -> io::Result<()> {
        let (journal, id, source) =
            (Arc::clone(&self.shared.journal), execution_id.to_owned(), source.clone());
        let moved = tokio::task::spawn_blocking(move || {
            if let Source::Memory(entry) = source {
                journal.finish(&id, &entry.to_bytes()?)?;
            }
            journal.set_aside(&id, &key, &why)
        });
        moved.await.unwrap_or_else(|bug| Err(io::Error::other(bug)))
    }

    async fn withdraw(&self, execution_id: &str) {
        let (journal, id) = (Arc::clone(&self.shared.journal), execution_id.to_owned());
        self.report(tokio::task::spawn_blocking(move || journal.withdraw(&id)).await);
    }

    async fn remove(&self, execution_id: &str) {
        let (journal, id) = (Arc::clone(&self.shared.journal), execution_id.to_owned());
        self.report(tokio::task::spawn_blocking(move || journal.accepted(&id)).await);
    }

    fn report(&self, done: Result<io::Result<()>, tokio::task::JoinError>) {
        let error: &dyn std::error::Error = match &done {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(bug) => bug,
        };
        tracing::error!(path = %self.shared.journal.path().display(), %error, "{}", events::CLEANUP_FAILED);
    }
}
