//! `GET /info`: what this daemon is and what it holds runs to.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use protocol::Info;

use crate::http::api::Api;
use crate::outlet;

pub(super) async fn info(State(api): State<Arc<Api>>) -> Json<Info> {
    Json(outlet::info(&api.config, &api.parts.host))
}
