//! The program that a command line names: its file, language, event and timeout, for `run` and `exec` alike.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use protocol::{ExecuteRequest, Language};
use serde_json::value::RawValue;

pub(super) fn arguments(command: Command) -> Command {
    command
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

pub(super) fn request(matches: &ArgMatches) -> Result<ExecuteRequest, String> {
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
