//! How much all downloads together may take of the daemon, whose business is running programs.

use std::sync::Arc;

use axum::body::Bytes as Chunk;
use sandbox::limits::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Files that are read to check them, at once: each keeps a thread and most of a processor busy.
const CHECKS: usize = 2;
/// Archives in the making, each with a few MiB for its compressor. The next one waits until one has been sent.
const ARCHIVES: usize = 8;
/// Files up to this size are kept in memory from the check until they are sent,
const SMALL: Bytes = Bytes::mib(8);
/// as long as all of them together take no more than this.
const IN_MEMORY: Bytes = Bytes::mib(64);

/// Made once, shared by all requests.
#[derive(Debug)]
pub struct Downloads {
    checks: Arc<Semaphore>,
    archives: Arc<Semaphore>,
    /// One permit per KiB.
    memory: Arc<Semaphore>,
}

impl Default for Downloads {
    fn default() -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            checks: semaphore(CHECKS),
            archives: semaphore(ARCHIVES),
            memory: semaphore((IN_MEMORY.0 / 1024) as usize),
        }
    }
}

impl Downloads {
    pub(super) async fn may_check(&self) -> OwnedSemaphorePermit {
        acquire(&self.checks).await
    }

    pub(super) async fn may_archive(&self) -> OwnedSemaphorePermit {
        acquire(&self.archives).await
    }

    /// Memory for a file of this size. `None`: it is too large, or others hold the memory; it can be sent without.
    pub(super) fn memory_for(&self, size: Bytes) -> Option<OwnedSemaphorePermit> {
        let kibibytes = u32::try_from(size.0.div_ceil(1024)).ok().filter(|_| size.0 <= SMALL.0)?;
        Arc::clone(&self.memory).try_acquire_many_owned(kibibytes).ok()
    }
}

async fn acquire(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(semaphore).acquire_owned().await.expect("this semaphore is never closed")
}

/// Content that gives its memory back when it has been sent.
pub(super) fn held(content: Vec<u8>, memory: OwnedSemaphorePermit) -> Chunk {
    Chunk::from_owner(Held { content, _memory: memory })
}

struct Held {
    content: Vec<u8>,
    _memory: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_for_small_files_and_comes_back_when_they_are_sent() {
        let downloads = Downloads::default();
        assert!(downloads.memory_for(Bytes(SMALL.0 + 1)).is_none());
        assert!(downloads.memory_for(Bytes(u64::MAX)).is_none());
        let mut sent: Vec<Chunk> = (0..IN_MEMORY.0 / SMALL.0)
            .map(|_| held(vec![1, 2, 3], downloads.memory_for(SMALL).unwrap()))
            .collect();
        assert!(downloads.memory_for(Bytes(1)).is_none());
        assert!(downloads.memory_for(Bytes(0)).is_some());
        let part = sent.pop().unwrap().slice(1..2);
        assert!(downloads.memory_for(Bytes(1)).is_none(), "a part of it is still to be sent");
        drop(part);
        assert!(downloads.memory_for(SMALL).is_some());
    }
}
