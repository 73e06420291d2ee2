//! `openapi/control-plane-callbacks.yaml` as the judge of what arrives: its schemas, its parameters, and nothing beside them.
//!
//! It must never let a message through that the document refuses: formats are checked, too.

use std::sync::LazyLock;

use hyper::HeaderMap;
use jsonschema::{Registry, Validator};
use serde_json::{Value, json};

use crate::Kind;

const CALLBACKS: &str = include_str!("../../openapi/control-plane-callbacks.yaml");
const EXECUTOR: &str = include_str!("../../openapi/executor-api.yaml");

/// Where both documents are, for the `$ref`s from one to the other.
const FOLDER: &str = "https://openapi.invalid/";

/// A body that is wrong everywhere is not listed to its end, and a value of it not quoted to its end.
const MOST_PROBLEMS: usize = 5;
const LONGEST_PROBLEM: usize = 240;

/// Of one operation.
struct Operation {
    kind: Kind,
    /// One, or the full and the compact form of a result.
    bodies: Vec<Validator>,
    headers: Vec<Header>,
    execution_id: Option<Validator>,
}

struct Header {
    name: String,
    required: bool,
    value: Validator,
}

static OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(|| {
    let document: Value = serde_saphyr::from_str(CALLBACKS).expect("the document is YAML");
    let executor: Value = serde_saphyr::from_str(EXECUTOR).expect("the executor's document is YAML");
    let registry = Registry::new()
        .add(format!("{FOLDER}control-plane-callbacks.yaml"), document.clone())
        .and_then(|registry| registry.add(format!("{FOLDER}executor-api.yaml"), executor))
        .and_then(jsonschema::RegistryBuilder::prepare)
        .expect("every $ref of the documents leads somewhere");
    [Kind::Result, Kind::Heartbeat, Kind::Ready, Kind::Exited]
        .into_iter()
        .map(|kind| operation(&document, &registry, kind))
        .collect()
});

fn operation(document: &Value, registry: &Registry<'_>, kind: Kind) -> Operation {
    let path = kind.template().expect("an operation of the document");
    let operation = &document["paths"][path]["post"];
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    let choices = body["oneOf"].as_array().cloned().unwrap_or_else(|| vec![body.clone()]);
    let bodies = choices.iter().map(|schema| validator(registry, schema)).collect();
    let (mut headers, mut execution_id) = (Vec::new(), None);
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let reference = parameter["$ref"].as_str().expect("parameters are components");
        let parameter = document.pointer(reference.trim_start_matches('#')).expect("the component exists");
        let value = validator(registry, &parameter["schema"]);
        if parameter["in"] == "path" {
            execution_id = Some(value);
        } else {
            let name = parameter["name"].as_str().expect("a parameter has a name").to_owned();
            headers.push(Header { name, required: parameter["required"] == true, value });
        }
    }
    Operation { kind, bodies, headers, execution_id }
}

fn validator(registry: &Registry<'_>, schema: &Value) -> Validator {
    let mut schema = schema.clone();
    if let Some(reference) = schema["$ref"].as_str() {
        let file = if reference.starts_with('#') { "control-plane-callbacks.yaml" } else { "" };
        schema = json!({ "$ref": format!("{FOLDER}{file}{reference}") });
    }
    let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).with_registry(registry);
    options.should_validate_formats(true).build(&schema).expect("the document's schemas are schemas")
}

fn of(kind: Kind) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.kind == kind)
}

/// Reads the documents now, and not at the first call.
pub(crate) fn prepare() {
    LazyLock::force(&OPERATIONS);
}

/// What is wrong with the body, at most [`MOST_PROBLEMS`] sentences.
pub(crate) fn body_problems(kind: Kind, body: &Value) -> Vec<String> {
    let Some(operation) = of(kind) else { return Vec::new() };
    // Only the full form of a result has `callback`; naming the form first makes for readable problems.
    let form = usize::from(operation.bodies.len() > 1 && body.get("callback").is_none());
    let problems = operation.bodies[form].iter_errors(body).take(MOST_PROBLEMS);
    problems.map(|error| shortened(&format!("body{}: {error}", error.instance_path()))).collect()
}

/// What is wrong with the headers that the document has parameters for.
pub(crate) fn header_problems(kind: Kind, headers: &HeaderMap) -> Vec<String> {
    let mut problems = Vec::new();
    for header in of(kind).into_iter().flat_map(|operation| &operation.headers) {
        let name = &header.name;
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) if header.required => problems.push(format!("{name} is missing")),
            (None, _) => {}
            (Some(_), Some(_)) => problems.push(format!("{name} is there more than once")),
            (Some(value), None) => {
                let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
                if let Err(error) = header.value.validate(&Value::String(text)) {
                    problems.push(shortened(&format!("{name}: {error}")));
                }
            }
        }
    }
    problems
}

/// What is wrong with the execution id of the path.
pub(crate) fn path_problem(kind: Kind, execution_id: &str) -> Option<String> {
    let validator = of(kind)?.execution_id.as_ref()?;
    let error = validator.validate(&Value::String(execution_id.to_owned())).err()?.to_string();
    Some(shortened(&format!("execution_id of the path: {error}")))
}

fn shortened(text: &str) -> String {
    if text.len() <= LONGEST_PROBLEM {
        return text.to_owned();
    }
    let head: String = text.chars().take(LONGEST_PROBLEM).collect();
    format!("{head}…")
}
