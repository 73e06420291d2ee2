//! The last bound of the log: of one place in the code at most so many lines per second, whoever makes it speak.
//!
//! Nobody has to remember it: a line that is added tomorrow is bounded, too. What is held back is counted, and the next line
//! of the same place says how many there were. The lines of a run's own road are not held back (`events::is_of_one_run`): a
//! caller pays for each with a run.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;

/// Enough to see what is going on, and what one disk takes for as long as it goes on.
pub(super) const LINES: u32 = 20;

const WINDOW: Duration = Duration::from_secs(1);

/// By place: there are as many as the binary has.
#[derive(Debug, Default)]
pub(super) struct Floods(Mutex<HashMap<Identifier, Place>>);

#[derive(Debug)]
struct Place {
    since: Instant,
    said: u32,
    held_back: u64,
}

impl Floods {
    /// `Some`: say it, and say how many were held back since the last one.
    pub(super) fn pass(&self, callsite: Identifier, now: Instant) -> Option<u64> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(callsite).or_insert(Place { since: now, said: 0, held_back: 0 });
        if now.saturating_duration_since(place.since) >= WINDOW {
            (place.since, place.said) = (now, 0);
        }
        if place.said == LINES {
            place.held_back += 1;
            return None;
        }
        place.said += 1;
        Some(std::mem::take(&mut place.held_back))
    }
}

#[cfg(test)]
mod tests {
    use tracing::Callsite;

    use super::*;

    #[test]
    fn a_place_has_so_many_lines_per_second_and_another_has_its_own() {
        let (one, other) = (
            tracing::callsite!(name: "one", kind: tracing::metadata::Kind::EVENT, fields: a)
                .metadata()
                .callsite(),
            tracing::callsite!(name: "other", kind: tracing::metadata::Kind::EVENT, fields: a)
                .metadata()
                .callsite(),
        );
        let floods = Floods::default();
        let start = Instant::now();
        for _ in 0..LINES {
            assert_eq!(floods.pass(one.clone(), start), Some(0));
        }
        for _ in 0..1_000 {
            assert_eq!(floods.pass(one.clone(), start + WINDOW / 2), None);
        }
        assert_eq!(floods.pass(other, start + WINDOW / 2), Some(0));
        assert_eq!(floods.pass(one.clone(), start + WINDOW), Some(1_000));
        assert_eq!(floods.pass(one, start + WINDOW), Some(0));
    }
}
