//! `run`: one execution in the same sandbox, without a server.
//!
//! Exits with the program's own code; 124 when it ran into its timeout, 125 when the sandbox failed, 137 when a limit ended it.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use protocol::{ExecuteRequest, Language};
use sandbox::outcome::{Cause, Status};
use serde_json::value::RawValue;

use super::scratch::Scratch;
use super::{USAGE, chain, complain};
use crate::app::{self, StartError};
use crate::config::{self, Config, ProcessEnvironment};
use crate::job::{Job, Place};
use crate::lifecycle::ground::{self, Ground};
use crate::run::record::RunRecord;
use crate::run::registry::State;
use crate::{intake, outlet, run};

const TIMED_OUT: u8 = 124;
const SANDBOX_FAILED: u8 = 125;
const LIMIT_HIT: u8 = 137;

pub(super) fn command() -> Command {
    config::flags(Command::new("run"))
        .about("Run one file in the sandbox, without a server")
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The program; - reads it from stdin"),
        )
        .arg(
            Arg::new("event")
                .long("event")
                .value_name("JSON")
                .help("What the handler is called with [default: {}]"),
        )
        .arg(
            Arg::new("language")
                .long("language")
                .value_name("LANGUAGE")
                .help("python, javascript or shell [default: by the file's extension]"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("SECONDS")
                .value_parser(value_parser!(f64))
                .help("1 to 3600 [default: 30]"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the whole answer as JSON"))
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let request = match request(matches) {
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
        let ended = runtime.block_on(execute(&config, ground, job)).map_err(|error| chain(&error));
        runtime.shutdown_background();
        ended
    });
    if let Err(error) = scratch.remove() {
        complain(&chain(&error), SANDBOX_FAILED);
    }
    match ended {
        Ok(State::Done(record)) => answer(&record, matches.get_flag("json")),
        Ok(State::Queued | State::Running | State::Refused(_) | State::Lost) => {
            complain("the execution was lost", SANDBOX_FAILED)
        }
        Err(error) => complain(&error, SANDBOX_FAILED),
    }
}

async fn execute(config: &Config, ground: Ground, job: Job) -> Result<State, StartError> {
    let (parts, _janitor) = app::open_parts(config, ground).await?;
    Ok(match run::submit(&parts, job, "run") {
        Ok(execution) => execution.over().await,
        Err(_refused) => State::Lost,
    })
}

fn request(matches: &ArgMatches) -> Result<ExecuteRequest, String> {
    let file: &PathBuf = matches.get_one("file").ok_or("which file?")?;
    let code = read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let language = match matches.get_one::<String>("language") {
        Some(name) => by_name(name)
            .ok_or_else(|| format!("unknown language '{name}'; there are python, javascript and shell"))?,
        None => by_extension(file).ok_or_else(|| {
            format!("cannot tell the language of {} by its name; use --language", file.display())
        })?,
    };
    let mut request = ExecuteRequest::new(language, code);
    if let Some(event) = matches.get_one::<String>("event") {
        let event =
            RawValue::from_string(event.clone()).map_err(|error| format!("--event is not JSON: {error}"))?;
        request.event = Some(event);
    }
    request.timeout = matches.get_one("timeout").copied();
    Ok(request)
}

fn read(file: &Path) -> std::io::Result<String> {
    if file == Path::new("-") {
        let mut code = String::new();
        std::io::stdin().read_to_string(&mut code)?;
        return Ok(code);
    }
    std::fs::read_to_string(file)
}

fn by_name(name: &str) -> Option<Language> {
    serde_json::from_value(name.into()).ok()
}

fn by_extension(file: &Path) -> Option<Language> {
    match file.extension()?.to_str()? {
        "py" => Some(Language::Python),
        "js" | "mjs" | "cjs" => Some(Language::Javascript),
        "sh" | "bash" => Some(Language::Shell),
        _ => None,
    }
}

fn answer(record: &Arc<RunRecord>, json: bool) -> ExitCode {
    let printed = if json { print_json(record) } else { print_plainly(record) };
    if let Err(error) = printed {
        return complain(&format!("cannot print the answer: {error}"), SANDBOX_FAILED);
    }
    ExitCode::from(match (record.outcome.status, record.outcome.cause) {
        (Status::Success | Status::Failed, _) => record.outcome.exit_code.to_le_bytes()[0],
        (Status::Timeout, _) => TIMED_OUT,
        (Status::Error | Status::Cancelled, Cause::SandboxError | Cause::DaemonShutdown) => SANDBOX_FAILED,
        (Status::Error | Status::Cancelled, _) => LIMIT_HIT,
    })
}

fn print_json(record: &RunRecord) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut stdout, &outlet::response(record))?;
    stdout.write_all(b"\n")
}

/// The program's streams on ours, and then what it returned, if anything.
fn print_plainly(record: &RunRecord) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(record.stdout.text.as_bytes())?;
    std::io::stderr().write_all(record.stderr.text.as_bytes())?;
    match &record.return_value {
        Some(value) => writeln!(stdout, "{value}"),
        None => stdout.flush(),
    }
}
