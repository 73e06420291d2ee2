//! `openapi/executor-api.yaml` as a judge of answers.

use std::sync::OnceLock;

use serde_json::{Value, json};

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_saphyr::from_str(include_str!("../../openapi/executor-api.yaml")).unwrap())
}

/// Panics unless the document allows this answer: status, content type and body.
///
/// 404 and 405 of paths and methods that the document does not have are held to the schema of errors.
pub fn check(method: &str, path: &str, status: u16, content_type: &str, body: &[u8]) {
    let root = document();
    let path = path.split('?').next().unwrap_or(path);
    let responses = &root["paths"][path][method.to_ascii_lowercase()]["responses"];
    let response = resolve(root, &responses[status.to_string()]);
    let schema = if response.is_null() {
        assert!(
            responses.is_null() || [400, 404, 405].contains(&status),
            "{method} {path} answered {status}, which the document does not have"
        );
        json!({ "$ref": "#/components/schemas/ErrorBody" })
    } else {
        let media = content_type.split(';').next().unwrap_or_default();
        let content = &response["content"][media];
        assert!(
            !content.is_null(),
            "{method} {path} {status} answered with {media}, which the document does not have"
        );
        if media != "application/json" {
            return;
        }
        content["schema"].clone()
    };
    let body: Value = serde_json::from_slice(body)
        .unwrap_or_else(|error| panic!("{method} {path} {status}: not JSON: {error}"));
    let mut root = root.clone();
    root["allOf"] = json!([schema]);
    let validator = jsonschema::draft202012::new(&root).unwrap();
    let errors: Vec<_> =
        validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{method} {path} {status} breaks the document: {}", errors.join("; "));
}

fn resolve<'a>(root: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null),
        None => value,
    }
}
