//! `exec --url URL FILE`: one execution on a running daemon, shown here as it goes on.
//!
//! Exits as `run` does: with the program's own code; 124 when it ran into its timeout, 137 when a limit or somebody else ended it;
//! 125 when the sandbox failed, the daemon cannot be reached or has lost it, or an artifact could not be saved; 130 and 143 when it
//! was cancelled from here by SIGINT and SIGTERM; 64 when the command line, or the request, is wrong.
//!
//! ```text
//! POST, events ──► finished ──► last words ──► artifacts ──► exit
//!        └── signal ──► DELETE, and on to finished ──► 130        a second signal: 130 at once, wherever it is
//! ```
//! | file | what it does |
//! |---|---|
//! | `wish.rs` | what the command line asks for |
//! | `follow.rs` | one execution to its end, over as many connections as that takes |
//! | `daemon.rs` | one request and its answer |
//! | `sse.rs` | bytes → events |
//! | `words.rs` | what a daemon says of itself, as it may be printed |
//! | `progress.rs` | the line for whoever looks at a terminal |
//! | `artifacts.rs` | the files that the run left |

mod artifacts;
mod daemon;
mod follow;
mod progress;
mod sse;
mod wish;
mod words;

use std::process::ExitCode;

use clap::ArgMatches;
use protocol::ExecuteResponse;
use sandbox::live::Stream;

use self::artifacts::Directory;
use self::daemon::{CallError, Daemon};
use self::follow::{Finished, FollowError};
use self::wish::{Show, Wish};
use self::words::clean;
use super::ending::{self, SANDBOX_FAILED};
use super::printer::{Print, Printer, Sender, is_watched};
use super::{USAGE, complain};
use crate::config::ProcessEnvironment;
use crate::lifecycle::signals::{Ended, Signals};

pub(super) use wish::command;

pub(super) fn exec(matches: &ArgMatches) -> ExitCode {
    let wish = match Wish::read(matches, &ProcessEnvironment) {
        Ok(wish) => wish,
        Err(complaint) => return complain(&complaint, USAGE),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start the runtime: {error}"), SANDBOX_FAILED),
    };
    let code = match runtime.block_on(converse(&wish)) {
        Ok(code) => ExitCode::from(code),
        Err(Failure { sentence, code }) => complain(&sentence, code),
    };
    runtime.shutdown_background();
    code
}

struct Failure {
    sentence: String,
    code: u8,
}

impl Failure {
    fn ours(sentence: String) -> Self {
        Self { sentence, code: SANDBOX_FAILED }
    }
}

async fn converse(wish: &Wish) -> Result<u8, Failure> {
    let mut signals = listen()?;
    let daemon = Daemon::at(wish.url.clone(), wish.token.as_ref())
        .map_err(|error| Failure::ours(format!("cannot make a client: {error}")))?;
    let printer = Printer::start();
    let sender = printer.sender();
    let (followed, cancelled_by) = follow_or_cancel(&daemon, wish, &sender, &mut signals).await?;
    let ended = match followed {
        Ok(finished) => {
            let code = tell(wish, &finished, &sender).await;
            match (cancelled_by, &wish.artifacts) {
                (None, Some(directory)) => tokio::select! {
                    saved = save(&daemon, &finished.response, directory, &sender) => {
                        Ok(if code == 0 && !saved { SANDBOX_FAILED } else { code })
                    }
                    signal = signals.next() => Ok(signal.exit_code()),
                },
                _ => Ok(code),
            }
        }
        Err(error) => {
            if matches!(error, FollowError::Unread) {
                // As when the pipe of an ordinary program breaks: it is ended. It ends by its timeout otherwise.
                daemon.cancel(&wish.question.execution_id).await.ok();
            }
            let code = code_of(&error);
            Err(Failure { sentence: error.to_string(), code })
        }
    };
    drop(sender);
    let printed = printer.finish().await;
    printed.map_err(|error| Failure::ours(format!("cannot print the answer: {error}")))?;
    match (ended, cancelled_by) {
        (ended, None) => ended,
        (Ok(_), Some(signal)) => Ok(signal.exit_code()),
        (Err(failure), Some(signal)) => Err(Failure { code: signal.exit_code(), ..failure }),
    }
}

fn listen() -> Result<Signals, Failure> {
    Signals::listen().map_err(|error| Failure::ours(format!("cannot listen for signals: {error}")))
}

/// To its end, which a signal brings about.
async fn follow_or_cancel(
    daemon: &Daemon,
    wish: &Wish,
    printer: &Sender,
    signals: &mut Signals,
) -> Result<(Result<Finished, FollowError>, Option<Ended>), Failure> {
    let id = &wish.question.execution_id;
    let watching =
        is_watched().then(|| tokio::spawn(progress::show(daemon.clone(), id.clone(), printer.clone())));
    let shown = (wish.show == Show::AsItComes).then_some(printer);
    let following = follow::follow(daemon, &wish.question, shown);
    tokio::pin!(following);
    let ended = tokio::select! {
        followed = &mut following => (followed, None),
        signal = signals.next() => {
            listen()?.exit_at_the_next();
            let followed = tokio::select! {
                followed = &mut following => followed,
                failed = cancel(daemon, id) => Err(failed),
            };
            (followed, Some(signal))
        }
    };
    if let Some(watching) = watching {
        watching.abort();
        // Its sender is gone when it is.
        watching.await.ok();
    }
    Ok(ended)
}

/// Asks the daemon to end it, and then waits for ever: the end is told to whoever follows. Comes back when it could not be asked.
async fn cancel(daemon: &Daemon, execution_id: &str) -> FollowError {
    let mut delays = follow::schedule();
    loop {
        let Err(error) = daemon.cancel(execution_id).await else { return std::future::pending().await };
        // 404: the request may not have arrived yet.
        let passing = error.may_pass() || error.status() == Some(404);
        match delays.next() {
            Some(delay) if passing => tokio::time::sleep(delay).await,
            _ => return FollowError::NotCancelled { execution_id: execution_id.to_owned(), source: error },
        }
    }
}

/// What `run` calls a usage error is one here, too, though the daemon finds it out.
fn code_of(error: &FollowError) -> u8 {
    match error {
        FollowError::NotBegun(CallError::Refused { status: 400, .. }) => USAGE,
        FollowError::NotBegun(_)
        | FollowError::Lost { .. }
        | FollowError::NotCancelled { .. }
        | FollowError::Unread => SANDBOX_FAILED,
    }
}

/// Prints what has not been printed yet.
async fn tell(wish: &Wish, finished: &Finished, printer: &Sender) -> u8 {
    let Finished { response, seen } = finished;
    let mut prints = Vec::new();
    let output = |stream, text: &str| Print::Output { stream, text: text.to_owned() };
    match wish.show {
        Show::Json => match serde_json::to_string_pretty(response) {
            Ok(json) => prints.push(output(Stream::Stdout, &format!("{json}\n"))),
            Err(error) => prints.push(Print::Note(format!("cannot write it as JSON: {error}"))),
        },
        // Nothing came before the end: it was over already, or it said nothing.
        Show::AsItComes if seen.stdout > 0 || seen.stderr > 0 => {
            for (total, seen, stream) in [
                (response.stdout_bytes_total, seen.stdout, Stream::Stdout),
                (response.stderr_bytes_total, seen.stderr, Stream::Stderr),
            ] {
                if total > seen {
                    let (bytes, name) = (total - seen, stream.name());
                    prints.push(Print::Note(format!("the last {bytes} bytes of {name} were missed")));
                }
            }
            let explanation = ending::explanation(response);
            prints.extend(explanation.map(|explanation| Print::Note(clean(explanation))));
            prints.extend(returned(response).map(|value| output(Stream::Stdout, &value)));
        }
        Show::AsItComes | Show::AtTheEnd => {
            prints.push(output(Stream::Stdout, &response.stdout));
            prints.push(output(Stream::Stderr, &response.stderr));
            prints.extend(returned(response).map(|value| output(Stream::Stdout, &value)));
        }
    }
    for print in prints {
        // The printer says why it stopped when it is asked for its end.
        printer.print(print).await.ok();
    }
    ending::exit_code(response)
}

/// An answer does not tell null from nothing.
fn returned(response: &ExecuteResponse) -> Option<String> {
    let value = response.return_value.get();
    (value != "null").then(|| format!("{value}\n"))
}

/// Saves every artifact, and says which. False when one could not be saved.
async fn save(daemon: &Daemon, response: &ExecuteResponse, directory: &Directory, printer: &Sender) -> bool {
    let mut all = true;
    for artifact in &response.artifacts {
        let note = match directory.save(daemon, &response.execution_id, artifact).await {
            Ok(path) => format!("saved {path:?}, {} bytes", artifact.size),
            Err(error) => {
                all = false;
                error.to_string()
            }
        };
        printer.print(Print::Note(note)).await.ok();
    }
    if response.artifacts_truncated {
        all = false;
        let note = "there are more artifacts than an answer lists; the others were not saved".to_owned();
        printer.print(Print::Note(note)).await.ok();
    }
    all
}
