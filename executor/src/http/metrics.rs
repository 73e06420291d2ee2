//! `GET /metrics`: for scrapers. Like the health probes it takes no lock that a run holds, and waits for nothing.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::http::api::Api;
use crate::telemetry::metrics::{FORMAT, Moment};

pub(super) async fn metrics(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let moment = Moment {
        uptime: api.started.elapsed(),
        active_executions: api.parts.admission.active(),
        queued_executions: api.parts.admission.queued(),
        waiting_sandboxes: api.parts.pool.waiting(),
        outbox: api.parts.outbox.counts(),
    };
    ([(CONTENT_TYPE, FORMAT)], api.parts.metrics.text(&moment))
}
