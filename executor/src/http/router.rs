//! Every route of the API, one line each.
//!
//! What wraps them, from the outside in: the request id, the count of refusals, the token, and then the handler. A route that is not here is 404,
//! a wrong method 405, both as a problem document like any other refusal.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};

use super::{artifacts, execute, executions, follow, health, info, metrics, openapi};
use crate::http::api::Api;
use crate::http::guard::{RequestId, identify};
use crate::http::problem::{Code, Refusal};

pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/execute", only("POST", post(execute::execute)))
        .route(
            "/executions/{execution_id}",
            only("GET, HEAD, DELETE", get(executions::look).delete(executions::cancel)),
        )
        .route("/executions/{execution_id}/events", only("GET, HEAD", get(follow::events)))
        .route("/executions/{execution_id}/artifacts/{*path}", only("GET, HEAD", get(artifacts::file)))
        .route("/executions/{execution_id}/artifacts.tar.zst", only("GET, HEAD", get(artifacts::archive)))
        .route("/health", only("GET, HEAD", get(health::health)))
        .route("/health/live", only("GET, HEAD", get(health::live)))
        .route("/health/ready", only("GET, HEAD", get(health::ready)))
        .route("/metrics", only("GET, HEAD", get(metrics::metrics)))
        .route("/info", only("GET, HEAD", get(info::info)))
        .route("/openapi.yaml", only("GET, HEAD", get(openapi::openapi)))
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(Arc::clone(&api), gate))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), count_refusals))
        .layer(middleware::from_fn(identify))
        .with_state(api)
}

/// `allow`: the methods that `route` has, as the `Allow` header lists them.
fn only(allow: &'static str, route: MethodRouter<Arc<Api>>) -> MethodRouter<Arc<Api>> {
    route.fallback(async move |request: Request| {
        let refusal = Refusal::MethodNotAllowed { method: request.method().to_string(), allow };
        refuse(&request, refusal)
    })
}

async fn not_found(request: Request) -> Response {
    let refusal = Refusal::NotFound { path: request.uri().path().to_owned() };
    refuse(&request, refusal)
}

async fn gate(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    match api.gate.admit(request.uri().path(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refuse(&request, refusal),
    }
}

/// Every refusal passes here, whoever refused.
async fn count_refusals(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(code) = response.extensions().get::<&'static Code>() {
        api.parts.metrics.count_refusal(code.name);
    }
    response
}

/// The answer to a request that is refused before its handler.
fn refuse(request: &Request, refusal: Refusal) -> Response {
    match request.extensions().get::<RequestId>() {
        Some(id) => refusal.into_response(id.as_str()),
        None => Refusal::Internal.into_response("").into_response(),
    }
}
