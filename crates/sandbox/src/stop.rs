//! Ending a run from outside: a switch that is made before the run, so that it can be thrown at any time.

use tokio::sync::watch;

/// Who wanted it to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Cancelled,
    DaemonShutdown,
}

/// Ends a run from elsewhere, whether it has begun or not.
#[derive(Debug, Clone)]
pub struct Stopper(watch::Sender<Option<Stop>>);

/// The other end of a [`Stopper`].
#[derive(Debug, Clone)]
pub struct Stopped(watch::Receiver<Option<Stop>>);

/// Made before the run, so that it can be stopped at any time.
pub fn switch() -> (Stopper, Stopped) {
    let (stop, stopped) = watch::channel(None);
    (Stopper(stop), Stopped(stopped))
}

impl Stopped {
    /// Whether somebody wants it to end already.
    pub fn already(&self) -> Option<Stop> {
        *self.0.borrow()
    }

    /// Ends when somebody wants the run to end; `None` when nobody can any more.
    pub async fn wanted(&mut self) -> Option<Stop> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|reason| *reason)
    }
}

impl Stopper {
    /// The first reason counts; later ones change nothing.
    pub fn stop(&self, why: Stop) {
        self.0.send_if_modified(|reason| {
            let first = reason.is_none();
            reason.get_or_insert(why);
            first
        });
    }
}
