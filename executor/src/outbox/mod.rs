//! The outbox: what the control plane must hear of, and has not heard of yet.
//!
//! ```text
//!            begin                 keep                              accepted
//! accepted ────────► on disk as ──────────► on disk, waits for ────────────────► gone
//!                    "crashed"              delivery, caller answered   │ refused, damaged
//!                       │ daemon dies              ▲                    ├──────────────────► set aside
//!                       └──────── next daemon ─────┘                    │ too old, no room
//!                                                                       └──────────────────► let go, said aloud
//! ```
//! Each run holds a [`Pledge`]; dropping one unkept reports the run as crashed. What waits is known in the [`Ledger`];
//! [`Deliveries`] is the one task that delivers, and it ends with the daemon. Journal before answer: once a caller has been
//! told a result, no crash of the daemon loses its callback.
//!
//! | file | what it does |
//! |---|---|
//! | `entry.rs` | what is in a file |
//! | `journal.rs` | the directory |
//! | `ledger.rs` | what waits, and how much of it there may be |
//! | `pledge.rs` | one run, from accepted to over |
//! | `deliver.rs` | attempts, and what becomes of an entry |

mod deliver;
mod pledge;
mod entry;
pub mod journal;
mod ledger;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use sandbox::host::Capabilities;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::config::Config;
use crate::control_plane::Client;
use crate::telemetry::events;

pub use deliver::{Deliveries, rescue};
pub use entry::{Entry, Label};
use journal::{Access, Journal, JournalError};
pub use ledger::Counts;
use ledger::Ledger;
pub use pledge::{Pledge, Quiet};

/// Cheap to clone. Without a control plane it takes everything and does nothing.
#[derive(Debug, Clone)]
pub struct Outbox(Option<Arc<Shared>>);

/// What pledges and deliveries share.
#[derive(Debug)]
struct Shared {
    journal: Arc<Journal>,
    ledger: Ledger,
    parcels: mpsc::UnboundedSender<deliver::Parcel>,
    /// Counts up when nobody should wait any longer.
    hurry: watch::Sender<u64>,
}

impl Outbox {
    /// Opens the results directory and takes over what is in it. Spawn the deliveries' `run`.
    ///
    /// A directory that cannot be used is said in the log: runs go on, their results are not durable.
    ///
    /// # Errors
    /// Another daemon uses the directory.
    pub async fn open(config: &Config, client: Option<&Client>) -> Result<(Self, Deliveries), JournalError> {
        let (Some(control_plane), Some(client)) = (&config.control_plane, client) else {
            return Ok((Self(None), Deliveries::none()));
        };
        let journal = Arc::new(Journal::at(&config.results_dir, Access::Owner(config.results_fsync)));
        let mut usable = false;
        match journal.open() {
            Ok(()) => usable = true,
            Err(taken @ JournalError::Taken { .. }) => return Err(taken),
            Err(error @ JournalError::Unusable { .. }) => {
                tracing::error!(path = %config.results_dir.display(), %error, "{}", events::JOURNAL_FAILED);
            }
        }
        let (parcels, inbox) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            journal,
            ledger: Ledger::new(config.results_max),
            parcels,
            hurry: watch::Sender::new(0),
        });
        let deliveries = Deliveries::new(Arc::clone(&shared), client.clone(), control_plane.format, inbox);
        if usable {
            shared.take_over().await;
        }
        Ok((Self(Some(shared)), deliveries))
    }

    /// A run was accepted, to be held by `capabilities`. It is in the journal once [`Pledge::written`] is over.
    pub fn begin(&self, label: Label, capabilities: Capabilities) -> Pledge {
        Pledge::begin(self.0.clone(), label, capabilities)
    }

    /// Is there a result with this id that the control plane does not have yet?
    pub fn holds(&self, execution_id: &str) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.ledger.holds(execution_id))
    }

    /// Such a result, if it is on disk. What waits in memory only cannot be asked for.
    pub async fn stored(&self, execution_id: &str) -> Option<Entry> {
        let shared = self.0.as_ref().filter(|shared| shared.ledger.holds(execution_id))?;
        let (journal, id) = (Arc::clone(&shared.journal), execution_id.to_owned());
        tokio::task::spawn_blocking(move || journal.load(&id).ok()).await.ok().flatten()
    }

    /// `None`: there is no control plane.
    pub fn counts(&self) -> Option<Counts> {
        self.0.as_ref().map(|shared| shared.ledger.counts())
    }

    /// Tries everything that waits once more, now, and waits until that is done, or until `deadline`.
    pub async fn flush(&self, deadline: Instant) {
        let Some(shared) = &self.0 else { return };
        shared.hurry.send_modify(|count| *count += 1);
        // What is left stays on disk for the next daemon.
        drop(tokio::time::timeout_at(deadline, shared.ledger.empty()).await);
    }
}
