//! The program: a control plane on a port, with a line for each call.
//!
//! Exit codes: 0 ended by SIGINT or SIGTERM; 64 the command line or the environment is wrong; 1 it could not listen. It must
//! never take a secret from its command line, or print one.

mod line;

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use control_plane_mock::{Call, Mock, Options};
use tokio::signal::unix::{SignalKind, signal};

/// The command line or the environment is wrong (`EX_USAGE`, sysexits.h).
const USAGE: u8 = 64;

const TOKEN: &str = "INTERNAL_API_TOKEN";

/// A control plane to develop against: takes every callback of a sandbox-executor, judges it, and prints a line for it.
///
/// GET /journal, /executions, /violations, /script and /health say what it knows; POST /script makes it misbehave. When the
/// environment has INTERNAL_API_TOKEN, every callback needs that bearer token.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    /// Address and port to listen on
    #[arg(
        long,
        env = "CONTROL_PLANE_MOCK_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8090"
    )]
    listen: SocketAddr,
    /// File with the bearer token, instead of INTERNAL_API_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// What comes before /internal/…, as the daemon's CONTROL_PLANE_PREFIX
    #[arg(long, env = "CONTROL_PLANE_PREFIX", value_name = "PATH", default_value = "")]
    prefix: String,
}

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) if !error.use_stderr() => return asked(&error.to_string()),
        Err(error) => return complain(&one_sentence(&error), USAGE),
    };
    let options = match options(&flags) {
        Ok(options) => options,
        Err(mistake) => return complain(&mistake, USAGE),
    };
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => complain(&problem, 1),
    }
}

fn options(flags: &Flags) -> Result<Options, String> {
    let token = match (&flags.token_file, std::env::var_os(TOKEN)) {
        (Some(_), Some(_)) => return Err(format!("there are both --token-file and {TOKEN}; leave one out")),
        (Some(file), None) => Some(token_of(file)?),
        (None, Some(token)) => Some(checked(TOKEN, token.to_string_lossy().trim_end())?),
        (None, None) => None,
    };
    let prefix = flags.prefix.trim_end_matches('/').to_owned();
    if !prefix.is_empty() && !prefix.starts_with('/') {
        return Err(format!("--prefix must begin with a slash, not be {prefix:?}"));
    }
    let print = Arc::new(|call: &Call| say(&line::line(call)));
    Ok(Options { address: flags.listen, token, prefix, print: Some(print) })
}

fn token_of(file: &Path) -> Result<String, String> {
    let name = file.display();
    let text =
        fs::read_to_string(file).map_err(|error| format!("cannot read the token from {name}: {error}"))?;
    checked(&format!("the token in {name}"), text.trim_end())
}

fn checked(what: &str, token: &str) -> Result<String, String> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "{what} must be visible ASCII characters and at least one; it is not shown here"
        ));
    }
    Ok(token.to_owned())
}

/// Until SIGINT or SIGTERM.
fn serve(options: Options) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        let unheard = |error| format!("cannot listen to signals: {error}");
        let mut terminate = signal(SignalKind::terminate()).map_err(unheard)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(unheard)?;
        let address = options.address;
        let mock = Mock::start(options).map_err(|error| {
            format!("cannot listen on {address}: {error}; name another address with --listen")
        })?;
        say(&format!("listening on {}", mock.address()));
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

/// To stdout. A reader that left is not worth an error.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).ok();
}

/// `--help` and `--version`.
fn asked(text: &str) -> ExitCode {
    say(text.trim_end());
    ExitCode::SUCCESS
}

/// To stderr, as this program's.
fn complain(sentence: &str, code: u8) -> ExitCode {
    writeln!(std::io::stderr(), "control-plane-mock: {sentence}").ok();
    ExitCode::from(code)
}

/// The first paragraph of what clap says; the others are advice.
fn one_sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let sentence = first.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{sentence}; --help lists the flags")
}
