//! A run as it can be seen from outside while it goes on: for whoever reports on it, or keeps what it said.
//!
//! CPU time and memory are as old as the watch's last sample, at most about a tenth of a second; before the first sample, 5 ms
//! into the run, they are zero. The streams are as far as they were read. Looking changes nothing and delays nobody: however
//! many readers there are and however slow, what the captures keep is the only copy, and each pulls from it. What is judged
//! and answered is measured elsewhere (`usage.rs`, `facts.rs`): these numbers are never the basis of either.
//!
//! ```text
//! watch ── cpu, memory ──►┐
//!                         Live ──► anybody, at any time, also after the end
//! captures ── streams ───►┘
//! ```
//!
//! Whoever follows a stream reads until there is no more, waits for [`changed`](Live::changed), and reads on from where it was,
//! until both streams are at their end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::capture::piece::Piece;
use crate::capture::{Captured, Progress};
use crate::limits::Bytes;
use crate::news::{Changed, News};

/// What can be seen of one run. Clones look at the same run; keeping one keeps what the run's streams said in memory.
#[derive(Debug, Clone)]
pub struct Live(Arc<Seen>);

#[derive(Debug)]
struct Seen {
    cpu_us: AtomicU64,
    memory: AtomicU64,
    /// stdout, stderr.
    streams: [Arc<Progress>; 2],
    news: News,
}

/// One of a program's two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// The name on the wire, in logs and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl Live {
    pub(crate) fn of(streams: [Arc<Progress>; 2], news: News) -> Self {
        Self(Arc::new(Seen { cpu_us: AtomicU64::new(0), memory: AtomicU64::new(0), streams, news }))
    }

    pub(crate) fn note(&self, cpu: Duration, memory: Bytes) {
        let cpu_us = u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX);
        self.0.cpu_us.store(cpu_us, Ordering::Relaxed);
        self.0.memory.store(memory.0, Ordering::Relaxed);
    }

    /// CPU time the program has used, as of the last sample
    /// ([`Measured::sampled_cpu`](crate::usage::Measured::sampled_cpu)).
    pub fn cpu(&self) -> Duration {
        Duration::from_micros(self.0.cpu_us.load(Ordering::Relaxed))
    }

    /// What the program held at the last sample: not its peak.
    pub fn memory(&self) -> Bytes {
        Bytes(self.0.memory.load(Ordering::Relaxed))
    }

    /// Bytes of stdout that were read so far, kept or not.
    pub fn stdout_bytes(&self) -> u64 {
        self.0.streams[0].bytes()
    }

    /// Bytes of stderr that were read so far, kept or not.
    pub fn stderr_bytes(&self) -> u64 {
        self.0.streams[1].bytes()
    }

    /// What stdout and stderr said so far: head and tail of each within `limit`, which like the run's own should leave room
    /// for the notice of a cut (100 bytes). See [`Progress::so_far`].
    pub fn streams(&self, limit: Bytes) -> [Captured; 2] {
        [&self.0.streams[0], &self.0.streams[1]].map(|stream| stream.so_far(limit))
    }

    /// What a stream said from its byte `from` on: at most `at_most` bytes of it. See [`Progress::read`].
    pub fn read(&self, stream: Stream, from: u64, at_most: usize) -> Piece {
        self.stream(stream).read(from, at_most)
    }

    /// To wait for more. It keeps nothing of the run in memory.
    pub fn changed(&self) -> Changed {
        self.0.news.listen()
    }

    /// Both streams are at their end: every writer is gone, and everything was read. Whoever reads up to
    /// [`Then::End`](crate::capture::piece::Then::End) after this has seen all there will ever be.
    pub fn ended(&self) -> bool {
        self.0.streams.iter().all(|stream| stream.has_ended())
    }

    /// How many bytes both streams keep in memory now: what the last clone of this lets go of, once the run is over.
    /// Until then the room they take may be up to twice that, but never more than twice the run's limit for each.
    pub fn kept_bytes(&self) -> u64 {
        self.0.streams.iter().map(|stream| stream.kept().0).sum()
    }

    fn stream(&self, stream: Stream) -> &Progress {
        let [stdout, stderr] = &self.0.streams;
        match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::time::timeout;

    use super::*;
    use crate::capture::Capture;
    use crate::capture::piece::Then;

    const BROKEN: Duration = Duration::from_secs(20);

    /// A run of which the test holds the writing ends.
    fn run(limit: u64) -> (Live, [std::fs::File; 2]) {
        let news = News::new();
        let [stdout, stderr] = [(), ()].map(|()| {
            let (ours, theirs) = linux::fds::pipe().unwrap();
            let capture = Capture::start(ours, Bytes(limit), news.clone()).unwrap();
            (Arc::clone(capture.progress()), theirs.into())
        });
        (Live::of([stdout.0, stderr.0], news), [stdout.1, stderr.1])
    }

    /// Reads both streams to their ends: their texts, and how many bytes were missed.
    async fn follow(live: Live, at_most: usize) -> ([String; 2], u64) {
        let mut changed = live.changed();
        let (mut texts, mut next, mut missed) = ([String::new(), String::new()], [0, 0], 0);
        loop {
            let mut ended = 0;
            for (index, stream) in Stream::ALL.into_iter().enumerate() {
                ended += loop {
                    let piece = live.read(stream, next[index], at_most);
                    next[index] = piece.next;
                    missed += piece.missed;
                    texts[index].push_str(&piece.text);
                    match piece.then {
                        Then::More => {}
                        Then::Wait => break 0,
                        Then::End => break 1,
                    }
                };
            }
            if ended == 2 {
                return (texts, missed);
            }
            timeout(BROKEN, changed.next()).await.expect("a change that was not told");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn two_hundred_readers_each_see_all_of_both_streams() {
        let (live, [mut stdout, mut stderr]) = run(1 << 20);
        let readers: Vec<_> =
            (0..200).map(|index| tokio::spawn(follow(live.clone(), 4 + index * 10))).collect();
        let expected = tokio::task::spawn_blocking(move || {
            let mut expected = String::new();
            for number in 0..3000 {
                let line = format!("{number} caf\u{e9} \u{1f600}\n");
                // Unevenly, and through the middle of characters.
                let (first, rest) = line.as_bytes().split_at(number % line.len());
                stdout.write_all(first).unwrap();
                stderr.write_all(line.as_bytes()).unwrap();
                stdout.write_all(rest).unwrap();
                expected.push_str(&line);
            }
            expected
        });
        let expected = expected.await.unwrap();
        let expected = [expected.clone(), expected];
        for reader in readers {
            let (texts, missed) = reader.await.unwrap();
            assert!(texts == expected && missed == 0, "{} {}", texts[0].len(), texts[1].len());
        }
        assert!(live.ended());
        assert_eq!(live.kept_bytes(), 2 * expected[0].len() as u64);
        assert_eq!(follow(live, 4).await, (expected, 0), "whoever comes late sees the same");
    }

    #[tokio::test]
    async fn whoever_comes_after_a_flood_is_told_what_was_missed() {
        let (live, [mut stdout, stderr]) = run(1000);
        drop(stderr);
        let mut changed = live.changed();
        let first = tokio::task::spawn_blocking(move || stdout.write_all(&[b'x'; 2_000_000]));
        first.await.unwrap().unwrap();
        while !live.ended() {
            timeout(BROKEN, changed.next()).await.expect("an end that was not told");
        }
        let (texts, missed) = follow(live.clone(), 100).await;
        assert_eq!((texts, missed), (["x".repeat(1000), String::new()], 1_999_000));
        assert_eq!(live.kept_bytes(), 1000);
    }

    #[tokio::test]
    async fn each_stream_is_told_of_and_has_an_end_of_its_own() {
        let (live, [stdout, mut stderr]) = run(1000);
        let mut changed = live.changed();
        drop(stdout);
        while live.read(Stream::Stdout, 0, 100).then != Then::End {
            timeout(BROKEN, changed.next()).await.expect("an end that was not told");
        }
        assert!(!live.ended());
        stderr.write_all(b"oops").unwrap();
        while live.read(Stream::Stderr, 0, 100).text != "oops" {
            timeout(BROKEN, changed.next()).await.expect("bytes that were not told");
        }
        drop(stderr);
        while !live.ended() {
            timeout(BROKEN, changed.next()).await.expect("an end that was not told");
        }
        assert_eq!(live.read(Stream::Stderr, 4, 100).then, Then::End);
    }
}
