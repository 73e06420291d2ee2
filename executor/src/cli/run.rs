//! `run`: one execution in the same sandbox, without a server.
//!
//! Exits with the program's own code; 124 when it ran into its timeout, 125 when the sandbox failed, 137 when a limit ended it.
//!
//! With `--stream` the program's output appears as it is written, and the first SIGINT or SIGTERM cancels the run, which then
//! exits with 130 or 143 once nothing is left of it; the second one ends this process at once, and the sandbox with it. Without,
//! signals are what they are for any command.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command};
use sandbox::live::Stream;
use sandbox::stop::Stop;
use serde_json::value::RawValue;

use super::ending::{self, SANDBOX_FAILED};
use super::printer::{Print, Printer};
use super::scratch::Scratch;
use super::{USAGE, chain, complain, live, program};
use crate::app::{self, Tasks};
use crate::config::{self, Config, ProcessEnvironment};
use crate::job::{Job, Place};
use crate::lifecycle::ground::{self, Ground};
use crate::lifecycle::signals::Signals;
use crate::run::execution::{Execution, Origin, State};
use crate::run::record::RunRecord;
use crate::run::{Parts, Submitted, Until};
use crate::telemetry::trace::{Spans, Trace};
use crate::{intake, outlet, run};

const LOST: &str = "the execution was lost";

pub(super) fn command() -> Command {
    program::arguments(config::flags(Command::new("run")))
        .about("Run one file in the sandbox, without a server")
        .arg(
            Arg::new("stream").long("stream").action(ArgAction::SetTrue).conflicts_with("json").help(
                "Print what the program writes as it writes it, not at its end; Ctrl-C cancels it. A value that was \
                 returned by printing it is seen twice, and --json cannot be given, too",
            ),
        )
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let request = match program::request(matches) {
        Ok(request) => request,
        Err(complaint) => return complain(&complaint, USAGE),
    };
    let mut config = match config::load(matches, &ProcessEnvironment) {
        Ok(config) => config,
        Err(mistakes) => return complain(&mistakes.to_string(), USAGE),
    };
    let mut job = match intake::from_request(&request, &config.ceilings) {
        Ok(job) => job,
        Err(problems) => {
            let problems: Vec<_> = problems.iter().map(|problem| problem.message.clone()).collect();
            return complain(&problems.join("; "), USAGE);
        }
    };
    job.place = Place::Container;
    // It is over before a collector would have heard of it.
    config.collector = None;
    // A directory of its own, gone afterwards, unless one was chosen.
    let scratch = match Scratch::make(&mut config) {
        Ok(scratch) => scratch,
        Err(error) => {
            return complain(&format!("cannot make a temporary directory: {error}"), SANDBOX_FAILED);
        }
    };
    let ended = ground::settle(&config).map_err(|error| chain(&error)).and_then(|ground| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
        let ended = if matches.get_flag("stream") {
            runtime.block_on(stream(&config, ground, job))
        } else {
            runtime.block_on(execute(&config, ground, job))
        };
        runtime.shutdown_background();
        ended
    });
    if let Err(error) = scratch.remove() {
        complain(&chain(&error), SANDBOX_FAILED);
    }
    match ended {
        Ok(Ended::Record(record)) => answer(&record, matches.get_flag("json")),
        Ok(Ended::Shown(code)) => ExitCode::from(code),
        Err(error) => complain(&error, SANDBOX_FAILED),
    }
}

enum Ended {
    /// Nothing of it has been printed.
    Record(Arc<RunRecord>),
    /// All of it has.
    Shown(u8),
}

async fn execute(config: &Config, ground: Ground, job: Job) -> Result<Ended, String> {
    begin(config, ground, job).await?.end().await.map(Ended::Record)
}

async fn stream(config: &Config, ground: Ground, job: Job) -> Result<Ended, String> {
    let mut signals = Signals::listen().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let begun = tokio::select! {
        begun = begin(config, ground, job) => begun?,
        signal = signals.next() => return Ok(Ended::Shown(signal.exit_code())),
    };
    let printer = Printer::start();
    let sender = printer.sender();
    let begun = &begun;
    let mut cancelled_by = None;
    let shown = async move {
        let followed = live::follow(&begun.execution, &sender).await;
        if followed.is_err() {
            // Nobody reads any more, as when the pipe of an ordinary program breaks.
            begun.execution.stop(Stop::Cancelled);
        }
        let record = begun.end().await?;
        let response = outlet::response(&record);
        if let Some(explanation) = ending::explanation(&response) {
            sender.print(Print::Note(explanation.to_owned())).await.ok();
        }
        if let Some(value) = &record.return_value {
            let text = format!("{value}\n");
            sender.print(Print::Output { stream: Stream::Stdout, text }).await.ok();
        }
        Ok::<_, String>(ending::exit_code(&response))
    };
    tokio::pin!(shown);
    let code = tokio::select! {
        code = &mut shown => code?,
        signal = signals.next() => {
            cancelled_by = Some(signal);
            signals.exit_at_the_next();
            begun.execution.stop(Stop::Cancelled);
            shown.as_mut().await?
        }
    };
    printer.finish().await.map_err(|error| format!("cannot print the answer: {error}"))?;
    Ok(Ended::Shown(cancelled_by.map_or(code, |signal| signal.exit_code())))
}

/// A run under way, and what it needs.
struct Begun {
    execution: Arc<Execution>,
    parts: (Arc<Parts>, Tasks),
}

async fn begin(config: &Config, ground: Ground, job: Job) -> Result<Begun, String> {
    let parts = app::open_parts(config, ground, None).await.map_err(|error| chain(&error))?;
    match run::submit(&parts.0, job, &Origin::new("run", Trace::begin(Spans::Unexported)), Until::Over).await
    {
        Ok(Submitted::Execution(execution)) => Ok(Begun { execution, parts }),
        Ok(Submitted::Stored(_)) | Err(_) => Err(LOST.to_owned()),
    }
}

impl Begun {
    async fn end(&self) -> Result<Arc<RunRecord>, String> {
        match self.execution.over().await {
            State::Done(record) => {
                self.parts.0.admission.idle().await;
                Ok(record)
            }
            State::Queued | State::Running | State::Refused(_) | State::Lost => Err(LOST.to_owned()),
        }
    }
}

fn answer(record: &RunRecord, json: bool) -> ExitCode {
    let response = outlet::response(record);
    let printed = if json {
        ending::print_json(&response)
    } else {
        let returned = record.return_value.as_deref().map(RawValue::get);
        ending::print_plainly(&response.stdout, &response.stderr, returned)
    };
    if let Err(error) = printed {
        return complain(&format!("cannot print the answer: {error}"), SANDBOX_FAILED);
    }
    ExitCode::from(ending::exit_code(&response))
}
