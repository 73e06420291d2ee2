//! Who runs now, who waits and who is refused: the decision alone, without locks, clocks or wake-ups.
//!
//! Kept at all times: no two running executions share a place (`Fresh` is never shared), at most `concurrency` run, at
//! most `capacity` wait, and nobody waits who could run. Among those who could run, the one that came first is next; one
//! whose workspace is busy holds up nobody else, and is overtaken only as long as it is busy.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;

use crate::job::Place;

/// Names one submission, for as long as it waits or runs. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Run,
    /// 0: nobody waits in front.
    Wait {
        position: usize,
    },
    /// As many wait as may.
    Refuse,
}

#[derive(Debug)]
pub struct Queue {
    concurrency: NonZeroUsize,
    capacity: usize,
    running: BTreeMap<Id, Place>,
    /// In the order they came.
    waiting: VecDeque<(Id, Place)>,
}

impl Queue {
    pub fn new(concurrency: NonZeroUsize, capacity: usize) -> Self {
        Self { concurrency, capacity, running: BTreeMap::new(), waiting: VecDeque::new() }
    }

    pub fn running(&self) -> usize {
        self.running.len()
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn submit(&mut self, id: Id, place: Place) -> Decision {
        // Whoever waits is held up by a full house or by a busy place of its own, so this overtakes nobody who could run.
        if self.can_run(&place) {
            self.running.insert(id, place);
            return Decision::Run;
        }
        let position = self.waiting.len();
        if position >= self.capacity {
            return Decision::Refuse;
        }
        self.waiting.push_back((id, place));
        Decision::Wait { position }
    }

    /// A running one is over. Returns who runs now instead, in the order they came; an unknown id changes nothing.
    pub fn finish(&mut self, id: Id) -> Vec<Id> {
        if self.running.remove(&id).is_none() {
            return Vec::new();
        }
        let mut started = Vec::new();
        while let Some(next) = self.waiting.iter().position(|(_, place)| self.can_run(place)) {
            let Some((id, place)) = self.waiting.remove(next) else {
                break;
            };
            self.running.insert(id, place);
            started.push(id);
        }
        started
    }

    pub fn position(&self, id: Id) -> Option<usize> {
        self.waiting.iter().position(|(waiting, _)| *waiting == id)
    }

    /// A waiting one gives up. An id that does not wait changes nothing.
    pub fn leave(&mut self, id: Id) {
        self.waiting.retain(|(waiting, _)| *waiting != id);
    }

    /// All waiting ones give up, in the order they came.
    pub fn dismiss(&mut self) -> Vec<Id> {
        self.waiting.drain(..).map(|(id, _)| id).collect()
    }

    fn can_run(&self, place: &Place) -> bool {
        self.running.len() < self.concurrency.get() && !self.is_busy(place)
    }

    fn is_busy(&self, place: &Place) -> bool {
        match place {
            Place::Fresh => false,
            Place::Container | Place::Session(_) => self.running.values().any(|running| running == place),
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
