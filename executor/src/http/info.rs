//! `GET /info`: what this daemon is and what it holds runs to.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use protocol::Info;

use crate::app::App;
use crate::outlet;

pub(super) async fn info(State(app): State<Arc<App>>) -> Json<Info> {
    Json(outlet::info(&app.config, &app.parts.host))
}
