//! One output stream of a program: kept within bounds, drained without end.
//!
//! A program that prints more than is kept must neither block nor cost memory: the head and the tail stay, the middle is
//! counted and let go. Bytes become text when somebody asks for them, and no character is ever split by a buffer.
//!
//! One task per stream reads and is the only one to add to the buffer; when it ends, however it ends, the buffer is closed. Of
//! both there is news. Others look: at the end ([`Capture::finish`]), meanwhile ([`Progress::so_far`]), or piece by piece ([`Progress::read`]).
//! While the stream is open the lock between them is held for one copy in memory, and never across an await.

mod buffer;
pub mod piece;
mod text;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linux::fds;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::limits::Bytes;
use crate::news::News;

use buffer::Buffer;
use piece::Piece;

/// Fewer wake-ups per megabyte of output than the kernel's 64 KiB; within an unprivileged user's share for many runs.
const PIPE_BYTES: i32 = 256 * 1024;

/// A stream that is this many times as long as what is kept of it will not end by itself…
const FLOOD_FACTOR: u64 = 64;

/// …but whoever asks to keep only a line or two must not be cut off for printing a page.
const FLOOD_LEAST: Bytes = Bytes::mib(64);

/// At most so much is copied for one reader while the others, and the one that adds, wait.
const MOST_AT_ONCE: usize = 64 * 1024;

/// With less, a reader could stand before a character for good.
const LONGEST_CHARACTER: usize = 4;

/// What a stream said, at most as long as its limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captured {
    pub text: String,
    pub truncated: bool,
    pub bytes_total: u64,
}

/// A stream while it is being read. The reading task ends when every writer is gone, or when it is told that none writes.
#[derive(Debug)]
pub struct Capture {
    task: JoinHandle<()>,
    progress: Arc<Progress>,
    /// Nobody writes any more.
    quiet: Arc<Notify>,
}

/// What can be seen of a stream from outside while it runs.
#[derive(Debug)]
pub struct Progress {
    bytes: AtomicU64,
    /// What was written before user code ran: not the program's.
    before: AtomicU64,
    flood: u64,
    flooded: Notify,
    news: News,
    buffer: Mutex<Buffer>,
}

impl Progress {
    fn new(limit: Bytes, news: News) -> Self {
        Self {
            bytes: AtomicU64::new(0),
            before: AtomicU64::new(0),
            flood: limit.0.saturating_mul(FLOOD_FACTOR).max(FLOOD_LEAST.0),
            flooded: Notify::new(),
            news,
            buffer: Mutex::new(Buffer::new(limit)),
        }
    }

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

    /// What the stream has said so far, as a capture with this limit (or its own, if that is lower) would tell it. A
    /// character of which only the beginning has arrived is left for the next time.
    ///
    /// The reader waits while about `limit` bytes are copied; they become text after that.
    pub fn so_far(&self, limit: Bytes) -> Captured {
        let before = self.before.load(Ordering::Relaxed);
        let copy = self.buffer().narrowed(before, limit);
        let unfinished = copy.ends_within_a_character();
        let mut captured = copy.text(0);
        if unfinished && captured.text.ends_with(char::REPLACEMENT_CHARACTER) {
            captured.text.pop();
        }
        captured
    }

    /// What the program wrote from its byte `from` on: at most `at_most` bytes, which are taken for 4 if they are fewer and
    /// for 64 KiB if they are more. The text is at most three times as long.
    pub fn read(&self, from: u64, at_most: usize) -> Piece {
        let before = self.before.load(Ordering::Relaxed);
        let at_most = at_most.clamp(LONGEST_CHARACTER, MOST_AT_ONCE);
        let excerpt = self.buffer().excerpt(from.saturating_add(before), at_most);
        Piece::of(from, excerpt)
    }

    /// Every writer is gone, and everything was read.
    pub fn has_ended(&self) -> bool {
        self.buffer().is_closed()
    }

    /// What is kept of it now, with what was written before user code.
    pub fn kept(&self) -> Bytes {
        Bytes(self.buffer().kept())
    }

    fn take(&self, chunk: &[u8]) {
        self.buffer().push(chunk);
        let total = self.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed) + chunk.len() as u64;
        if total > self.flood {
            self.flooded.notify_one();
        }
        self.news.tell();
    }

    /// A reader that panicked leaves at worst a chunk that is counted and not kept.
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reading task's hold on the stream: let go, the stream has ended.
struct Reading(Arc<Progress>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.buffer().close();
        self.0.news.tell();
    }
}

impl Capture {
    /// Reads until every writer is gone, and tells `news` of every chunk and of the end.
    pub fn start(pipe: std::os::fd::OwnedFd, limit: Bytes, news: News) -> io::Result<Self> {
        fds::widen_pipe(&pipe, PIPE_BYTES);
        fds::set_nonblocking(&pipe)?;
        let mut pipe = pipe::Receiver::from_owned_fd(pipe)?;
        let progress = Arc::new(Progress::new(limit, news));
        let reading = Reading(Arc::clone(&progress));
        let quiet = Arc::new(Notify::new());
        let told = Arc::clone(&quiet);
        let task = tokio::spawn(async move {
            let seen = &reading.0;
            let mut chunk = vec![0; 64 * 1024];
            loop {
                // An error on a pipe's reading end means the same as its end: nothing more will come.
                let read = tokio::select! {
                    read = pipe.read(&mut chunk) => read,
                    // What the runtime has not noticed yet is in the pipe all the same.
                    () = told.notified() => break,
                };
                let Ok(count @ 1..) = read else { return };
                seen.take(&chunk[..count]);
            }
            // No more than that: should somebody write after all, they must not keep us.
            let mut left = fds::unread(&pipe).unwrap_or(0);
            while left > 0
                && let Ok(count @ 1..) = fds::read_now(&pipe, &mut chunk)
            {
                seen.take(&chunk[..count]);
                left = left.saturating_sub(count);
            }
        });
        Ok(Self { task, progress, quiet })
    }

    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// From here on what is written is the program's.
    pub fn mark_start(&self) {
        self.progress.before.store(self.progress.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Reads what is there and no further. Call it once no process will write, though some may still hold the other end.
    pub async fn drain(self) -> Captured {
        self.quiet.notify_one();
        self.finish().await
    }

    /// Waits for the end of the stream. Call it once every process that may write is dead.
    ///
    /// Whoever still looks at the stream's [`Progress`] goes on seeing what it said.
    pub async fn finish(self) -> Captured {
        let before = self.progress.before.load(Ordering::Relaxed);
        match self.task.await {
            Ok(()) => self.progress.buffer().text(before),
            Err(error) => Captured { text: format!("[output lost: {error}]"), ..Captured::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::piece::Then;
    use super::*;

    /// A stream whose writing end the test holds, and its capture.
    fn stream(limit: u64) -> (std::fs::File, Capture) {
        let (ours, theirs) = fds::pipe().unwrap();
        (theirs.into(), Capture::start(ours, Bytes(limit), News::new()).unwrap())
    }

    async fn seen(progress: &Progress, bytes: u64) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while progress.bytes() != bytes {
            assert!(std::time::Instant::now() < deadline, "{} of {bytes} bytes were read", progress.bytes());
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn what_was_said_so_far_is_seen_while_the_stream_is_open_and_after() {
        let (mut writer, capture) = stream(1000);
        writer.write_all(b"warning: not the program's\n").unwrap();
        seen(capture.progress(), 27).await;
        capture.mark_start();
        writer.write_all("first caf\u{e9}".as_bytes()).unwrap();
        seen(capture.progress(), 11).await;
        let so_far = capture.progress().so_far(Bytes(1000));
        let expected = Captured { text: "first caf\u{e9}".into(), truncated: false, bytes_total: 11 };
        assert_eq!(so_far, expected);
        writer.write_all(&[b'-'; 500]).unwrap();
        seen(capture.progress(), 511).await;
        let so_far = capture.progress().so_far(Bytes(100));
        assert!(so_far.truncated && so_far.text.len() <= 100 && so_far.bytes_total == 511, "{so_far:?}");
        assert!(so_far.text.starts_with("first caf\u{e9}-") && so_far.text.ends_with("---"), "{so_far:?}");
        drop(writer);
        let progress = Arc::clone(capture.progress());
        let finished = capture.finish().await;
        assert_eq!(finished.text, format!("first caf\u{e9}{}", "-".repeat(500)));
        assert_eq!(progress.so_far(Bytes(2000)), finished);
    }

    #[tokio::test]
    async fn a_stream_is_read_from_where_the_program_began_to_where_every_writer_is_gone() {
        let (mut writer, capture) = stream(1000);
        writer.write_all(b"warning: not the program's\n").unwrap();
        seen(capture.progress(), 27).await;
        capture.mark_start();
        let progress = Arc::clone(capture.progress());
        assert_eq!(progress.read(0, 100).text, "");
        writer.write_all(b"hello").unwrap();
        seen(&progress, 5).await;
        let piece =
            |text: &str, offset, next, then| Piece { offset, missed: 0, text: text.into(), next, then };
        assert_eq!(progress.read(0, 0), piece("hell", 0, 4, Then::More));
        assert_eq!(progress.read(4, usize::MAX), piece("o", 4, 5, Then::Wait));
        assert_eq!(progress.read(u64::MAX, 100), piece("", u64::MAX, u64::MAX, Then::Wait));
        assert!(!progress.has_ended());
        assert_eq!(progress.kept(), Bytes(32));
        drop(writer);
        let finished = capture.finish().await;
        assert!(progress.has_ended());
        assert_eq!(progress.read(0, 100), piece(&finished.text, 0, 5, Then::End));
    }

    #[tokio::test]
    async fn a_stream_that_nobody_writes_to_any_more_is_read_to_the_last_byte_though_it_stays_open() {
        for bytes in [0, 1, 5, 150_000] {
            let (mut writer, capture) = stream(1 << 20);
            // Not seen by the reading task yet: this one does not wait in between.
            writer.write_all(&vec![b'x'; bytes]).unwrap();
            let progress = Arc::clone(capture.progress());
            assert_eq!(capture.drain().await.text.len(), bytes);
            assert!(progress.has_ended());
            drop(writer);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_goes_on_writing_does_not_keep_a_stream_from_its_end() {
        let (mut writer, capture) = stream(1 << 20);
        writer.write_all(b"said in time").unwrap();
        let endless = std::thread::spawn(move || while writer.write_all(&[b'x'; 4096]).is_ok() {});
        let captured = capture.drain().await;
        assert!(captured.text.starts_with("said in time"), "{} bytes", captured.bytes_total);
        endless.join().unwrap();
    }

    #[tokio::test]
    async fn one_reading_never_copies_more_than_its_share() {
        let (mut writer, capture) = stream(1 << 20);
        writer.write_all(&[b'x'; 100_000]).unwrap();
        seen(capture.progress(), 100_000).await;
        let piece = capture.progress().read(0, usize::MAX);
        assert_eq!((piece.text.len(), piece.then), (MOST_AT_ONCE, Then::More));
    }

    #[tokio::test]
    async fn half_a_character_that_may_yet_be_finished_is_not_replaced() {
        let (mut writer, capture) = stream(1000);
        let (first, rest) = "\u{1f600}".as_bytes().split_at(3);
        writer.write_all(&[b"ok ", first].concat()).unwrap();
        seen(capture.progress(), 6).await;
        let so_far = capture.progress().so_far(Bytes(1000));
        assert_eq!(so_far, Captured { text: "ok ".into(), truncated: false, bytes_total: 6 });
        writer.write_all(rest).unwrap();
        seen(capture.progress(), 7).await;
        assert_eq!(capture.progress().so_far(Bytes(1000)).text, "ok \u{1f600}");
        // At the end nothing can finish it any more, and the final text says that there was something.
        writer.write_all(first).unwrap();
        drop(writer);
        assert_eq!(capture.finish().await.text, "ok \u{1f600}\u{FFFD}");
    }
}
