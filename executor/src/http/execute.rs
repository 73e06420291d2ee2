//! `POST /execute`: decode, check, submit, wait, answer.
//!
//! The handler only waits for the run. A caller who leaves drops the handler; the run goes on.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::admission::Refused;
use crate::http::api::Api;
use crate::http::guard::{RequestId, read_body};
use crate::http::problem::Refusal;
use crate::job::Job;
use crate::run::record::RunRecord;
use crate::run::registry::State as ExecutionState;
use crate::run::{self, SubmitError};
use crate::telemetry::events;
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
    let body = read_body(request, api.config.max_request, BODY_PATIENCE, &api.bodies).await?;
    let job = job(api, &body)?;
    drop(body);
    let execution = run::submit(&api.parts, job, id.as_str())?;
    match execution.over().await {
        ExecutionState::Done(record) => written(record).await,
        ExecutionState::Refused(refused) => Err(refused.into()),
        ExecutionState::Queued | ExecutionState::Running | ExecutionState::Lost => Err(Refusal::Internal),
    }
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
    let json = json.or(Err(Refusal::Internal))?;
    Ok(([(CONTENT_TYPE, "application/json")], Bytes::from(json)).into_response())
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Refused(refused) => refused.into(),
            SubmitError::Duplicate { id, fields } => Self::DuplicateExecution { id, fields },
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
