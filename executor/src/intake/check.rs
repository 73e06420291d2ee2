//! Stage two: fields → [`Job`]. Every field is looked at, whatever is wrong with the others.

use protocol::ExecuteRequest;
use sandbox::program::{Language, Mode, Program};

use super::{
    ceilings::Ceilings,
    environment::environment,
    event::event,
    files::files,
    fingerprint::fingerprint,
    identifier::{self, new_execution_id},
    json::Fields,
    limits::limits,
    problem::{Problem, Problems},
    raw::{RawRequest, decode},
    text::{code, text, word},
};
use crate::job::{Job, OnDisconnect, Place};

/// All problems of the request, those that [`decode`] found first.
pub fn check(raw: RawRequest<'_>, ceilings: &Ceilings) -> Result<Job, Vec<Problem>> {
    let RawRequest { fields, mut problems } = raw;
    let problems = &mut problems;

    let code = required(&fields, "code", problems).and_then(|value| code(value, problems));
    let language = language(&fields, problems);
    let mode = mode(&fields, language, problems);
    let limits = limits(fields.given("timeout"), fields.given("limits"), ceilings, problems);
    let execution_id = match fields.given("execution_id") {
        Some(value) => identifier::execution_id(value, problems),
        None => Some(new_execution_id()),
    };
    let place = place(&fields, problems);
    let on_disconnect = on_disconnect(&fields, problems);
    let stdin = match fields.given("stdin") {
        Some(value) => text("stdin", value, problems),
        None => Some(String::new()),
    };
    let event = event(fields.written("event"), stdin.as_deref().unwrap_or(""), mode, problems);
    let env = fields.given("env_vars").map(|value| environment(value, problems)).unwrap_or_default();
    let files = fields.given("files").map(|value| files(value, problems)).unwrap_or_default();

    match (code, language, mode, execution_id, place, stdin, on_disconnect) {
        (
            Some(code),
            Some(language),
            Some(mode),
            Some(execution_id),
            Some(place),
            Some(stdin),
            Some(on_disconnect),
        ) if problems.is_empty() => {
            let program = Program { execution_id, language, mode, code, event, stdin, env, files };
            Ok(Job { program, place, limits, on_disconnect, fingerprint: fingerprint(&fields) })
        }
        // What could not be read has been reported where it was read.
        _ => Err(std::mem::take(problems).into_vec()),
    }
}

/// The command line's way in: the same road as a request from outside, so that both have the same defaults and bounds.
pub fn from_request(request: &ExecuteRequest, ceilings: &Ceilings) -> Result<Job, Vec<Problem>> {
    let body = serde_json::to_vec(request).expect("it has only string keys");
    check(decode(&body)?, ceilings)
}

fn required<'body>(
    fields: &Fields<'body>,
    name: &str,
    problems: &mut Problems,
) -> Option<&'body serde_json::value::RawValue> {
    let value = fields.given(name);
    if value.is_none() {
        problems.report(|| Problem::new(name, format!("{name} is missing; it is required")));
    }
    value
}

fn language(fields: &Fields<'_>, problems: &mut Problems) -> Option<Language> {
    const NICKNAMES: [(&str, &str); 9] = [
        ("py", "python"),
        ("python3", "python"),
        ("js", "javascript"),
        ("node", "javascript"),
        ("nodejs", "javascript"),
        ("bash", "shell"),
        ("sh", "shell"),
        ("zsh", "shell"),
        ("ecmascript", "javascript"),
    ];
    let value = required(fields, "language", problems)?;
    let names = Language::ALL.map(Language::name);
    word("language", value, &names, &NICKNAMES, problems).and_then(Language::from_name)
}

/// `None` also when the language is unknown: then there is no default, and that has been reported.
fn mode(fields: &Fields<'_>, language: Option<Language>, problems: &mut Problems) -> Option<Mode> {
    let asked = match fields.given("mode") {
        Some(value) => Some(word("mode", value, &["handler", "script"], &[], problems)?),
        None => None,
    };
    match (asked, language?) {
        (Some("handler"), Language::Shell) => {
            let message = "mode must be script for shell: a shell program has no handler; leave mode out";
            problems.report(|| Problem::new("mode", message));
            None
        }
        (Some("handler"), _) | (None, Language::Python) => Some(Mode::Handler),
        (Some(_), _) | (None, Language::Shell) => Some(Mode::Script),
        (None, Language::Javascript) => Some(Mode::Auto),
    }
}

fn on_disconnect(fields: &Fields<'_>, problems: &mut Problems) -> Option<OnDisconnect> {
    let Some(value) = fields.given("on_disconnect") else { return Some(OnDisconnect::Continue) };
    match word("on_disconnect", value, &["continue", "cancel"], &[], problems)? {
        "cancel" => Some(OnDisconnect::Cancel),
        _ => Some(OnDisconnect::Continue),
    }
}

fn place(fields: &Fields<'_>, problems: &mut Problems) -> Option<Place> {
    let session = fields.given("session_id").map(|value| identifier::session_id(value, problems));
    let workspace = match fields.given("workspace") {
        Some(value) => word("workspace", value, &["persistent", "fresh"], &[], problems)?,
        None => "persistent",
    };
    match (workspace, session) {
        ("fresh", Some(_)) => {
            let message = "workspace must not be fresh together with session_id: a session has its own";
            problems.report(|| Problem::new("workspace", message));
            None
        }
        ("fresh", None) => Some(Place::Fresh),
        (_, Some(session)) => session.map(Place::Session),
        (_, None) => Some(Place::Container),
    }
}
