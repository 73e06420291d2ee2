//! One output stream of a program: kept within bounds, drained without end.
//!
//! A program that prints more than is kept must neither block nor cost memory: the head and the tail stay, the middle is
//! counted and let go. Bytes become text once, at the end, so that no character is ever split by a buffer.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use linux::fds;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::limits::Bytes;

/// Fewer wake-ups per megabyte of output than the kernel's 64 KiB; within an unprivileged user's share for many runs.
const PIPE_BYTES: i32 = 256 * 1024;

/// A stream that is this many times as long as what is kept of it will not end by itself…
const FLOOD_FACTOR: u64 = 64;

/// …but whoever asks to keep only a line or two must not be cut off for printing a page.
const FLOOD_LEAST: Bytes = Bytes::mib(64);

/// What a stream said, at most as long as its limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captured {
    pub text: String,
    pub truncated: bool,
    pub bytes_total: u64,
}

/// A stream while it is being read. The reading task owns the buffer and ends when every writer is gone.
#[derive(Debug)]
pub struct Capture {
    task: JoinHandle<Buffer>,
    progress: Arc<Progress>,
}

/// What can be seen of a stream from outside while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    bytes: AtomicU64,
    /// What was written before user code ran: not the program's.
    before: AtomicU64,
    flood: u64,
    flooded: Notify,
}

impl Progress {
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed).saturating_sub(self.before.load(Ordering::Relaxed))
    }

    /// What it has said, if that is so far beyond its limit that the run counts as a flood, ended or not.
    pub fn flood(&self) -> Option<u64> {
        Some(self.bytes()).filter(|bytes| *bytes > self.flood)
    }

    /// Ends once the stream is so far beyond its limit that it will not end by itself.
    pub async fn flooded(&self) {
        self.flooded.notified().await;
    }
}

impl Capture {
    pub fn start(pipe: std::os::fd::OwnedFd, limit: Bytes) -> io::Result<Self> {
        fds::widen_pipe(&pipe, PIPE_BYTES);
        fds::set_nonblocking(&pipe)?;
        let mut pipe = pipe::Receiver::from_owned_fd(pipe)?;
        let progress = Arc::new(Progress {
            flood: limit.0.saturating_mul(FLOOD_FACTOR).max(FLOOD_LEAST.0),
            ..Progress::default()
        });
        let seen = Arc::clone(&progress);
        let task = tokio::spawn(async move {
            let mut buffer = Buffer::new(limit);
            let mut chunk = vec![0; 64 * 1024];
            // An error on a pipe's reading end means the same as its end: nothing more will come.
            while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
                buffer.push(&chunk[..count]);
                let total = seen.bytes.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
                if total > seen.flood {
                    seen.flooded.notify_one();
                }
            }
            buffer
        });
        Ok(Self { task, progress })
    }

    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// From here on what is written is the program's.
    pub fn mark_start(&self) {
        self.progress.before.store(self.progress.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Waits for the end of the stream. Call it once every process that may write is dead.
    pub async fn finish(self) -> Captured {
        let before = self.progress.before.load(Ordering::Relaxed);
        match self.task.await {
            Ok(buffer) => buffer.into_text(before),
            Err(error) => Captured { text: format!("[output lost: {error}]"), ..Captured::default() },
        }
    }
}

/// Head and tail of a stream.
#[derive(Debug)]
struct Buffer {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_limit: usize,
    tail_limit: usize,
    total: u64,
}

impl Buffer {
    fn new(limit: Bytes) -> Self {
        let limit = usize::try_from(limit.0).unwrap_or(usize::MAX);
        let head_limit = limit / 2;
        Self { head: Vec::new(), tail: VecDeque::new(), head_limit, tail_limit: limit - head_limit, total: 0 }
    }

    fn push(&mut self, mut bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = self.head_limit - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        bytes = &rest[rest.len().saturating_sub(self.tail_limit)..];
        let excess = (self.tail.len() + bytes.len()).saturating_sub(self.tail_limit);
        self.tail.drain(..excess.min(self.tail.len()));
        self.tail.extend(bytes);
    }

    /// The text, without its first `skip` bytes. At most as long as the limit: bytes that are no text grow when replaced.
    fn into_text(mut self, skip: u64) -> Captured {
        let limit = self.head_limit + self.tail_limit;
        let bytes_total = self.total.saturating_sub(skip);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(self.head.len());
        let (head, tail) = if (self.head.len() + self.tail.len()) as u64 == self.total {
            self.head.extend(self.tail);
            let text = decode(&self.head[skip..]);
            if text.len() <= limit {
                return Captured { text, truncated: false, bytes_total };
            }
            let middle = text.floor_char_boundary(text.len() / 2);
            (text[..middle].to_owned(), text[middle..].to_owned())
        } else {
            let head = decode(end_at_character(&self.head[skip..]));
            (head, decode(start_at_character(self.tail.make_contiguous())))
        };
        let notice = format!("\n[... cut here: {bytes_total} bytes in all ...]\n");
        let half = limit.saturating_sub(notice.len()) / 2;
        let head = &head[..head.floor_char_boundary(half)];
        let tail = &tail[tail.ceil_char_boundary(tail.len().saturating_sub(half))..];
        Captured { text: [head, &notice, tail].concat(), truncated: true, bytes_total }
    }
}

fn decode(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Without the beginning of a character whose rest was cut off.
fn end_at_character(bytes: &[u8]) -> &[u8] {
    for back in 1..=bytes.len().min(3) {
        let needed = match bytes[bytes.len() - back] {
            0x80..=0xBF => continue,
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF7 => 4,
            _ => 1,
        };
        return if needed > back { &bytes[..bytes.len() - back] } else { bytes };
    }
    bytes
}

/// Without the rest of a character whose beginning was cut off.
fn start_at_character(bytes: &[u8]) -> &[u8] {
    let continuation = bytes.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
    &bytes[continuation..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(limit: u64, chunks: &[&[u8]]) -> Captured {
        let mut buffer = Buffer::new(Bytes(limit));
        chunks.iter().for_each(|chunk| buffer.push(chunk));
        buffer.into_text(0)
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
    }
}
