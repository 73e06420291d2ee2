//! `outbox`: what waits for the control plane, and what it would not take. Works beside a daemon and without one.

use std::cmp::Reverse;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Arg, ArgAction, ArgMatches, Command};
use protocol::ExecuteResponse;
use serde_json::json;

use super::{USAGE, chain, complain, say};
use crate::config::{self, Config, ProcessEnvironment, settings};
use crate::intake::is_execution_id;
use crate::outbox::journal::{Access, Aside, Found, Journal, LoadError};

pub(super) fn command() -> Command {
    let id = || Arg::new("id").value_name("EXECUTION_ID");
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print it as JSON");
    Command::new("outbox")
        .about(
            "Results that the control plane does not have: list them, show one, try again what was set aside",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            with_directory("list").about("List what runs, what waits and what was set aside").arg(json),
        )
        .subcommand(with_directory("show").about("Print one entry as it is on disk").arg(id().required(true)))
        .subcommand(
            with_directory("retry")
                .about("Put what was set aside back among what waits")
                .arg(id().required_unless_present("all"))
                .arg(
                    Arg::new("all")
                        .long("all")
                        .action(ArgAction::SetTrue)
                        .conflicts_with("id")
                        .help("Everything that was refused"),
                ),
        )
}

/// Of all settings, only the one that matters here is shown in `--help`; the others may be in the environment.
fn with_directory(name: &'static str) -> Command {
    config::flags(Command::new(name)).mut_args(|arg| {
        let hide = arg.get_id() != settings::RESULTS_DIR.name && arg.get_id() != "help";
        arg.hide(hide)
    })
}

pub(super) fn outbox(matches: &ArgMatches) -> ExitCode {
    let Some((name, matches)) = matches.subcommand() else { return complain("list, show or retry?", USAGE) };
    let config = match config::load(matches, &ProcessEnvironment) {
        Ok(config) => config,
        Err(mistakes) => return complain(&mistakes.to_string(), USAGE),
    };
    let done = match name {
        "show" => show(&config, matches),
        "retry" => retry(&config, matches),
        _ => list(&config, matches.get_flag("json")),
    };
    match done {
        Ok(text) => say(&text),
        Err(complaint) => complain(&complaint, 1),
    }
}

fn journal(path: &Path) -> Result<Journal, String> {
    let journal = Journal::at(path, Access::Visitor);
    match journal.open() {
        Ok(()) => Ok(journal),
        Err(error) => Err(format!("{}; --results-dir names another directory", chain(&error))),
    }
}

/// One line of the list.
struct Line {
    execution_id: String,
    state: String,
    age_seconds: u64,
    size: u64,
}

fn list(config: &Config, json: bool) -> Result<String, String> {
    let journal = journal(&config.results_dir)?;
    let unreadable = |error: std::io::Error| format!("cannot read {}: {error}", config.results_dir.display());
    let listing = journal.list().map_err(unreadable)?;
    let aside = journal.aside().map_err(unreadable)?;
    let found = |found: Found, state: &str| Line {
        state: state.to_owned(),
        age_seconds: age(found.modified),
        size: found.size,
        execution_id: found.execution_id,
    };
    let mut lines: Vec<Line> = listing.running.into_iter().map(|run| found(run, "running")).collect();
    lines.extend(listing.pending.into_iter().map(|waiting| found(waiting, "pending")));
    lines.extend(aside.into_iter().map(|aside| Line {
        state: format!("set aside: {}", aside.why),
        age_seconds: age(aside.modified),
        size: aside.size,
        execution_id: aside.execution_id,
    }));
    lines.sort_by_key(|line| Reverse(line.age_seconds));
    if json {
        let entries: Vec<_> = lines
            .iter()
            .map(|line| {
                json!({
                    "execution_id": line.execution_id, "state": line.state,
                    "age_seconds": line.age_seconds, "size": line.size,
                })
            })
            .collect();
        return Ok(format!("{}\n", serde_json::Value::Array(entries)));
    }
    if lines.is_empty() {
        return Ok(format!("nothing waits in {}\n", config.results_dir.display()));
    }
    let mut text = format!("{:<40} {:<24} {:>8} {:>12}\n", "EXECUTION", "STATE", "AGE s", "BYTES");
    for Line { execution_id, state, age_seconds, size } in lines {
        writeln!(text, "{execution_id:<40} {state:<24} {age_seconds:>8} {size:>12}")
            .expect("a String takes every write");
    }
    Ok(text)
}

fn age(since: SystemTime) -> u64 {
    SystemTime::now().duration_since(since).unwrap_or_default().as_secs()
}

fn show(config: &Config, matches: &ArgMatches) -> Result<String, String> {
    let journal = journal(&config.results_dir)?;
    let id = id(matches)?;
    let aside = || match set_aside(&journal, Some(&id))?.first() {
        Some(aside) => journal.load_aside(aside).map_err(|error| error.to_string()),
        None => Err(format!("there is nothing of {id} in {}", config.results_dir.display())),
    };
    let entry = match journal.load(&id) {
        Err(LoadError::Missing) => match journal.load_running(&id) {
            Err(LoadError::Missing) => aside(),
            found => found.map_err(|error| error.to_string()),
        },
        found => found.map_err(|error| error.to_string()),
    }?;
    let result: Result<ExecuteResponse, _> = serde_json::from_str(entry.result.get());
    let shown = json!({ "run": entry.run, "result": result.ok() });
    serde_json::to_string_pretty(&shown).map(|text| text + "\n").map_err(|error| error.to_string())
}

fn retry(config: &Config, matches: &ArgMatches) -> Result<String, String> {
    let journal = journal(&config.results_dir)?;
    let id = if matches.get_flag("all") { None } else { Some(id(matches)?) };
    let aside = set_aside(&journal, id.as_deref())?;
    let (damaged, refused): (Vec<_>, Vec<_>) =
        aside.iter().partition(|aside| journal.load_aside(aside).is_err());
    if let (Some(id), true) = (&id, refused.is_empty()) {
        return Err(match damaged.first() {
            Some(_) => format!("{id} cannot be delivered: its file is damaged; outbox show {id} says how"),
            None => format!("nothing of {id} was set aside; outbox list shows what was"),
        });
    }
    let mut text = String::new();
    for aside in &refused {
        journal
            .put_back(aside)
            .map_err(|error| format!("cannot put {} back: {error}", aside.execution_id))?;
        writeln!(text, "{} waits again", aside.execution_id).expect("a String takes every write");
    }
    let how_many = refused.len();
    writeln!(
        text,
        "{how_many} put back: a running daemon tries within 10 seconds, another one when it starts"
    )
    .expect("a String takes every write");
    Ok(text)
}

fn set_aside(journal: &Journal, id: Option<&str>) -> Result<Vec<Aside>, String> {
    let aside = journal.aside().map_err(|error| format!("cannot read what was set aside: {error}"))?;
    Ok(aside.into_iter().filter(|aside| id.is_none_or(|id| aside.execution_id == id)).collect())
}

fn id(matches: &ArgMatches) -> Result<String, String> {
    let id = matches.get_one::<String>("id").cloned().unwrap_or_default();
    if is_execution_id(&id) {
        return Ok(id);
    }
    Err(format!("{id:?} is no execution id; one looks like exec_20260115_k3n8x2ab"))
}
