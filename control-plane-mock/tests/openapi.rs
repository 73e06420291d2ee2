//! `openapi/control-plane-callbacks.yaml` against the code that keeps its promises: the wire types and the examples.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helper functions too")]

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// Where the documents are, so that the `$ref`s from one lead to the other.
const FOLDER: &str = "https://openapi.invalid/";

/// Both, under the names of their files.
fn documents() -> BTreeMap<String, Value> {
    [
        ("control-plane-callbacks.yaml", include_str!("../../openapi/control-plane-callbacks.yaml")),
        ("executor-api.yaml", include_str!("../../openapi/executor-api.yaml")),
    ]
    .map(|(name, text)| (name.to_owned(), serde_saphyr::from_str(text).unwrap()))
    .into()
}

/// `Heartbeat.running` → its JSON.
fn examples() -> BTreeMap<String, Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi/callback-examples");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
        })
        .collect()
}

fn validator(documents: &BTreeMap<String, Value>, schema: &Value) -> jsonschema::Validator {
    let mut registry = jsonschema::Registry::new();
    for (name, document) in documents {
        registry = registry.add(format!("{FOLDER}{name}"), document.clone()).unwrap();
    }
    let registry = registry.prepare().unwrap();
    let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).with_registry(&registry);
    options.should_validate_formats(true).build(schema).unwrap()
}

fn component(name: &str) -> Value {
    json!({ "$ref": format!("{FOLDER}control-plane-callbacks.yaml#/components/schemas/{name}") })
}

fn names(value: &Value) -> BTreeSet<String> {
    let array = value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let object = value.as_object().into_iter().flat_map(|members| members.keys().cloned());
    array.chain(object).collect()
}

/// A schema, and the document that it is in.
#[derive(Clone, Copy)]
struct Place<'documents> {
    documents: &'documents BTreeMap<String, Value>,
    file: &'documents str,
    schema: &'documents Value,
}

impl<'documents> Place<'documents> {
    /// Follows `$ref`, also into the other document, and `anyOf` with null, to the schema that has the properties.
    fn resolved(self) -> Self {
        if let Some(reference) = self.schema["$ref"].as_str() {
            let (file, pointer) = reference.split_once('#').unwrap();
            let file = if file.is_empty() { self.file } else { file };
            let schema = self.documents[file].pointer(pointer).expect(reference);
            return Self { file, schema, ..self }.resolved();
        }
        self.schema["anyOf"].as_array().map_or(self, |choices| self.at(&choices[0]).resolved())
    }

    fn at(self, schema: &'documents Value) -> Self {
        Self { schema, ..self }
    }
}

/// Every property of the schema is in the value and the other way round, all the way down.
fn same_fields(place: Place<'_>, value: &Value, path: &str) {
    let place = place.resolved();
    if let Some(properties) = place.schema["properties"].as_object() {
        assert_eq!(names(&place.schema["properties"]), names(value), "fields of {path}");
        for (name, property) in properties {
            same_fields(place.at(property), &value[name], &format!("{path}.{name}"));
        }
    }
}

/// `filled` has every field of the type, `least` only those that are always there.
fn type_and_schema_agree<Wire: Serialize + DeserializeOwned>(schema: &str, filled: &str, least: &str) {
    let (documents, examples) = (documents(), examples());
    let through_the_type = |case: &str| {
        let text = examples[&format!("{schema}.{case}")].to_string();
        serde_json::to_value(serde_json::from_str::<Wire>(&text).unwrap()).unwrap()
    };
    let file = "control-plane-callbacks.yaml";
    let value = &documents[file]["components"]["schemas"][schema];
    let place = Place { documents: &documents, file, schema: value };
    same_fields(place, &through_the_type(filled), schema);
    assert_eq!(names(&value["required"]), names(&through_the_type(least)), "required of {schema}");
}

#[test]
fn the_fields_of_every_type_are_those_of_its_schema() {
    type_and_schema_agree::<protocol::Heartbeat>("Heartbeat", "running", "queued");
    type_and_schema_agree::<protocol::ContainerReady>("ContainerReady", "full", "least");
    type_and_schema_agree::<protocol::ContainerExited>("ContainerExited", "full", "least");
    type_and_schema_agree::<protocol::CompactResult>("CompactResult", "memory-limit", "success");
}

/// serde names every variant when it is given one that does not exist.
fn variants<Wire: DeserializeOwned>() -> BTreeSet<String> {
    let Err(error) = serde_json::from_str::<Wire>("\"?\"") else { panic!("? is no variant") };
    error.to_string().split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_words_of_every_enum_are_those_of_its_schema() {
    let schemas = &documents()["control-plane-callbacks.yaml"]["components"]["schemas"];
    for (schema, words) in [
        ("Phase", variants::<protocol::Phase>()),
        ("ExitReason", variants::<protocol::ExitReason>()),
        ("CompactStatus", variants::<protocol::CompactStatus>()),
    ] {
        assert_eq!(names(&schemas[schema]["enum"]), words, "{schema}");
        assert!(words.len() > 1, "{schema}");
    }
}

/// Through the type and back it is the same.
fn round_trip(schema: &str, example: &Value) -> Value {
    fn through<Wire: Serialize + DeserializeOwned>(example: &Value) -> Value {
        serde_json::to_value(serde_json::from_str::<Wire>(&example.to_string()).unwrap()).unwrap()
    }
    match schema {
        "Heartbeat" => through::<protocol::Heartbeat>(example),
        "ContainerReady" => through::<protocol::ContainerReady>(example),
        "ContainerExited" => through::<protocol::ContainerExited>(example),
        "CompactResult" => through::<protocol::CompactResult>(example),
        other => panic!("{other} is no type of a callback"),
    }
}

/// 256 and 256.0 are the same number in JSON.
fn numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(values) => values.into_iter().map(numbers).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, member)| (name, numbers(member))).collect::<Map<_, _>>().into()
        }
        other @ (Value::Null | Value::Bool(_) | Value::String(_)) => other,
    }
}

#[test]
fn every_example_is_valid_and_survives_its_type() {
    let documents = documents();
    let mut schemas = BTreeSet::new();
    for (name, example) in examples() {
        let (schema, _) = name.split_once('.').unwrap();
        if let Err(error) = validator(&documents, &component(schema)).validate(&example) {
            panic!("{name}: {error} at {}", error.instance_path());
        }
        assert_eq!(numbers(round_trip(schema, &example)), numbers(example), "{name}");
        schemas.insert(schema.to_owned());
    }
    assert_eq!(schemas.len(), 4);
}

#[test]
fn a_result_is_the_full_form_or_the_compact_one_and_never_both() {
    let documents = documents();
    let path = "/internal/executions/{execution_id}/result";
    let operation = &documents["control-plane-callbacks.yaml"]["paths"][path]["post"];
    let choices =
        operation["requestBody"]["content"]["application/json"]["schema"]["oneOf"].as_array().unwrap();
    let absolute = choices.iter().map(|choice| {
        let reference = choice["$ref"].as_str().unwrap();
        let file = if reference.starts_with('#') { "control-plane-callbacks.yaml" } else { "" };
        json!({ "$ref": format!("{FOLDER}{file}{reference}") })
    });
    let result = validator(&documents, &json!({ "oneOf": absolute.collect::<Vec<_>>() }));
    let full = include_str!("../../openapi/examples/ExecuteResponse.memory-limit.json");
    assert!(result.is_valid(&serde_json::from_str(full).unwrap()));
    let examples = examples();
    assert!(result.is_valid(&examples["CompactResult.memory-limit"]));
    assert!(!result.is_valid(&examples["Heartbeat.running"]));
    let mut both = examples["CompactResult.success"].clone();
    both["callback"] = json!("journalled");
    assert!(!result.is_valid(&both));
}

#[test]
fn bounds_are_those_of_the_types() {
    let (documents, examples) = (documents(), examples());
    let judged = |example: &str, pointer: &str, value: Value| {
        let mut changed = examples[example].clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        let (schema, _) = example.split_once('.').unwrap();
        validator(&documents, &component(schema)).is_valid(&changed)
    };
    for (example, pointer, good, bad) in [
        ("ContainerReady.full", "/executor_port", json!(65_535), json!(65_536)),
        ("ContainerReady.full", "/executor_port", json!(1), json!(0)),
        ("ContainerExited.full", "/exit_code", json!(255), json!(256)),
        ("ContainerExited.full", "/exit_code", json!(0), json!(-1)),
        ("CompactResult.success", "/exit_code", json!(-1), json!(-2)),
        ("CompactResult.success", "/status", json!("crashed"), json!("error")),
        ("CompactResult.success", "/artifacts", json!(["a"]), json!([{ "path": "a" }])),
        ("Heartbeat.running", "/progress/elapsed_ms", json!(0), json!(0.5)),
        ("Heartbeat.running", "/timestamp", json!("2026-01-15T09:30:05Z"), json!("2026-01-15T09:30:05")),
        (
            "Heartbeat.running",
            "/timestamp",
            json!("2026-01-15T09:30:05.5Z"),
            json!("2026-01-15T09:30:05+00:00"),
        ),
        ("Heartbeat.running", "/timestamp", json!("2026-01-15T09:30:05Z"), json!("2026-13-15T09:30:05Z")),
    ] {
        assert!(judged(example, pointer, good.clone()), "{example}{pointer} {good}");
        assert!(!judged(example, pointer, bad.clone()), "{example}{pointer} {bad}");
    }
}

#[test]
fn there_are_four_operations_and_each_says_what_becomes_of_every_answer() {
    let document = &documents()["control-plane-callbacks.yaml"];
    let mut operations = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            operations.insert(id.to_owned(), format!("{method} {path}"));
            let parameters: BTreeSet<_> = operation["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .map(|parameter| {
                    let reference = parameter["$ref"].as_str().unwrap().trim_start_matches('#');
                    document.pointer(reference).expect(reference)["name"].as_str().unwrap()
                })
                .collect();
            for header in ["Idempotency-Key", "traceparent", "X-Request-Id"] {
                assert!(parameters.contains(header), "{id} has no {header}");
            }
            assert_eq!(path.contains("{execution_id}"), parameters.contains("execution_id"), "{id}");
            assert_eq!(operation["requestBody"]["required"], true, "{id}");
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let reference = answer["$ref"].as_str().unwrap().trim_start_matches('#');
                assert!(document.pointer(reference).is_some(), "{id} {status}");
            }
            let documented = names(&operation["responses"]);
            let all = ["2XX", "3XX", "401", "403", "408", "409", "425", "429", "4XX", "503", "5XX"];
            assert!(
                documented.contains("default") || all.iter().all(|status| documented.contains(*status)),
                "{id}"
            );
        }
    }
    let expected = [
        ("reportExited", "post /internal/containers/exited"),
        ("reportHeartbeat", "post /internal/executions/{execution_id}/heartbeat"),
        ("reportReady", "post /internal/containers/ready"),
        ("reportResult", "post /internal/executions/{execution_id}/result"),
    ];
    assert_eq!(operations, expected.map(|(id, place)| (id.to_owned(), place.to_owned())).into());
    assert_eq!(document["security"], json!([{ "bearer": [] }]));
}
