//! `/health`, `/health/live`, `/health/ready`: for probes. They take no lock that a run holds and wait for nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use protocol::{Health, HealthStatus, Live, LiveStatus, Ready, ReadyStatus};

use crate::http::api::Api;
use crate::outlet;

pub(super) async fn health(State(api): State<Arc<Api>>) -> Response {
    let trouble = api.trouble();
    let (code, status) = match trouble {
        None => (StatusCode::OK, HealthStatus::Healthy),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, HealthStatus::Unhealthy),
    };
    let body = Health {
        status,
        reason: trouble,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: api.started.elapsed().as_secs_f64(),
        active_executions: api.parts.admission.active() as u64,
        queued_executions: api.parts.admission.queued() as u64,
        isolation: outlet::isolation(&api.parts.host),
        outbox: api.parts.outbox.counts().map(outlet::outbox),
    };
    (code, Json(body)).into_response()
}

/// That this is answered is the whole answer.
pub(super) async fn live() -> Json<Live> {
    Json(Live { status: LiveStatus::Live })
}

pub(super) async fn ready(State(api): State<Arc<Api>>) -> Response {
    match api.trouble() {
        None => (StatusCode::OK, Json(Ready { status: ReadyStatus::Ready, reason: None })).into_response(),
        reason @ Some(_) => {
            let body = Ready { status: ReadyStatus::NotReady, reason };
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}
