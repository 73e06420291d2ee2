//! Digests that an answer did not wait for, made after it.
//!
//! Meanwhile a program of the same workspace may run: a digest is only given for the file that the manifest lists, and a file that
//! has changed since keeps none. One workspace is read at a time, and only so many wait for that: hashing must not take the
//! machine from programs, and whoever fills it with large files gets fewer digests, not more of it.

use std::os::fd::BorrowedFd;

use tokio::sync::Semaphore;

use super::bounds::Bounds;
use super::hash::Hashing;
use super::record::ArtifactRecord;

/// How many workspaces may wait.
const WAITING: usize = 32;

#[derive(Debug)]
pub struct Late {
    places: Semaphore,
    turn: Semaphore,
}

impl Default for Late {
    fn default() -> Self {
        Self { places: Semaphore::new(WAITING), turn: Semaphore::new(1) }
    }
}

impl Late {
    /// Does `work` when it is its turn; never, where too many wait.
    pub async fn take_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let _place = self.places.try_acquire().ok()?;
        let _turn = self.turn.acquire().await.ok()?;
        tokio::task::spawn_blocking(work).await.ok()
    }
}

/// The artifacts with the digests they lacked, as far as these can be had; `None` where there is nothing new. Blocks.
pub fn hash_late(
    dir: BorrowedFd<'_>,
    artifacts: &[ArtifactRecord],
    bounds: &Bounds,
) -> Option<Vec<ArtifactRecord>> {
    let mut hashing = Hashing::new(dir, bounds);
    let mut artifacts = artifacts.to_vec();
    let mut is_new = false;
    for artifact in artifacts.iter_mut().filter(|artifact| artifact.sha256.is_none()) {
        artifact.sha256 = hashing.within_budget(artifact.place(), &artifact.identity).ok();
        is_new |= artifact.sha256.is_some();
    }
    is_new.then_some(artifacts)
}
