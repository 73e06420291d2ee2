//! `openapi/executor-api.yaml` against the code that keeps its promises: the wire types, the error codes and
//! the examples. Whether the rules of request fields agree is in `requests.rs`, and their numbers are in `bounds.rs`.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helper functions too")]

use std::collections::{BTreeMap, BTreeSet};

use executor::{
    http::problem::CODES,
    intake::{Ceilings, check, decode},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

fn document() -> Value {
    serde_saphyr::from_str(include_str!("../../openapi/executor-api.yaml")).unwrap()
}

/// `ExecuteRequest.full` → its JSON, for every file of `openapi/examples`.
fn examples() -> BTreeMap<String, Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi/examples");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
        })
        .collect()
}

/// A validator for the schema at `reference`, with all the document's others in reach.
fn validator(document: &Value, reference: &str) -> jsonschema::Validator {
    let mut root = document.clone();
    root["$ref"] = json!(reference);
    jsonschema::draft202012::new(&root).unwrap()
}

fn names(value: &Value) -> BTreeSet<String> {
    let array = value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let object = value.as_object().into_iter().flat_map(|members| members.keys().cloned());
    array.chain(object).collect()
}

/// Follows `$ref`, and `anyOf` with null, to the schema that has the properties.
fn resolved<'document>(document: &'document Value, schema: &'document Value) -> &'document Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return resolved(document, document.pointer(&reference[1..]).unwrap());
    }
    schema["anyOf"].as_array().map_or(schema, |choices| resolved(document, &choices[0]))
}

/// Every property of the schema is in the value and the other way round, all the way down.
fn same_fields(document: &Value, schema: &Value, value: &Value, path: &str) {
    let schema = resolved(document, schema);
    if let Some(properties) = schema["properties"].as_object() {
        assert_eq!(names(&schema["properties"]), names(value), "fields of {path}");
        for (name, property) in properties {
            same_fields(document, property, &value[name], &format!("{path}.{name}"));
        }
    }
    if let (Some(items), Some(elements)) = (schema.get("items"), value.as_array()) {
        let fullest = elements.iter().max_by_key(|element| names(element).len());
        same_fields(document, items, fullest.expect("an example with elements"), &format!("{path}[]"));
    }
}

/// `filled` has every field of the type, `least` only those that are always there.
fn type_and_schema_agree<Wire: Serialize + DeserializeOwned>(schema: &str, filled: &str, least: &str) {
    let (document, examples) = (document(), examples());
    let through_the_type = |case: &str| {
        let text = examples[&format!("{schema}.{case}")].to_string();
        serde_json::to_value(serde_json::from_str::<Wire>(&text).unwrap()).unwrap()
    };
    let schema_value = &document["components"]["schemas"][schema];
    same_fields(&document, schema_value, &through_the_type(filled), schema);
    assert_eq!(names(&schema_value["required"]), names(&through_the_type(least)), "required of {schema}");
}

#[test]
fn the_fields_of_every_type_are_those_of_its_schema() {
    type_and_schema_agree::<protocol::ExecuteRequest>("ExecuteRequest", "full", "least");
    type_and_schema_agree::<protocol::ExecuteResponse>("ExecuteResponse", "memory-limit", "success");
    type_and_schema_agree::<protocol::ErrorBody>("ErrorBody", "validation", "queue-full");
    type_and_schema_agree::<protocol::Health>("Health", "unhealthy", "healthy");
    type_and_schema_agree::<protocol::Live>("Live", "live", "live");
    type_and_schema_agree::<protocol::Ready>("Ready", "not-ready", "ready");
    type_and_schema_agree::<protocol::Info>("Info", "default", "default");
    type_and_schema_agree::<protocol::StartedEvent>("StartedEvent", "started", "started");
    type_and_schema_agree::<protocol::OutputEvent>("OutputEvent", "output", "output");
}

/// No execution has all fields at once: what is optional comes and goes with its state.
#[test]
fn the_fields_of_an_execution_are_those_of_its_schema() {
    let (document, examples) = (document(), examples());
    let schema = &document["components"]["schemas"]["Execution"];
    let mut seen = BTreeSet::new();
    for case in ["queued", "running", "finished"] {
        let example = &examples[&format!("Execution.{case}")];
        let typed: protocol::Execution = serde_json::from_value(example.clone()).unwrap();
        let again = serde_json::to_value(&typed).unwrap();
        assert_eq!(names(&again), names(example), "{case}");
        assert!(names(&schema["required"]).is_subset(&names(&again)), "{case}");
        seen.extend(names(&again));
    }
    assert_eq!(names(&schema["properties"]), seen);
    same_fields(
        &document,
        &schema["properties"]["progress"],
        &examples["Execution.queued"]["progress"],
        "progress",
    );
}

/// serde names every variant when it is given one that does not exist.
fn variants<Wire: DeserializeOwned>() -> BTreeSet<String> {
    let Err(error) = serde_json::from_str::<Wire>("\"?\"") else { panic!("? is no variant") };
    error.to_string().split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_words_of_every_enum_are_those_of_its_schema() {
    let document = document();
    for (schema, words) in [
        ("Language", variants::<protocol::Language>()),
        ("ExecuteRequest/properties/workspace", variants::<protocol::WorkspaceKind>()),
        ("ExecuteRequest/properties/mode", variants::<protocol::Mode>()),
        ("InputFile/properties/encoding", variants::<protocol::Encoding>()),
        ("Status", variants::<protocol::Status>()),
        ("Cause", variants::<protocol::Cause>()),
        ("Callback", variants::<protocol::Callback>()),
        ("ExecuteRequest/properties/on_disconnect", variants::<protocol::OnDisconnect>()),
        ("Execution/properties/state", variants::<protocol::ExecutionState>()),
        ("Progress/properties/phase", variants::<protocol::Phase>()),
        ("MemorySource", variants::<protocol::MemorySource>()),
        ("CpuSource", variants::<protocol::CpuSource>()),
        ("ArtifactType", variants::<protocol::ArtifactType>()),
        ("Change", variants::<protocol::Change>()),
        ("Health/properties/status", variants::<protocol::HealthStatus>()),
        ("Live/properties/status", variants::<protocol::LiveStatus>()),
        ("Ready/properties/status", variants::<protocol::ReadyStatus>()),
        ("IsolationTier", variants::<protocol::IsolationTier>()),
        ("SeccompState", variants::<protocol::SeccompState>()),
        ("IsolationState/properties/proc", variants::<protocol::ProcMount>()),
        ("CgroupVersion", variants::<protocol::CgroupVersion>()),
        ("MemoryWatch", variants::<protocol::MemoryWatch>()),
    ] {
        let listed = document.pointer(&format!("/components/schemas/{schema}/enum")).unwrap();
        assert_eq!(names(listed), words, "{schema}");
        assert!(words.len() > 1, "{schema}");
    }
    let codes: BTreeSet<String> = CODES.iter().map(|code| code.name.to_owned()).collect();
    assert_eq!(
        names(&document["components"]["schemas"]["ErrorBody"]["properties"]["error_code"]["enum"]),
        codes
    );
}

#[test]
fn every_example_is_valid_and_every_example_request_is_accepted() {
    let document = document();
    for (name, example) in examples() {
        let (schema, _) = name.split_once('.').unwrap();
        let validator = validator(&document, &format!("#/components/schemas/{schema}"));
        if let Err(error) = validator.validate(&example) {
            panic!("{name}: {error} at {}", error.instance_path());
        }
        if schema == "ExecuteRequest" {
            let body = example.to_string();
            let job = decode(body.as_bytes()).and_then(|raw| check(raw, &Ceilings::default()));
            assert_eq!(job.err(), None, "{name}");
        }
    }
    let request = &document["paths"]["/execute"]["post"]["requestBody"]["content"]["application/json"];
    assert!(validator(&document, "#/components/schemas/ExecuteRequest").is_valid(&request["example"]));
    let refusal = &document["components"]["responses"]["ValidationError"]["content"]["application/json"];
    assert!(validator(&document, "#/components/schemas/ErrorBody").is_valid(&refusal["example"]));
}

#[test]
fn every_answer_has_a_request_id_and_a_content_type_and_every_operation_a_name() {
    let document = document();
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if method == "parameters" {
                continue;
            }
            let id = operation["operationId"].as_str().unwrap();
            assert!(operations.insert(id.to_owned()), "{id} twice");
            assert!(operation["responses"].get("default").is_some(), "{method} {path} has no default answer");
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let answer = resolved(&document, answer);
                let place = format!("{method} {path} {status}");
                assert_eq!(
                    answer["headers"]["X-Request-Id"]["$ref"], "#/components/headers/RequestId",
                    "{place}"
                );
                // What has no body has no type; a run can be followed, and metrics are written in two formats.
                let types = match (status.as_str(), path.as_str()) {
                    ("204" | "304", _) => None,
                    ("200", "/execute" | "/metrics") => Some(2),
                    _ => Some(1),
                };
                assert_eq!(answer["content"].as_object().map(serde_json::Map::len), types, "{place}");
                if status == "503" && path == "/execute" {
                    assert!(answer["headers"].get("Retry-After").is_some(), "{place}");
                }
            }
        }
    }
    assert_eq!(operations.len(), 12);
}
