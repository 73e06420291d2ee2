//! The control routes: the journal, the script and the rest of [`Mock`](crate::Mock) over HTTP, for who is not in the same
//! process.
//!
//! They need no token, are not in the journal, and are never subject to the script. An error is one sentence that names what
//! was wrong.

use std::sync::Arc;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use serde_json::{Value, json};

use super::answer::{self, Body};
use crate::journal::Journal;
use crate::{Call, Kind, Rule};

/// For `raw` actions with many bytes.
const LONGEST_BODY: usize = 64 << 20;

const ROUTES: [&str; 6] = ["/journal", "/executions", "/script", "/step", "/violations", "/health"];

type Answer = Result<Value, (u16, String)>;

pub(super) fn is_control(path: &str) -> bool {
    ROUTES.contains(&path) || path.starts_with("/executions/")
}

pub(super) async fn answer(journal: &Arc<Journal>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let (method, path) = (head.method, head.uri.path());
    let query = head.uri.query().unwrap_or_default();
    let answer = match (&method, path) {
        (&Method::GET, "/health") => Ok(json!({ "status": "healthy" })),
        (&Method::GET, "/journal") => calls(journal, query),
        (&Method::DELETE, "/journal") => done(|| journal.forget()),
        (&Method::GET, "/executions") => Ok(json!(journal.executions())),
        (&Method::GET, "/violations") => Ok(json!(journal.violations())),
        (&Method::GET, "/script") => Ok(journal.script_lines()),
        (&Method::DELETE, "/script") => done(|| journal.clear_script()),
        (&Method::POST, "/script") => match Limited::new(body, LONGEST_BODY).collect().await {
            Ok(body) => add_rules(journal, &body.to_bytes()),
            Err(error) => Err((400, format!("the rules did not arrive whole: {error}"))),
        },
        (&Method::POST, "/step") if journal.step() => Ok(json!({})),
        (&Method::POST, "/step") => Err((404, "no call is held; script one with \"hold\"".to_owned())),
        (&Method::GET, path) if path.starts_with("/executions/") => {
            let id = path.trim_start_matches("/executions/");
            let view = journal.execution(id).map(|view| json!(view));
            view.ok_or_else(|| (404, format!("nothing has arrived for an execution {id}")))
        }
        _ => Err((405, format!("{path} has no {method}"))),
    };
    match answer {
        Ok(value) => answer::json(200, &value),
        Err((status, sentence)) => answer::json(status, &json!({ "error": sentence })),
    }
}

fn done(change: impl FnOnce()) -> Answer {
    change();
    Ok(json!({}))
}

/// One rule or a list of rules, which are added at the end.
fn add_rules(journal: &Journal, body: &[u8]) -> Answer {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let rules: Result<Vec<Rule>, _> = if first == Some(&b'[') {
        serde_json::from_slice(body)
    } else {
        serde_json::from_slice(body).map(|rule| vec![rule])
    };
    let rules =
        rules.map_err(|error| (400, format!("the script is not a rule or a list of rules: {error}")))?;
    journal.script(rules).map_err(|error| (400, error.to_string()))?;
    Ok(journal.script_lines())
}

/// What `GET /journal` asks for.
#[derive(Debug, Default)]
struct Filter<'query> {
    kind: Option<Kind>,
    execution_id: Option<&'query str>,
    after: u64,
}

impl<'query> Filter<'query> {
    fn parse(query: &'query str) -> Result<Self, String> {
        let mut filter = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "kind" => {
                    let problem =
                        || format!("kind must be result, heartbeat, ready, exited or other, not {value}");
                    filter.kind = Some(Kind::from_word(value).ok_or_else(problem)?);
                }
                "execution_id" => filter.execution_id = Some(value),
                "after" => {
                    let problem = |error| format!("after must be the number of a call, not {value}: {error}");
                    filter.after = value.parse().map_err(problem)?;
                }
                _ => return Err(format!("{name} is not one of kind, execution_id and after")),
            }
        }
        Ok(filter)
    }

    fn fits(&self, call: &Call) -> bool {
        call.number > self.after
            && self.kind.is_none_or(|kind| kind == call.kind)
            && (self.execution_id.is_none() || self.execution_id == call.execution_id.as_deref())
    }
}

fn calls(journal: &Journal, query: &str) -> Answer {
    let filter = Filter::parse(query).map_err(|problem| (400, problem))?;
    let calls: Vec<Call> =
        journal.look(|calls| calls.iter().filter(|call| filter.fits(call)).cloned().collect());
    Ok(json!(calls))
}
