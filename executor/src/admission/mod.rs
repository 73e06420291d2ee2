//! Admission: every run holds a [`Ticket`], and there are only as many tickets as may run.
//!
//! ```text
//! submit ──► Refused                      queue full, or shutting down
//!    └─────► Waiting ──admitted()──► Ticket ──drop──► the next one is woken
//!               └──drop──► it has left the queue
//! ```
//! `queue` decides; this file wakes and counts. Dropping is the only way to give a place back, so neither a cancelled
//! task nor a panic can lose one. The lock is held for a decision, never across an await.

mod pace;
pub mod queue;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use crate::job::Place;
use pace::Pace;
use queue::{Decision, Id, Queue};

/// Why an execution is not admitted. Both pass: the caller may try again after the time given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("as many executions wait as may; try again in {} s", retry_after.as_secs())]
    QueueFull { retry_after: Duration },
    #[error("the executor is shutting down; try again in {} s, when another has taken over", retry_after.as_secs())]
    ShuttingDown { retry_after: Duration },
}

/// Cheap to clone: all clones are the same.
#[derive(Debug, Clone)]
pub struct Admission {
    shared: Arc<Mutex<State>>,
    /// Told whenever the last one that ran is over.
    idle: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    next: u64,
    doors: Doors,
    /// Those who wait; dropping a sender tells its receiver that the executor is shutting down.
    wakers: BTreeMap<Id, oneshot::Sender<()>>,
    /// When each running one began.
    began: BTreeMap<Id, Instant>,
    concurrency: NonZeroUsize,
    pace: Pace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doors {
    Open,
    Closed,
}

impl Admission {
    /// `capacity`: how many may wait.
    pub fn new(concurrency: NonZeroUsize, capacity: usize) -> Self {
        let state = State {
            queue: Queue::new(concurrency, capacity),
            next: 0,
            doors: Doors::Open,
            wakers: BTreeMap::new(),
            began: BTreeMap::new(),
            concurrency,
            pace: Pace::default(),
        };
        Self { shared: Arc::new(Mutex::new(state)), idle: Arc::new(Notify::new()) }
    }

    /// Decides at once; the waiting is in [`Waiting::admitted`].
    ///
    /// # Errors
    /// The queue is full, or the executor is shutting down.
    pub fn submit(&self, place: Place) -> Result<Waiting, Refused> {
        let mut state = self.lock();
        if state.doors == Doors::Closed {
            return Err(Refused::ShuttingDown { retry_after: state.retry_after() });
        }
        let id = Id(state.next);
        state.next += 1;
        let wake = match state.queue.submit(id, place) {
            Decision::Refuse => {
                return Err(Refused::QueueFull { retry_after: state.retry_after() });
            }
            Decision::Run => {
                state.began.insert(id, Instant::now());
                None
            }
            Decision::Wait { .. } => {
                let (waker, wake) = oneshot::channel();
                state.wakers.insert(id, waker);
                Some(wake)
            }
        };
        Ok(Waiting { seat: Seat { admission: self.clone(), id }, wake })
    }

    /// From now on everybody is refused, and those who wait are told. What runs goes on.
    pub fn close(&self) {
        let mut state = self.lock();
        state.doors = Doors::Closed;
        state.queue.dismiss();
        let dismissed = std::mem::take(&mut state.wakers);
        drop(state);
        // Outside the lock: dropping a sender wakes a task, and that task will want the lock.
        drop(dismissed);
    }

    /// How many run.
    pub fn active(&self) -> usize {
        self.lock().queue.running()
    }

    /// Waits until nothing runs. While the doors are open something may have begun again by the time this is over.
    pub async fn idle(&self) {
        loop {
            // Made before the look: the end of a run between the two is not missed.
            let told = self.idle.notified();
            if self.active() == 0 {
                return;
            }
            told.await;
        }
    }

    /// How many wait in front of this one; `None` when it does not wait.
    pub fn position(&self, id: Id) -> Option<usize> {
        self.lock().queue.position(id)
    }

    /// How many wait.
    pub fn queued(&self) -> usize {
        self.lock().queue.waiting()
    }

    /// When a caller who is refused now should come back: 1 to 30 seconds.
    pub fn retry_after(&self) -> Duration {
        self.lock().retry_after()
    }

    fn release(&self, id: Id) {
        let mut state = self.lock();
        state.wakers.remove(&id);
        state.queue.leave(id);
        if let Some(began) = state.began.remove(&id) {
            state.pace.note(began.elapsed());
        }
        let started = state.queue.finish(id);
        let now = Instant::now();
        let woken: Vec<_> = started
            .into_iter()
            .filter_map(|id| {
                state.began.insert(id, now);
                state.wakers.remove(&id)
            })
            .collect();
        let idle = state.queue.running() == 0;
        drop(state);
        if idle {
            self.idle.notify_waiters();
        }
        for waker in woken {
            // Nobody listens when that one is just giving up; its seat then frees the slot again.
            waker.send(()).ok();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No decision leaves the state half changed, so a panic elsewhere has not spoilt it.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn retry_after(&self) -> Duration {
        self.pace.retry_after(self.queue.waiting(), self.concurrency)
    }
}

/// Gives back what its holder has, a slot or a place in the queue, however the holder ends.
#[derive(Debug)]
struct Seat {
    admission: Admission,
    id: Id,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.admission.release(self.id);
    }
}

/// Accepted, and perhaps not yet running. Dropping it leaves the queue.
#[derive(Debug)]
#[must_use = "dropping it leaves the queue"]
pub struct Waiting {
    seat: Seat,
    /// `None`: it may run at once.
    wake: Option<oneshot::Receiver<()>>,
}

impl Waiting {
    /// To ask for its [`Admission::position`].
    pub fn id(&self) -> Id {
        self.seat.id
    }

    /// Waits for the slot. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// The executor began to shut down while this one waited.
    pub async fn admitted(self) -> Result<Ticket, Refused> {
        let Self { seat, wake } = self;
        match wake {
            None => Ok(Ticket { _seat: seat }),
            Some(wake) => match wake.await {
                Ok(()) => Ok(Ticket { _seat: seat }),
                Err(_shutting_down) => {
                    Err(Refused::ShuttingDown { retry_after: seat.admission.retry_after() })
                }
            },
        }
    }
}

/// The right to run, in one place, until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it frees the slot"]
pub struct Ticket {
    _seat: Seat,
}

#[cfg(test)]
mod tests;
