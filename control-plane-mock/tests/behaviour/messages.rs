//! Messages that keep to the document.

use control_plane_mock::{Mock, Options};
use serde_json::{Value, json};

use crate::client::Request;

pub(crate) fn mock() -> Mock {
    Mock::start(Options::default()).unwrap()
}

fn example(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

pub(crate) fn result_body(id: &str) -> Value {
    let mut body = example(include_str!("../../../openapi/examples/ExecuteResponse.success.json"));
    body["execution_id"] = json!(id);
    body
}

pub(crate) fn result(id: &str) -> Request {
    Request::callback(&format!("/internal/executions/{id}/result"), &format!("result-{id}"), &result_body(id))
}

pub(crate) fn heartbeat(id: &str, number: u32) -> Request {
    let body = example(include_str!("../../../openapi/callback-examples/Heartbeat.running.json"));
    let path = format!("/internal/executions/{id}/heartbeat");
    Request::callback(&path, &format!("heartbeat-{id}-{number}"), &body)
}

pub(crate) fn ready() -> Request {
    let body = example(include_str!("../../../openapi/callback-examples/ContainerReady.full.json"));
    Request::callback("/internal/containers/ready", "ready-1", &body)
}

pub(crate) fn exited() -> Request {
    let body = example(include_str!("../../../openapi/callback-examples/ContainerExited.least.json"));
    Request::callback("/internal/containers/exited", "exited-1", &body)
}
