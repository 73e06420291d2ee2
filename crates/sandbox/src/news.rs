//! That there is something new to see of a run; never what.
//!
//! Telling is one step of a counter and wakes who waits: it neither waits for anybody nor keeps anything for anybody, and
//! costs as little when nobody listens. News that nobody has picked up yet becomes one with what follows.
//!
//! ```text
//! captures ── read, ended ──►┐
//!                            News ──► Changed, one for each who follows
//! run ── over ──────────────►┘
//! ```

use tokio::sync::watch;

/// The telling end. Clones tell the same listeners.
#[derive(Debug, Clone)]
pub struct News(watch::Sender<()>);

impl News {
    pub fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    pub(crate) fn tell(&self) {
        self.0.send_replace(());
    }

    pub(crate) fn listen(&self) -> Changed {
        let mut changed = self.0.subscribe();
        changed.mark_changed();
        Changed(changed)
    }
}

impl Default for News {
    fn default() -> Self {
        Self::new()
    }
}

/// Says when to look again.
#[derive(Debug)]
pub struct Changed(watch::Receiver<()>);

impl Changed {
    /// Completes when a stream has new bytes or has ended, or the run is over, since the last call: at once, if that was so
    /// already. The first call always completes at once, so that nothing is lost between looking and listening.
    ///
    /// Once the run is over and that was told, it never completes: leave when there is nothing more to come. Giving up a
    /// call that has not completed loses nothing.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn is_told(changed: &mut Changed) -> bool {
        timeout(Duration::ZERO, changed.next()).await.is_ok()
    }

    #[tokio::test]
    async fn each_listener_hears_of_news_once_and_of_much_news_once() {
        let news = News::new();
        news.tell();
        let (mut one, mut other) = (news.listen(), news.listen());
        assert!(is_told(&mut one).await, "it may have looked before it listened");
        assert!(!is_told(&mut one).await);
        news.tell();
        news.tell();
        assert!(is_told(&mut one).await && !is_told(&mut one).await);
        assert!(is_told(&mut other).await && !is_told(&mut other).await);
    }

    #[tokio::test]
    async fn the_last_news_outlives_its_teller_and_then_there_is_silence() {
        let news = News::new();
        let mut changed = news.listen();
        changed.next().await;
        news.tell();
        drop(news);
        assert!(is_told(&mut changed).await);
        assert!(!is_told(&mut changed).await);
    }
}
