//! `/executions/{id}`: looking up what was started, and ending it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use sandbox::stop::Stop;

use crate::http::api::Api;
use crate::http::guard::RequestId;
use crate::http::problem::Refusal;
use crate::outbox::Entry;
use crate::outlet;
use crate::run::execution::Execution;

/// What an id leads to.
pub(super) enum Found {
    Execution(Arc<Execution>),
    /// It ran in an earlier daemon, and the control plane does not have its result yet.
    Stored(Box<Entry>),
}

pub(super) async fn find(api: &Api, id: &str) -> Result<Found, Refusal> {
    if let Some(execution) = api.parts.registry.find(id) {
        return Ok(Found::Execution(execution));
    }
    if let Some(entry) = api.parts.outbox.stored(id).await {
        return Ok(Found::Stored(Box::new(entry)));
    }
    let forgotten_at = api.parts.registry.forgotten_at(id);
    Err(Refusal::NoExecution { id: id.to_owned(), forgotten_at })
}

pub(super) async fn look(
    State(api): State<Arc<Api>>,
    path: Result<Path<String>, PathRejection>,
    Extension(request): Extension<RequestId>,
) -> Response {
    let shown = match named(path) {
        Ok(id) => show(&api, &id, StatusCode::OK).await,
        Err(refusal) => Err(refusal),
    };
    answer(&request, shown)
}

/// The id in the address. One that is no text is nobody's.
pub(super) fn named(path: Result<Path<String>, PathRejection>) -> Result<String, Refusal> {
    path.map(|Path(id)| id)
        .map_err(|_not_utf_8| Refusal::NotFound { path: "/executions/{an id that is no text}".to_owned() })
}

/// Asks it to end; whoever waits for it is told how it ended.
pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    path: Result<Path<String>, PathRejection>,
    Extension(request): Extension<RequestId>,
) -> Response {
    let id = match named(path) {
        Ok(id) => id,
        Err(refusal) => return answer(&request, Err(refusal)),
    };
    let status = match find(&api, &id).await {
        Ok(Found::Execution(execution)) if execution.is_open() => {
            execution.stop(Stop::Cancelled);
            StatusCode::ACCEPTED
        }
        Ok(Found::Execution(_) | Found::Stored(_)) => StatusCode::OK,
        Err(refusal) => return answer(&request, Err(refusal)),
    };
    answer(&request, show(&api, &id, status).await)
}

/// 202 for whoever did not want to wait.
pub(super) async fn accepted(api: &Api, id: &str) -> Result<Response, Refusal> {
    let mut response = show(api, id, StatusCode::ACCEPTED).await?;
    let location = format!("/executions/{id}");
    let location = location.parse().or(Err(Refusal::Internal))?;
    response.headers_mut().insert("location", location);
    response.headers_mut().insert("preference-applied", "respond-async".parse().or(Err(Refusal::Internal))?);
    Ok(response)
}

async fn show(api: &Api, id: &str, status: StatusCode) -> Result<Response, Refusal> {
    let view = match find(api, id).await? {
        Found::Execution(execution) => {
            let position = execution.seat().and_then(|seat| api.parts.admission.position(seat));
            let gone = || Refusal::NoExecution { id: id.to_owned(), forgotten_at: None };
            outlet::execution(&execution, position).ok_or_else(gone)?
        }
        Found::Stored(entry) => outlet::stored(&entry).or(Err(Refusal::Internal))?,
    };
    // A result can be megabytes, and writing it as JSON milliseconds.
    let write = move || serde_json::to_vec(&view);
    let json = tokio::task::spawn_blocking(write).await.or(Err(Refusal::Internal))?;
    let json = Bytes::from(json.or(Err(Refusal::Internal))?);
    Ok((status, [(CONTENT_TYPE, "application/json")], json).into_response())
}

pub(super) fn answer(id: &RequestId, result: Result<Response, Refusal>) -> Response {
    result.unwrap_or_else(|refusal| refusal.into_response(id.as_str()))
}
