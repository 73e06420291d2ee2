//! The token of every call: it may be replaced at any time, it may be wrong for a while, and nobody else ever sees it.

use std::fs;
use std::path::{Path, PathBuf};

use conformance::daemon::home;
use conformance::{Daemon, INTERNAL_TOKEN, Settings};
use control_plane_mock::{Action, Kind, Mock, Rule};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    accepted, accepted_in_the_end, attempts, call, mock, names, nothing_wrong, script, waiting,
};

const NEXT_TOKEN: &str = "the-token-after-the-rotation";

/// A token in a file, as a mounted secret is one.
struct Secret(TempDir);

impl Secret {
    fn of(token: &str) -> Self {
        let secret = Self(home());
        secret.become_(token);
        secret
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("token")
    }

    /// At once: whoever reads it sees the one or the other.
    fn become_(&self, token: &str) {
        let new = self.0.path().join("new");
        fs::write(&new, format!("{token}\n")).unwrap();
        fs::rename(new, self.path()).unwrap();
    }
}

fn daemon_with(mock: &Mock, file: &Path) -> Daemon {
    let settings = Settings::new().set("CONTROL_PLANE_URL", mock.url()).set("LOG_LEVEL", "debug");
    let daemon = settings.set("INTERNAL_API_TOKEN_FILE", file.display()).start();
    call(mock, |call| call.kind == Kind::Ready && call.accepted);
    daemon
}

/// Nothing was wrong but tokens, which a test has changed on purpose.
fn only_tokens_were_wrong(mock: &Mock) {
    let violations = mock.violations();
    assert!(
        violations.iter().all(|violation| violation.contains("the bearer token is missing or not")),
        "{violations:?}"
    );
}

fn keeps_it_to_itself(daemon: &Daemon, tokens: &[&str]) {
    let health = ["/health", "/info", "/metrics"].map(|path| daemon.get(path).text());
    for token in tokens {
        assert!(!daemon.log().contains(token), "{}", daemon.log());
        assert!(health.iter().all(|text| !text.contains(token)), "{health:?}");
    }
}

// CP-10
#[test]
fn a_token_that_was_replaced_in_its_file_is_used_after_the_first_refusal() {
    let (mock, secret) = (mock(), Secret::of(INTERNAL_TOKEN));
    let daemon = daemon_with(&mock, &secret.path());
    daemon.execute(&script("exec_before", "true")).result();
    assert!(accepted(&mock, "exec_before").authorized);
    nothing_wrong(&mock);

    mock.set_token(Some(NEXT_TOKEN.to_owned()));
    daemon.execute(&script("exec_rotated", "true")).result();
    call(&mock, |call| call.kind == Kind::Result && !call.authorized);
    secret.become_(NEXT_TOKEN);
    assert!(accepted(&mock, "exec_rotated").authorized);
    let calls = attempts(&mock, "exec_rotated");
    assert!((2..=3).contains(&calls.len()), "{calls:#?}");
    assert!(calls.iter().all(|call| call.idempotency_key == calls[0].idempotency_key));
    only_tokens_were_wrong(&mock);

    // From now on everything goes out with the new one, heartbeats too.
    let said = mock.violations();
    daemon.execute(&script("exec_after", "true")).result();
    accepted(&mock, "exec_after");
    assert_eq!(mock.violations(), said);
    assert!(daemon.events("token_not_renewed").is_empty());
    keeps_it_to_itself(&daemon, &[INTERNAL_TOKEN, NEXT_TOKEN]);
    accepted_in_the_end(&mock, daemon, &["exec_before", "exec_rotated", "exec_after"]);
}

// CP-10
#[test]
fn a_token_that_is_not_accepted_is_no_fault_of_the_result() {
    let mock = mock();
    mock.set_token(Some(NEXT_TOKEN.to_owned()));
    let daemon = Settings::new().calling(&mock).set("LOG_LEVEL", "debug").start();
    daemon.execute(&script("exec_401", "true")).result();
    daemon.eventually("it is tried again", |_| attempts(&mock, "exec_401").len() >= 2);
    assert!(attempts(&mock, "exec_401").iter().all(|call| call.answer.status == Some(401)));
    assert_eq!((waiting(&daemon, "pending"), waiting(&daemon, "set_aside")), (1, 0));
    assert_eq!(names(&daemon.results()), ["exec_401.json"]);
    assert!(
        daemon
            .events("callback_deferred")
            .iter()
            .any(|event| event["error"].as_str().unwrap().contains("401"))
    );
    keeps_it_to_itself(&daemon, &[INTERNAL_TOKEN]);
    only_tokens_were_wrong(&mock);
    mock.set_token(Some(INTERNAL_TOKEN.to_owned()));
    accepted(&mock, "exec_401");
    // Also that this container is ready was only put off.
    call(&mock, |call| call.kind == Kind::Ready && call.accepted);
    accepted_in_the_end(&mock, daemon, &["exec_401"]);
    only_tokens_were_wrong(&mock);
}

// CP-04
#[test]
fn a_403_passes_as_a_401_does() {
    let mock = mock();
    let daemon = Settings::new().calling(&mock).start();
    for (id, code) in [("exec_401", 401), ("exec_403", 403)] {
        let refusal = Action::Status { code, headers: Default::default(), body: String::new() };
        mock.script(Rule::new(refusal).of_execution(id).of_kind(Kind::Result).times(2));
        daemon.execute(&script(id, "true")).result();
    }
    for id in ["exec_401", "exec_403"] {
        accepted(&mock, id);
        assert_eq!(attempts(&mock, id).len(), 3);
    }
    assert_eq!(names(&daemon.results().join("set-aside")), [""; 0]);
    // A token in a variable cannot change: there is nothing to be read again, and nothing to be said about it.
    assert!(daemon.events("token_not_renewed").is_empty());
    accepted_in_the_end(&mock, daemon, &["exec_401", "exec_403"]);
    nothing_wrong(&mock);
}

// CP-10
#[test]
fn a_token_file_that_cannot_be_used_leaves_the_old_token_in_use() {
    let (mock, secret) = (mock(), Secret::of(INTERNAL_TOKEN));
    let daemon = daemon_with(&mock, &secret.path());
    let spoilt = ["two-words of-a-token", "", "split-\r\nx-header: injected"];
    let mut ids = Vec::new();
    for (number, content) in std::iter::once(None).chain(spoilt.map(Some)).enumerate() {
        match content {
            None => fs::remove_file(secret.path()).unwrap(),
            Some(content) => secret.become_(content),
        }
        mock.set_token(Some(NEXT_TOKEN.to_owned()));
        let id = format!("exec_{number}");
        daemon.execute(&script(&id, "true")).result();
        daemon.eventually("it is said", |daemon| {
            daemon.events("token_not_renewed").iter().any(|event| event["execution_id"] == *id)
        });
        mock.set_token(Some(INTERNAL_TOKEN.to_owned()));
        let heard = accepted(&mock, &id);
        assert!(heard.authorized && !heard.headers.contains_key("x-header"));
        ids.push(id);
    }
    let said = daemon.events("token_not_renewed");
    assert!(said.iter().all(|event| event["level"] == "warn" && event["error"].is_string()), "{said:?}");
    keeps_it_to_itself(&daemon, &[INTERNAL_TOKEN, "of-a-token", "split-", "injected"]);
    only_tokens_were_wrong(&mock);
    accepted_in_the_end(&mock, daemon, &ids.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn programs_and_results_on_disk_do_not_know_the_token() {
    let (mock, secret) = (mock(), Secret::of(INTERNAL_TOKEN));
    let daemon = daemon_with(&mock, &secret.path());
    mock.refuse_connections();
    let code = format!("env; cat {} 2>&1; cat /proc/*/environ 2>/dev/null; true", secret.path().display());
    let answer = daemon.execute(&script("exec_curious", &code)).result();
    assert_eq!(answer["status"], json!("success"));
    let file = fs::read_to_string(daemon.results().join("exec_curious.json")).unwrap();
    assert!(!answer.to_string().contains(INTERNAL_TOKEN), "{answer}");
    assert!(!file.contains(INTERNAL_TOKEN), "{file}");
    mock.accept_connections();
    accepted_in_the_end(&mock, daemon, &["exec_curious"]);
    nothing_wrong(&mock);
}
