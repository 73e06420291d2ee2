//! `GET /openapi.yaml`: the promise, as it is in the repository.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

/// The same bytes that `sandbox-executor openapi` prints.
pub const DOCUMENT: &str = include_str!("../../../openapi/executor-api.yaml");

pub(super) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/yaml")], DOCUMENT)
}
