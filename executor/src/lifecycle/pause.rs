//! What is done when there is a pause: memory that the runs before it needed goes back to the kernel.
//!
//! ```text
//! a run ends ──► 5 s in which none ends ──► memory is given back ──► until the next run ends
//! ```
//! Under load nothing is done: what is free is used again at once.

use std::time::Duration;

use tokio::sync::Notify;

const PAUSE: Duration = Duration::from_secs(5);

/// Ends with its task. `ended` is told of every run that is over.
pub async fn give_memory_back(ended: &Notify) {
    loop {
        ended.notified().await;
        while tokio::time::timeout(PAUSE, ended.notified()).await.is_ok() {}
        // It cannot fail, and a panic in there would be in the log.
        drop(tokio::task::spawn_blocking(linux::memory::return_what_is_free).await);
    }
}
