//! The calls, within bounds: the oldest bodies go first, then the oldest calls.

use std::sync::Arc;

use hyper::body::Bytes;
use serde_json::Value;

use crate::Call;

/// More than any test sends; about 100 MB without bodies.
const MOST_CALLS: usize = 200_000;

/// Of bodies as they were sent. What they take in memory is up to a few times that.
const MOST_BYTES: usize = 256 << 20;

#[derive(Debug)]
struct Bounds {
    calls: usize,
    bytes: usize,
}

/// Sorted by number: a call gets its number when its head arrives and is here once its body did.
#[derive(Debug)]
pub(super) struct Archive {
    bounds: Bounds,
    calls: Vec<Call>,
    /// Of the bodies that are still kept.
    bytes: usize,
    /// So many of the calls are without their bodies.
    stripped: usize,
}

impl Default for Archive {
    fn default() -> Self {
        Self::within(Bounds { calls: MOST_CALLS, bytes: MOST_BYTES })
    }
}

impl Archive {
    fn within(bounds: Bounds) -> Self {
        Self { bounds, calls: Vec::new(), bytes: 0, stripped: 0 }
    }

    pub(super) fn calls(&self) -> &[Call] {
        &self.calls
    }

    pub(super) fn insert(&mut self, call: Call) {
        self.bytes += call.body_len;
        let place = self.calls.partition_point(|earlier| earlier.number < call.number);
        self.calls.insert(place, call);
        if place < self.stripped {
            self.strip(place);
        }
        while self.bytes > self.bounds.bytes && self.stripped < self.calls.len() {
            self.strip(self.stripped);
        }
        if self.calls.len() > self.bounds.calls {
            // A tenth at once, because each time moves all others.
            let gone = self.bounds.calls / 10;
            self.bytes -=
                self.calls.drain(..gone).skip(self.stripped).map(|call| call.body_len).sum::<usize>();
            self.stripped = self.stripped.saturating_sub(gone);
        }
    }

    fn strip(&mut self, place: usize) {
        let call = &mut self.calls[place];
        self.bytes -= call.body_len;
        (call.body, call.body_bytes) = (Arc::new(Value::Null), Bytes::new());
        self.stripped += 1;
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.calls.binary_search_by_key(&number, |call| call.number).ok()
    }

    pub(super) fn get(&self, number: u64) -> Option<&Call> {
        self.place(number).map(|place| &self.calls[place])
    }

    /// None when it is long gone.
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Call> {
        self.place(number).map(|place| &mut self.calls[place])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::{Answer, How, Kind};

    fn call(number: u64, body_len: usize) -> Call {
        Call {
            number,
            arrived: jiff::Timestamp::UNIX_EPOCH,
            arrived_after: Duration::ZERO,
            kind: Kind::Other,
            method: String::new(),
            path: String::new(),
            execution_id: None,
            idempotency_key: None,
            authorized: true,
            headers: BTreeMap::new(),
            body: Arc::new(Value::Bool(true)),
            body_bytes: Bytes::new(),
            body_len,
            body_sha256: String::new(),
            problems: Vec::new(),
            answer: Answer { how: How::Plain, status: None },
            accepted: false,
            duplicate: false,
        }
    }

    /// The numbers, and whether the bodies are there.
    fn kept(archive: &Archive) -> Vec<(u64, bool)> {
        archive.calls().iter().map(|call| (call.number, !call.body.is_null())).collect()
    }

    #[test]
    fn calls_are_in_the_order_of_their_numbers_whenever_they_come() {
        let mut archive = Archive::default();
        for number in [2, 1, 4, 3] {
            archive.insert(call(number, 1));
        }
        assert_eq!(kept(&archive), [(1, true), (2, true), (3, true), (4, true)]);
        assert_eq!(archive.get(3).unwrap().number, 3);
        assert!(archive.get(5).is_none());
    }

    #[test]
    fn the_oldest_bodies_go_first_and_then_the_oldest_calls() {
        let mut archive = Archive::within(Bounds { calls: 20, bytes: 100 });
        for number in [2, 3, 4, 5] {
            archive.insert(call(number, 40));
        }
        assert_eq!(kept(&archive), [(2, false), (3, false), (4, true), (5, true)]);
        // It is late, and older than those whose bodies are gone.
        archive.insert(call(1, 1));
        assert_eq!(kept(&archive)[..2], [(1, false), (2, false)]);
        for number in 6..=22 {
            archive.insert(call(number, 1));
        }
        assert_eq!(archive.calls().len(), 20);
        assert_eq!(kept(&archive)[..3], [(3, false), (4, true), (5, true)]);
        assert_eq!(archive.bytes, 97);
        // Also when those that go still have their bodies.
        for number in 23..=40 {
            archive.insert(call(number, 1));
        }
        assert_eq!(archive.bytes, archive.calls().len());
    }
}
