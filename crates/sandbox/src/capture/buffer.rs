//! Head and tail of a stream, within a limit; what was between them is counted and let go.
//!
//! It knows nothing of tasks and locks. While nothing was let go the tail follows the head; after that both are full.

use std::collections::VecDeque;

use super::Captured;
use super::text::{decode, end_at_character, left_of_a_character, start_at_character};
use crate::limits::Bytes;

/// Head and tail of a stream.
#[derive(Debug)]
pub(super) struct Buffer {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_limit: usize,
    tail_limit: usize,
    total: u64,
    /// Nothing will be added any more.
    closed: bool,
}

/// A copy of some bytes that follow each other.
#[derive(Debug)]
pub(super) struct Excerpt {
    /// How many bytes that were asked for and come before these are gone.
    pub(super) missed: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) after: After,
}

/// What comes after some bytes of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) enum After {
    More,
    /// What was let go.
    Gap,
    NothingYet,
    End,
}

impl Buffer {
    pub(super) fn new(limit: Bytes) -> Self {
        let limit = usize::try_from(limit.0).unwrap_or(usize::MAX);
        let head_limit = limit / 2;
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            head_limit,
            tail_limit: limit - head_limit,
            total: 0,
            closed: false,
        }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = self.head_limit - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        bytes = &rest[rest.len().saturating_sub(self.tail_limit)..];
        let excess = (self.tail.len() + bytes.len()).saturating_sub(self.tail_limit);
        self.tail.drain(..excess.min(self.tail.len()));
        self.tail.extend(bytes);
    }

    /// Lets go of the room it made for more: it may be kept for long, and whoever bounds memory counts what it holds.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.head.shrink_to_fit();
        self.tail.shrink_to_fit();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many bytes it holds.
    pub(super) fn kept(&self) -> u64 {
        (self.head.len() + self.tail.len()) as u64
    }

    /// At most `at_most` bytes from `from` on; where those were let go, from the first character on that was kept after them.
    pub(super) fn excerpt(&self, from: u64, at_most: usize) -> Excerpt {
        let (first, second) = self.tail.as_slices();
        let uncut = end_at_character(&self.head);
        // What was kept around `from` or after it, as far as it hangs together, and where that begins.
        let (begins, kept) = if self.is_whole() {
            (0, [&self.head, first, second])
        } else if from < uncut.len() as u64 {
            (0, [uncut, &[], &[]])
        } else {
            (self.total - self.tail.len() as u64, [&[], first, second])
        };
        let ends = begins + kept.iter().map(|part| part.len() as u64).sum::<u64>();
        let at = if from < begins { begins + left_of_a_character(&self.tail) as u64 } else { from };

        let length = usize::try_from(ends.saturating_sub(at)).unwrap_or(usize::MAX).min(at_most);
        let mut bytes = Vec::with_capacity(length);
        let mut skip = usize::try_from(at - begins).unwrap_or(usize::MAX);
        for part in kept {
            let wanted = &part[skip.min(part.len())..];
            skip = skip.saturating_sub(part.len());
            bytes.extend_from_slice(&wanted[..wanted.len().min(length - bytes.len())]);
        }
        let after = match at + length as u64 {
            reached if reached < ends => After::More,
            _ if ends < self.total => After::Gap,
            _ if self.closed => After::End,
            _ => After::NothingYet,
        };
        Excerpt { missed: at - from, bytes, after }
    }

    /// What a buffer with this limit would hold, had it been given the same bytes without the first `skip`. A larger limit
    /// than its own brings back nothing.
    pub(super) fn narrowed<'a>(&'a self, skip: u64, limit: Bytes) -> Self {
        let own = self.head_limit + self.tail_limit;
        let mut narrow = Self::new(Bytes(limit.0.min(own as u64)));
        let (first, second) = self.tail.as_slices();
        let wanted = |part: &'a [u8], begins_at: u64| {
            let skip = usize::try_from(skip.saturating_sub(begins_at)).unwrap_or(usize::MAX);
            &part[skip.min(part.len())..]
        };
        narrow.push(wanted(&self.head, 0));
        if !self.is_whole() {
            // What follows the gap must not join the head. The tail is full here: where the head had no room left, it
            // pushes everything out of a narrower tail that came before the gap.
            let room = narrow.head_limit - narrow.head.len();
            narrow.head_limit -= room;
            narrow.tail_limit += room;
        }
        narrow.push(wanted(first, self.total - self.tail.len() as u64));
        narrow.push(wanted(second, self.total - second.len() as u64));
        narrow.total = self.total.saturating_sub(skip);
        narrow
    }

    /// Nothing was let go.
    fn is_whole(&self) -> bool {
        self.kept() == self.total
    }

    pub(super) fn ends_within_a_character(&self) -> bool {
        let mut last: Vec<u8> = self.head.iter().chain(&self.tail).rev().take(3).copied().collect();
        last.reverse();
        end_at_character(&last).len() < last.len()
    }

    /// The text, without its first `skip` bytes. At most as long as the limit: bytes that are no text grow when replaced.
    pub(super) fn text(&self, skip: u64) -> Captured {
        let limit = self.head_limit + self.tail_limit;
        let bytes_total = self.total.saturating_sub(skip);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(self.head.len());
        let head = &self.head[skip..];
        let (first, second) = self.tail.as_slices();
        let (head, tail) = if self.is_whole() {
            let text = decode([head, first, second].concat());
            if text.len() <= limit {
                return Captured { text, truncated: false, bytes_total };
            }
            let middle = text.floor_char_boundary(text.len() / 2);
            (text[..middle].to_owned(), text[middle..].to_owned())
        } else {
            let tail = [first, second].concat();
            (decode(end_at_character(head).to_vec()), decode(start_at_character(&tail).to_vec()))
        };
        let notice = format!("\n[... cut here: {bytes_total} bytes in all ...]\n");
        let half = limit.saturating_sub(notice.len()) / 2;
        let head = &head[..head.floor_char_boundary(half)];
        let tail = &tail[tail.ceil_char_boundary(tail.len().saturating_sub(half))..];
        Captured { text: [head, &notice, tail].concat(), truncated: true, bytes_total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(limit: u64, chunks: &[&[u8]]) -> Captured {
        let mut buffer = Buffer::new(Bytes(limit));
        chunks.iter().for_each(|chunk| buffer.push(chunk));
        buffer.text(0)
    }

    #[test]
    fn what_fits_is_kept_to_the_byte() {
        let got = captured(10, &[b"01234", b"56789"]);
        assert_eq!(got, Captured { text: "0123456789".into(), truncated: false, bytes_total: 10 });
    }

    #[test]
    fn beyond_the_limit_head_and_tail_stay_and_the_gap_is_named() {
        let text: Vec<u8> = (0..10_000u32).flat_map(|n| format!("{n:04}\n").into_bytes()).collect();
        let got = captured(1000, &[&text]);
        assert!(got.truncated && got.text.len() <= 1000 && got.bytes_total == 50_000, "{}", got.text.len());
        assert!(got.text.starts_with("0000\n0001\n") && got.text.ends_with("9998\n9999\n"));
        assert!(got.text.contains("[... cut here: 50000 bytes in all ...]"), "{}", got.text);
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        for limit in 100..120 {
            let got = captured(limit, &["😀é".repeat(200).as_bytes()]);
            assert!(!got.text.contains('\u{FFFD}'), "limit {limit}: {}", got.text);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_the_rest_survives() {
        let all: Vec<u8> = (0..=255).collect();
        let got = captured(1000, &[&all, "é😀".as_bytes()]);
        assert!(got.text.ends_with("é😀") && got.text.starts_with('\0') && got.text.contains('\u{FFFD}'));
    }

    #[test]
    fn what_follows_a_gap_does_not_join_the_head_when_the_beginning_is_skipped() {
        let mut buffer = Buffer::new(Bytes(400));
        buffer.push(&[[b'-'; 190].as_slice(), &[b'h'; 10], &[b'x'; 1000], &[b't'; 200]].concat());
        let seen = buffer.narrowed(190, Bytes(300)).text(0);
        assert!(seen.truncated && seen.bytes_total == 1210 && seen.text.len() <= 300, "{seen:?}");
        assert!(seen.text.starts_with("hhhhhhhhhh\n[... cut here: 1210 bytes") && seen.text.ends_with("t"));
    }

    #[test]
    fn a_closed_buffer_takes_no_more_memory_than_it_holds() {
        let mut buffer = Buffer::new(Bytes(1 << 20));
        [b'x'; 700_000].chunks(60_000).for_each(|chunk| buffer.push(chunk));
        assert!(buffer.head.capacity() + buffer.tail.capacity() > 700_000);
        buffer.close();
        assert_eq!((buffer.head.capacity() + buffer.tail.capacity()) as u64, buffer.kept());
        assert_eq!(buffer.text(0).text.len(), 700_000);
    }

    proptest::proptest! {
        #[test]
        fn never_longer_than_the_limit_and_the_same_however_it_is_chunked(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400), limit in 100_u64..300, cut in 0_usize..400,
        ) {
            let bytes = bytes.as_slice();
            let cut = cut.min(bytes.len());
            let whole = captured(limit, &[bytes]);
            proptest::prop_assert!(whole.text.len() as u64 <= limit);
            proptest::prop_assert_eq!(whole, captured(limit, &[&bytes[..cut], &bytes[cut..]]));
        }

        #[test]
        fn a_narrower_look_is_what_a_narrower_capture_would_have_kept(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600),
            own in 0_u64..300, limit in 0_u64..400, skip in 0_u64..700, chunk in 1_usize..200,
        ) {
            let mut whole = Buffer::new(Bytes(own));
            bytes.chunks(chunk).for_each(|chunk| whole.push(chunk));
            // With less to keep, a capture would have kept what this one had to let go.
            let skip = if whole.is_whole() { skip } else { 0 };
            let narrow = whole.narrowed(skip, Bytes(limit));
            let mut expected = Buffer::new(Bytes(limit.min(own)));
            expected.push(&bytes[bytes.len().min(skip as usize)..]);
            proptest::prop_assert_eq!(narrow.text(0), expected.text(0));
            proptest::prop_assert_eq!(narrow.total, expected.total);
        }
    }
}
