//! A stream read from an offset: what one reader gets at a time, and where it goes on.
//!
//! Readers pull; nothing is kept for any of them. Offsets count the bytes as the program wrote them, never those of the text,
//! which may be longer where bytes were no text. Every byte is accounted for once: either it was missed, or it is in the text.
//!
//! ```text
//! from ──── missed ────► offset ──── text ────► next          from + missed = offset,  text = the decoding of offset..next
//! ```

use super::buffer::{After, Excerpt};
use super::text::{begun_at_end, decode};

/// What one reading of a stream gave.
///
/// Texts of pieces that follow each other with nothing missed, joined, are what `String::from_utf8_lossy` makes of all bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where the text begins, in bytes of the program's output.
    pub offset: u64,
    /// How many bytes before `offset` were let go before they were read.
    pub missed: u64,
    pub text: String,
    /// Where to go on reading. Until the stream has ended, the beginning of a character is left for the next piece.
    pub next: u64,
    pub then: Then,
}

/// What a reader does after a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// There is more already: read on.
    More,
    /// This was all so far: wait for the stream to change.
    Wait,
    /// This was all there will ever be.
    End,
}

impl Piece {
    pub(super) fn of(from: u64, excerpt: Excerpt) -> Self {
        let Excerpt { missed, mut bytes, after } = excerpt;
        let then = match after {
            After::More | After::Gap => Then::More,
            After::NothingYet => Then::Wait,
            After::End => Then::End,
        };
        match after {
            After::More | After::NothingYet => bytes.truncate(bytes.len() - begun_at_end(&bytes)),
            After::Gap | After::End => {}
        }
        let offset = from + missed;
        let next = offset + bytes.len() as u64;
        Self { offset, missed, text: decode(bytes), next, then }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::buffer::Buffer;
    use super::*;
    use crate::limits::Bytes;

    fn read(buffer: &Buffer, from: u64, at_most: usize) -> Piece {
        Piece::of(from, buffer.excerpt(from, at_most))
    }

    fn buffer(limit: u64, bytes: &[u8]) -> Buffer {
        let mut buffer = Buffer::new(Bytes(limit));
        buffer.push(bytes);
        buffer
    }

    fn piece(offset: u64, missed: u64, text: &str, next: u64, then: Then) -> Piece {
        Piece { offset, missed, text: text.into(), next, then }
    }

    #[test]
    fn what_is_kept_is_read_from_anywhere_and_beyond_it_there_is_nothing() {
        let mut buffer = buffer(8, b"abcdef");
        assert_eq!(read(&buffer, 0, 100), piece(0, 0, "abcdef", 6, Then::Wait));
        assert_eq!(read(&buffer, 1, 4), piece(1, 0, "bcde", 5, Then::More));
        assert_eq!(read(&buffer, 5, 4), piece(5, 0, "f", 6, Then::Wait));
        assert_eq!(read(&buffer, 6, 4), piece(6, 0, "", 6, Then::Wait));
        assert_eq!(read(&buffer, 9, 4), piece(9, 0, "", 9, Then::Wait));
        buffer.close();
        assert_eq!(read(&buffer, 0, 5), piece(0, 0, "abcde", 5, Then::More));
        assert_eq!(read(&buffer, 0, 6), piece(0, 0, "abcdef", 6, Then::End));
        assert_eq!(read(&buffer, u64::MAX, 4), piece(u64::MAX, 0, "", u64::MAX, Then::End));
    }

    #[test]
    fn a_reader_in_the_gap_goes_on_at_the_tail_and_hears_what_it_missed() {
        let buffer = buffer(8, b"headand-a-gaptail");
        assert_eq!(read(&buffer, 0, 100), piece(0, 0, "head", 4, Then::More));
        assert_eq!(read(&buffer, 4, 100), piece(13, 9, "tail", 17, Then::Wait));
        assert_eq!(read(&buffer, 12, 100), piece(13, 1, "tail", 17, Then::Wait));
        assert_eq!(read(&buffer, 15, 100), piece(15, 0, "il", 17, Then::Wait));
    }

    #[test]
    fn a_character_that_a_gap_cut_in_two_counts_as_missed() {
        // Three bytes of the emoji are in the head; of the last character of two, the second byte begins the tail.
        let buffer = buffer(14, "head\u{1f600}-----\u{e9}tailed".as_bytes());
        assert_eq!(read(&buffer, 0, 100), piece(0, 0, "head", 4, Then::More));
        assert_eq!(read(&buffer, 4, 100), piece(15, 11, "tailed", 21, Then::Wait));
    }

    #[test]
    fn a_stream_of_which_nothing_is_kept_is_missed_and_no_more() {
        let mut buffer = buffer(0, b"abc");
        assert_eq!(read(&buffer, 1, 100), piece(3, 2, "", 3, Then::Wait));
        buffer.close();
        assert_eq!(read(&buffer, 1, 100), piece(3, 2, "", 3, Then::End));
    }

    #[test]
    fn half_a_character_waits_for_its_rest_and_at_the_end_no_longer() {
        let mut buffer = buffer(100, b"ok \xF0\x9F\x98");
        assert_eq!(read(&buffer, 0, 100), piece(0, 0, "ok ", 3, Then::Wait));
        assert_eq!(read(&buffer, 3, 100), piece(3, 0, "", 3, Then::Wait));
        buffer.push(b"\x80");
        assert_eq!(read(&buffer, 3, 100), piece(3, 0, "\u{1f600}", 7, Then::Wait));
        buffer.push(b"\xF0\x9F");
        buffer.close();
        assert_eq!(read(&buffer, 7, 100), piece(7, 0, "\u{FFFD}", 9, Then::End));
    }

    /// Bytes of which many are characters, many are nearly, and many are none.
    fn output() -> impl Strategy<Value = Vec<u8>> {
        let edge = prop::sample::select(
            &b"a\x80\x8F\x90\x98\x9F\xA0\xBF\xC0\xC3\xE0\xE2\xED\xEF\xF0\x9F\xF4\xF5\xFF"[..],
        );
        let part = prop_oneof![
            prop::collection::vec(edge, 1..6),
            prop::sample::select(&["a", "\u{e9}", "\u{20ac}", "\u{1f600}"][..])
                .prop_map(|text| text.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 1..4),
        ];
        prop::collection::vec(part, 0..60).prop_map(|parts| parts.concat())
    }

    /// One thing that happens to a stream.
    #[derive(Debug, Clone)]
    enum Step {
        Write(usize),
        Read(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![(1_usize..40).prop_map(Step::Write), (4_usize..40).prop_map(Step::Read)];
        prop::collection::vec(step, 0..60)
    }

    /// Takes the steps, closes the stream and reads to its end. All that was read, and that it hangs together.
    fn follow(output: &[u8], limit: u64, steps: &[Step], last: usize) -> Result<Vec<Piece>, TestCaseError> {
        let mut buffer = Buffer::new(Bytes(limit));
        let (mut written, mut next, mut pieces) = (0, 0, Vec::new());
        let mut take = |buffer: &Buffer, at_most| {
            let piece = read(buffer, next, at_most);
            prop_assert_eq!(next + piece.missed, piece.offset);
            prop_assert!((piece.offset..=piece.offset + at_most as u64).contains(&piece.next));
            prop_assert!(piece.then != Then::More || piece.next > next, "no progress: {:?}", piece);
            let range = piece.offset as usize..piece.next as usize;
            prop_assert_eq!(&piece.text, &String::from_utf8_lossy(&output[range]));
            next = piece.next;
            pieces.push(piece.clone());
            Ok(piece.then)
        };
        for step in steps {
            match step {
                Step::Write(count) => {
                    let until = output.len().min(written + count);
                    buffer.push(&output[written..until]);
                    written = until;
                }
                Step::Read(at_most) => drop(take(&buffer, *at_most)?),
            }
        }
        buffer.push(&output[written..]);
        buffer.close();
        while take(&buffer, last)? == Then::More {}
        prop_assert_eq!(next, output.len() as u64);
        Ok(pieces)
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_fast_reader_are_the_decoding_of_the_whole(
            output in output(), steps in steps(), last in 4_usize..40,
        ) {
            let pieces = follow(&output, 4096, &steps, last)?;
            let joined: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
            prop_assert_eq!(joined, String::from_utf8_lossy(&output));
            prop_assert!(pieces.iter().all(|piece| piece.missed == 0));
        }

        #[test]
        fn one_that_keeps_up_misses_nothing_however_little_is_kept(
            output in output(), chunk in 1_usize..20, at_most in 4_usize..40,
        ) {
            // What may be waiting for its rest when a chunk arrives is three bytes.
            let mut buffer = Buffer::new(Bytes(2 * (chunk as u64 + 3)));
            let (mut next, mut joined) = (0, String::new());
            let mut catch_up = |buffer: &Buffer| loop {
                let piece = read(buffer, next, at_most);
                prop_assert_eq!(piece.missed, 0);
                next = piece.next;
                joined.push_str(&piece.text);
                if piece.then != Then::More {
                    return Ok(());
                }
            };
            for chunk in output.chunks(chunk) {
                buffer.push(chunk);
                catch_up(&buffer)?;
            }
            buffer.close();
            catch_up(&buffer)?;
            prop_assert_eq!(joined, String::from_utf8_lossy(&output));
        }

        #[test]
        fn every_byte_is_read_once_or_missed_once(
            output in output(), limit in 0_u64..60, steps in steps(), last in 4_usize..40,
        ) {
            let pieces = follow(&output, limit, &steps, last)?;
            let read: u64 = pieces.iter().map(|piece| piece.next - piece.offset).sum();
            let missed: u64 = pieces.iter().map(|piece| piece.missed).sum();
            prop_assert_eq!(read + missed, output.len() as u64);
        }

        #[test]
        fn a_gap_never_makes_half_a_character_of_a_whole_one(
            characters in prop::collection::vec(prop::sample::select(&['a', '\u{e9}', '\u{20ac}', '\u{1f600}'][..]), 0..100),
            limit in 8_u64..60, steps in steps(), last in 4_usize..40,
        ) {
            let output: String = characters.into_iter().collect();
            let pieces = follow(output.as_bytes(), limit, &steps, last)?;
            prop_assert!(pieces.iter().all(|piece| !piece.text.contains('\u{FFFD}')), "{:?}", pieces);
        }
    }
}
