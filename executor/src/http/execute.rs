//! `POST /execute`: decode, check, submit, wait, answer.
//!
//! The handler only waits for the run. A caller who leaves drops the handler; the run goes on.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::admission::Refused;
use crate::http::api::Api;
use crate::http::executions;
use crate::http::follow::{self, Leaving, Place};
use crate::http::guard::{RequestId, read_body, trace};
use crate::http::problem::Refusal;
use crate::job::Job;
use crate::run::execution::{Origin, State as ExecutionState};
use crate::run::record::RunRecord;
use crate::run::{self, SubmitError, Submitted, Until};
use crate::telemetry::{events, spans};
use crate::{intake, outlet};

/// From the end of the headers to the last byte of the body.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn execute(State(api): State<Arc<Api>>, request: Request) -> Response {
    let id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
    match answer(&api, &id, request).await {
        Ok(response) => response,
        Err(refusal) => {
            tracing::info!(error_code = refusal.code().name, "{}", events::EXECUTION_REFUSED);
            refusal.into_response(id.as_str())
        }
    }
}

async fn answer(api: &Api, id: &RequestId, request: Request) -> Result<Response, Refusal> {
    let trace = trace(request.headers(), api.config.spans());
    spans::name_trace(&trace.id());
    let origin = Origin::new(id.as_str(), trace);
    let wishes = Wishes::of(request.headers());
    let body = read_body(request, api.config.max_request, BODY_PATIENCE, &api.bodies).await?;
    let job = job(api, &body)?;
    drop(body);
    let on_disconnect = job.on_disconnect;
    let until = match wishes {
        Wishes::Accepted => Until::Accepted,
        Wishes::Result | Wishes::Events => Until::Over,
    };
    let execution = match run::submit(&api.parts, job, &origin, until).await? {
        Submitted::Execution(execution) => execution,
        Submitted::Stored(entry) => {
            return match wishes {
                Wishes::Accepted => executions::accepted(api, &entry.run.execution_id).await,
                Wishes::Events => follow::stored(&entry),
                Wishes::Result => Ok(json(Bytes::from(entry.result.get().to_owned()))),
            };
        }
    };
    match wishes {
        Wishes::Accepted => executions::accepted(api, &execution.id).await,
        Wishes::Events => {
            let caller = Leaving { execution: Arc::clone(&execution), on_disconnect };
            Ok(follow::follow(execution, Place::default(), Some(caller)))
        }
        Wishes::Result => result(Leaving { execution, on_disconnect }).await,
    }
}

/// How a caller wants to be answered.
#[derive(Debug, Clone, Copy)]
enum Wishes {
    Result,
    /// `Prefer: respond-async` (RFC 7240).
    Accepted,
    /// `Accept: text/event-stream`.
    Events,
}

impl Wishes {
    fn of(headers: &HeaderMap) -> Self {
        let prefer = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        let mut preferences = prefer.flat_map(|value| value.split(',')).map(str::trim);
        if follow::wanted(headers) {
            Self::Events
        } else if preferences.any(|preference| preference.eq_ignore_ascii_case("respond-async")) {
            Self::Accepted
        } else {
            Self::Result
        }
    }
}

async fn result(caller: Leaving) -> Result<Response, Refusal> {
    match caller.execution.over().await {
        ExecutionState::Done(record) => written(record).await,
        ExecutionState::Refused(refused) => Err(refused.into()),
        ExecutionState::Queued | ExecutionState::Running | ExecutionState::Lost => Err(Refusal::Internal),
    }
}

fn json(body: Bytes) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

fn job(api: &Api, body: &[u8]) -> Result<Job, Refusal> {
    let job = intake::decode(body)
        .and_then(|raw| intake::check(raw, &api.config.ceilings))
        .map_err(Refusal::Validation)?;
    let language = job.program.language;
    if api.parts.host.language(language).is_none() {
        let there: Vec<_> =
            api.parts.host.languages.iter().map(|there| there.runtime.language.name()).collect();
        let message =
            format!("{} is not installed in this container; there is: {}", language.name(), there.join(", "));
        return Err(Refusal::Validation(vec![intake::Problem::new("language", message)]));
    }
    Ok(job)
}

/// Beyond this, writing an answer as JSON takes longer than handing it to another thread.
const QUICKLY_WRITTEN: usize = 64 * 1024;

/// Megabytes of output take milliseconds to write as JSON: not on a thread that others wait for.
async fn written(record: Arc<RunRecord>) -> Result<Response, Refusal> {
    let quick = record.output_bytes() <= QUICKLY_WRITTEN;
    let write = move || serde_json::to_vec(&outlet::response(&record));
    let json = if quick {
        write()
    } else {
        let written = tokio::task::spawn_blocking(write).await;
        written.or(Err(Refusal::Internal))?
    };
    Ok(self::json(Bytes::from(json.or(Err(Refusal::Internal))?)))
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Refused(refused) => refused.into(),
            SubmitError::Duplicate { id, fields } => Self::DuplicateExecution { id, fields },
            SubmitError::Undelivered { id } => Self::Undelivered { id },
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::QueueFull { retry_after } => Self::QueueFull { retry_after },
            Refused::ShuttingDown { retry_after } => Self::ShuttingDown { retry_after },
        }
    }
}
