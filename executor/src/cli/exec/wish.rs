//! What the command line of `exec` asks for, checked before anything is sent.

use std::path::PathBuf;

use axum::body::Bytes;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::artifacts::{Directory, Existing};
use super::follow::Question;
use crate::cli::program;
use crate::config::address::{self, UrlProblem};
use crate::config::secret::Secret;
use crate::config::{Environment, settings};
use crate::intake::{is_execution_id, new_execution_id};

/// When the program's output is printed, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    AsItComes,
    AtTheEnd,
    Json,
}

pub(super) struct Wish {
    pub(super) url: String,
    pub(super) token: Option<Secret>,
    pub(super) question: Question,
    pub(super) show: Show,
    pub(super) artifacts: Option<Directory>,
}

pub(in crate::cli) fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    program::arguments(Command::new("exec"))
        .about("Run one file on a running daemon, and show what it writes as it writes it")
        .after_help(
            "A daemon that wants a token gets the EXECUTOR_API_TOKEN of the environment. Ctrl-C cancels the \
             execution and waits for its end; a second one leaves at once. A broken connection is taken up again \
             where it broke.\n\n\
             Exit codes: the program's own; 124 timeout; 125 the sandbox failed, or the daemon cannot be reached; \
             137 a limit; 130 cancelled by Ctrl-C; 64 a mistake on the command line or in the request.",
        )
        .arg(Arg::new("url").long("url").value_name("URL").required(true).help(
            "The daemon: http:// or https://, a host, and perhaps a port and a path",
        ))
        .arg(Arg::new("session").long("session").value_name("ID").help(
            "The session whose workspace it runs in [default: the container's own workspace]",
        ))
        .arg(Arg::new("execution-id").long("execution-id").value_name("ID").help(
            "What the execution is called; with the same file and flags it attaches to one that runs already \
             [default: a new one]",
        ))
        .arg(flag("stream").conflicts_with_all(["json", "no-stream"]).help(
            "Print what the program writes as it writes it, which is the default; not together with --json",
        ))
        .arg(flag("no-stream").help("Print what the program wrote at its end"))
        .arg(
            Arg::new("artifacts")
                .long("artifacts")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Save every file that the run lists as an artifact in DIR; what is there is kept"),
        )
        .arg(flag("force").requires("artifacts").help("Replace what is in DIR"))
}

impl Wish {
    pub(super) fn read(matches: &ArgMatches, environment: &dyn Environment) -> Result<Self, String> {
        let url = matches.get_one::<String>("url").map(String::as_str).unwrap_or_default();
        let url = address::url(url).map_err(|problem| match problem {
            UrlProblem::MayHoldSecret(_) => format!(
                "--url holds a user name, a password, a query or a fragment; it must not: a token belongs in {}",
                settings::EXECUTOR_API_TOKEN.name
            ),
            UrlProblem::Shown(why) => format!("--url is {url:?}, {why}"),
        })?;
        let mut request = program::request(matches)?;
        request.session_id = matches.get_one("session").cloned();
        let execution_id = match matches.get_one::<String>("execution-id") {
            Some(id) if is_execution_id(id) => id.clone(),
            Some(id) => {
                return Err(format!("--execution-id must match ^exec_[A-Za-z0-9_-]{{1,64}}$, not {id:?}"));
            }
            None => new_execution_id(),
        };
        request.execution_id = Some(execution_id.clone());
        let body = serde_json::to_vec(&request)
            .map_err(|error| format!("cannot write the request as JSON: {error}"))?;
        let show = if matches.get_flag("json") {
            Show::Json
        } else if matches.get_flag("no-stream") {
            Show::AtTheEnd
        } else {
            Show::AsItComes
        };
        let existing = if matches.get_flag("force") { Existing::Replace } else { Existing::Keep };
        let artifacts = matches.get_one::<PathBuf>("artifacts").map(|path| {
            Directory::open(path, existing)
                .map_err(|error| format!("--artifacts: cannot use {}: {error}", path.display()))
        });
        Ok(Self {
            url,
            token: token(environment)?,
            question: Question { execution_id, body: Bytes::from(body) },
            show,
            artifacts: artifacts.transpose()?,
        })
    }
}

/// As for the daemon itself, an empty one is a mistake: somebody thought that there was one.
fn token(environment: &dyn Environment) -> Result<Option<Secret>, String> {
    let name = settings::EXECUTOR_API_TOKEN.name;
    let Some(value) = environment.variable(name) else { return Ok(None) };
    // What is not UTF-8 is not ASCII either, and is refused as such.
    let secret = Secret::new(&value.to_string_lossy());
    environment
        .forget(name)
        .map_err(|error| format!("{name} cannot be taken out of this process's environment: {error}"))?;
    secret.map(Some).map_err(|problem| format!("{name} {problem}"))
}
