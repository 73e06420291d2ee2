//! `openapi/executor-api.yaml` as a judge of answers.

use std::sync::{LazyLock, OnceLock};

use jsonschema::Validator;
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
    let responses = &root["paths"][template(root, path)][method.to_ascii_lowercase()]["responses"];
    let response = resolve(root, &responses[status.to_string()]);
    let schema = if response.is_null() {
        assert!(
            responses.is_null() || [400, 404, 405].contains(&status),
            "{method} {path} answered {status}, which the document does not have"
        );
        json!({ "$ref": "#/components/schemas/ErrorBody" })
    } else {
        let media = content_type.split(';').next().unwrap_or_default();
        if [204, 304].contains(&status) {
            assert!(response["content"].is_null() && body.is_empty(), "{method} {path} {status} has content");
            return;
        }
        if !response["content"]["*/*"].is_null() {
            assert!(!media.is_empty(), "{method} {path} {status} has no content type");
            return;
        }
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
    hold(&validator(&schema), &body, &format!("{method} {path} {status}"));
}

/// Panics unless the document allows this data for an event of this name.
pub fn check_event(name: &str, data: &Value) {
    static STARTED: LazyLock<Validator> = LazyLock::new(|| of_schema("StartedEvent"));
    static OUTPUT: LazyLock<Validator> = LazyLock::new(|| of_schema("OutputEvent"));
    static FINISHED: LazyLock<Validator> = LazyLock::new(|| of_schema("ExecuteResponse"));
    let validator = match name {
        "started" => &STARTED,
        "stdout" | "stderr" => &OUTPUT,
        "finished" => &FINISHED,
        other => panic!("the document does not have events called {other}"),
    };
    hold(validator, data, name);
}

fn of_schema(name: &str) -> Validator {
    validator(&json!({ "$ref": format!("#/components/schemas/{name}") }))
}

fn validator(schema: &Value) -> Validator {
    let mut root = document().clone();
    root["allOf"] = json!([schema]);
    jsonschema::draft202012::new(&root).unwrap()
}

fn hold(validator: &Validator, instance: &Value, what: &str) {
    let errors: Vec<_> =
        validator.iter_errors(instance).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{what} breaks the document: {}", errors.join("; "));
}

/// The path of the document that this one is an instance of: the one with the fewest parameters, so a literal one if there
/// is one. A parameter stands for one part of a path, except `{path}`, which is the rest of it.
fn template<'a>(root: &'a Value, path: &'a str) -> &'a str {
    let templates = root["paths"].as_object().unwrap().keys().filter(|template| is_instance(path, template));
    templates.min_by_key(|template| template.matches('{').count()).map_or(path, String::as_str)
}

fn is_instance(path: &str, template: &str) -> bool {
    let (mut parts, mut wanted) = (path.split('/'), template.split('/'));
    loop {
        match (parts.next(), wanted.next()) {
            (None, None) => return true,
            (Some(part), Some("{path}")) => return !part.is_empty() || parts.next().is_some(),
            (Some(part), Some(wanted)) if wanted.starts_with('{') && wanted.ends_with('}') => {
                if part.is_empty() {
                    return false;
                }
            }
            (Some(part), Some(wanted)) if part == wanted => {}
            (Some(_) | None, Some(_) | None) => return false,
        }
    }
}

fn resolve<'a>(root: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null),
        None => value,
    }
}
