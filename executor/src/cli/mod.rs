//! The command line: one file per command. The only room that prints.
//!
//! Exit codes: 0 done; 64 the command line or the configuration is wrong; 1 the daemon could not start; 143 and 130 ended by
//! SIGTERM and SIGINT. `run` and `exec` have their own, see there.

mod doctor;
mod ending;
mod exec;
mod health;
mod live;
mod outbox;
mod printer;
mod program;
mod run;
mod scratch;
mod serve;

use std::io::Write;
use std::process::ExitCode;

use clap::{ArgMatches, Command};
use linux::{identity, memory};
use sandbox::cgroup;

use crate::config::{self, Config, ProcessEnvironment};

/// The command line or the configuration is wrong (`EX_USAGE`, sysexits.h).
const USAGE: u8 = 64;

pub fn main() -> ExitCode {
    // Before a secret is read. Becoming another user takes it back (prctl(2)), and who does that hides it again.
    if let Err(error) = identity::hide_memory() {
        return complain(&format!("cannot hide this process's memory from others: {error}"), 1);
    }
    if let Err(error) = memory::protect_what_was_relocated() {
        return complain(&format!("cannot protect this program's own tables from being written: {error}"), 1);
    }
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // `--help` and `--version` come this way, too.
            let code = if error.use_stderr() { USAGE } else { 0 };
            return if error.print().is_ok() { ExitCode::from(code) } else { ExitCode::FAILURE };
        }
    };
    let code = match matches.subcommand() {
        Some(("run", matches)) => run::run(matches),
        Some(("exec", matches)) => exec::exec(matches),
        Some(("doctor", matches)) => with_config(matches, doctor::doctor),
        Some(("openapi", _)) => say(crate::http::openapi::DOCUMENT),
        Some(("health", matches)) => with_config(matches, health::health),
        Some(("outbox", matches)) => outbox::outbox(matches),
        Some(("serve", matches)) => with_config(matches, serve::serve),
        Some(_) | None => with_config(&matches, serve::serve),
    };
    cgroup::settle();
    code
}

fn command() -> Command {
    let settings = |command: Command| config::flags(command);
    let serve =
        settings(Command::new("serve").about("Serve the API (this is what happens without a command)"));
    let doctor = settings(
        Command::new("doctor").about("Say what this host can enforce, and how to mend what it cannot"),
    );
    let health = settings(
        Command::new("health").about("Ask the daemon on this machine how it is; for container healthchecks"),
    );
    settings(Command::new("sandbox-executor"))
        .about("Runs untrusted Python, JavaScript and shell, each execution in a sandbox of its own")
        .version(env!("CARGO_PKG_VERSION"))
        .args_conflicts_with_subcommands(true)
        .subcommand(serve)
        .subcommand(run::command())
        .subcommand(exec::command())
        .subcommand(doctor)
        .subcommand(Command::new("openapi").about("Print the API's OpenAPI document"))
        .subcommand(health)
        .subcommand(outbox::command())
}

fn with_config(matches: &ArgMatches, go: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    match config::load(matches, &ProcessEnvironment) {
        Ok(config) => go(config),
        Err(mistakes) => complain(&mistakes.to_string(), USAGE),
    }
}

/// To stdout. A reader that left (`| head`) is not worth an error.
fn say(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_reader_left) => ExitCode::FAILURE,
    }
}

/// To stderr, as this program's.
fn complain(text: &str, code: u8) -> ExitCode {
    let said = writeln!(std::io::stderr(), "sandbox-executor: {}", text.trim_end());
    if said.is_ok() { ExitCode::from(code) } else { ExitCode::FAILURE }
}

/// An error and all its sources, once each, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors quote their source already.
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
