//! What can be seen of a run while it goes on, with a real program in a real sandbox.

#![allow(clippy::unwrap_used, reason = "a test: a surprise ends it")]

mod support;

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sandbox::capture::piece::Then;
use sandbox::channel;
use sandbox::host::Host;
use sandbox::limits::Bytes;
use sandbox::live::{Live, Stream};
use sandbox::prepare;
use sandbox::program::{Language, Mode, Program};
use sandbox::runtimes::Runtime;
use sandbox::stop::{self, Stop};

use support::{Verdicts, limits};

/// Says something on both streams, holds 32 MiB, burns CPU until it is told to let go of them, and then sleeps for good.
const PROGRAM: &str = r#"
printf 'caf\303\251\n'; printf 'oops\n' >&2
printf -v held '%*s' 33554432 ''
while [ ! -e let-go ] && [ "$SECONDS" -lt 30 ]; do :; done
unset held
echo let go
exec sleep 60
"#;

/// Each line waits until the one before it was seen outside; then more than is kept, all at once.
const CONVERSATION: &str = r#"
for turn in 1 2 3 4 5 6 7 8 9; do
    echo "turn $turn"
    while [ ! -e "seen-$turn" ] && [ "$SECONDS" -lt 30 ]; do :; done
done
printf 'oops\n' >&2
printf -v flood '%*s' 4194304 ''
printf '%s\nlast line\n' "$flood"
"#;

const NOT_TOLD: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    support::main(async |host, workspace, verdicts| {
        let Some(shell) = host.language(Language::Shell) else {
            return verdicts.claim("a shell is installed", false, &host.shortfalls);
        };
        look_at_it(host, &shell.runtime, workspace, verdicts).await;
        follow_it(host, &shell.runtime, workspace, verdicts).await;
    })
}

async fn look_at_it(host: &Host, shell: &Runtime, workspace: &OwnedFd, verdicts: &mut Verdicts) {
    let prepared = prepare::prepare(host, shell, &limits(), workspace).await.unwrap();
    let (stopper, stopped) = stop::switch();
    let running = prepared.start(program(PROGRAM), stopped);
    let live = running.live();

    let busy = until(&live, |live| {
        live.cpu() > Duration::from_millis(200) && live.memory() > Bytes::mib(32) && live.stderr_bytes() == 5
    });
    verdicts.claim("CPU time and memory are seen while the program runs", busy.await, &look(&live));
    let [stdout, stderr] = live.streams(Bytes(1000));
    let said = (stdout.text.as_str(), stdout.bytes_total, stderr.text.as_str(), stderr.bytes_total);
    verdicts.claim(
        "both streams are seen while the program runs",
        said == ("caf\u{e9}\n", 6, "oops\n", 5),
        &said,
    );
    let cpu = live.cpu();
    let grows = until(&live, |live| live.cpu() > cpu + Duration::from_millis(100)).await;
    verdicts.claim("the numbers go on", grows, &(cpu, live.cpu()));

    std::fs::write(inside(workspace, "let-go"), "").unwrap();
    let idle = until(&live, |live| live.stdout_bytes() == 13 && live.memory() < Bytes::mib(16)).await;
    verdicts.claim("memory is what is held now, and not the peak", idle, &look(&live));

    stopper.stop(Stop::Cancelled);
    let finished = running.finish().await.unwrap();
    let same = live.streams(Bytes::mib(1)) == [finished.stdout.clone(), finished.stderr.clone()];
    verdicts.claim("at the end the streams are those of the run", same, &live.streams(Bytes::mib(1)));
    let total = (live.cpu(), finished.usage.cpu_time);
    verdicts.claim("the CPU time seen last is not more than the run's", total.0 <= total.1, &total);
}

/// Never looks again without being told to: a change that is not told leaves both ends waiting.
async fn follow_it(host: &Host, shell: &Runtime, workspace: &OwnedFd, verdicts: &mut Verdicts) {
    let prepared = prepare::prepare(host, shell, &limits(), workspace).await.unwrap();
    let (_stopper, stopped) = stop::switch();
    let running = prepared.start(program(CONVERSATION), stopped);
    let live = running.live();

    let mut changed = live.changed();
    let (mut heard, mut next) = (String::new(), 0);
    for turn in 1..=9 {
        let line = format!("turn {turn}\n");
        while !heard.ends_with(&line) {
            if tokio::time::timeout(NOT_TOLD, changed.next()).await.is_err() {
                return verdicts.claim("whoever waits is told of each line", false, &heard);
            }
            let piece = live.read(Stream::Stdout, next, 100);
            next = piece.next;
            heard.push_str(&piece.text);
        }
        std::fs::write(inside(workspace, &format!("seen-{turn}")), "").unwrap();
    }
    verdicts.claim("whoever waits is told of each line", true, &heard);

    let told = tokio::time::timeout(NOT_TOLD, async {
        while !live.ended() {
            changed.next().await;
        }
    });
    verdicts.claim("whoever waits is told of the end", told.await.is_ok(), &look(&live));
    let finished = running.finish().await.unwrap();

    let (mut read, mut missed, mut last) = (0, 0, String::new());
    loop {
        let piece = live.read(Stream::Stdout, read + missed, usize::MAX);
        missed += piece.missed;
        read += piece.next - piece.offset;
        last = if piece.text.is_empty() { last } else { piece.text };
        if piece.then == Then::End {
            break;
        }
    }
    let whole = (read, missed, finished.stdout.bytes_total);
    verdicts.claim(
        "whoever comes late is told what was missed, and every byte is accounted for",
        read == limits().output.0 && missed > 0 && read + missed == finished.stdout.bytes_total,
        &whole,
    );
    verdicts.claim("the last line is not missed", last.ends_with(" \nlast line\n"), &last.len());
    verdicts.claim("what is kept is known", live.kept_bytes() == read + 5, &(live.kept_bytes(), read));
}

fn look(live: &Live) -> (u128, u64, u64, u64) {
    (live.cpu().as_millis(), live.memory().0, live.stdout_bytes(), live.stderr_bytes())
}

/// Whether it comes to be, before a deadline that only a broken run reaches.
async fn until(live: &Live, seen: impl Fn(&Live) -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !seen(live) {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

fn inside(workspace: &OwnedFd, name: &str) -> std::path::PathBuf {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}/{name}", workspace.as_raw_fd()).into()
}

fn program(code: &str) -> Program {
    Program {
        execution_id: "exec_live".into(),
        language: Language::Shell,
        mode: Mode::Script,
        code: code.into(),
        event: channel::null(),
        stdin: String::new(),
        env: Default::default(),
        files: Vec::new(),
    }
}
