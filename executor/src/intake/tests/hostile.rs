//! What no request can do to the daemon: overflow its stack, keep it busy, make it say a lot, or get past a bound.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{super::*, intake, messages, with};
use crate::job::Job;

#[test]
fn a_name_of_a_megabyte_is_not_repeated_at_length() {
    let long = "x".repeat(1 << 20);
    for body in [
        format!(r#"{{"code":"x","language":"{long}"}}"#),
        with(&long, "1"),
        with("session_id", &format!("{long:?}")),
    ] {
        let problems = intake(body.as_bytes()).unwrap_err();
        assert!(
            problems.iter().all(|problem| problem.field.len() + problem.message.len() < 400),
            "{problems:?}"
        );
    }
}

#[test]
fn deep_nesting_is_refused_or_skipped_quickly_and_never_overflows_the_stack() {
    let open = "[".repeat(1_000_000);
    let nested = open.clone() + &"]".repeat(1_000_000);
    let objects = r#"{"a":"#.repeat(1_000_000) + "1" + &"}".repeat(1_000_000);
    let text = serde_json::to_string(&nested).unwrap();
    // A small stack, so that a recursive step anywhere would end the test.
    let small = std::thread::Builder::new().stack_size(128 * 1024);
    let run = move || {
        let started = Instant::now();
        for body in [open.clone(), nested.clone(), with("event", &open)] {
            assert_eq!(messages(&body).len(), 1);
        }
        for field in ["code", "timeout", "env_vars", "files", "limits", "execution_id", "unknown"] {
            assert!(!messages(&with(field, &nested)).is_empty());
        }
        assert!(messages(&with("env_vars", &format!(r#"{{"A":{nested}}}"#)))[0].contains("must be a string"));
        for nested in [&nested, &objects] {
            let problems = messages(&with("event", nested));
            assert_eq!(problems, ["event must be nested at most 1000 levels deep, not 1000000"]);
        }
        assert!(messages(&with("stdin", &text))[0].starts_with("stdin must be nested at most 1000"));
        started.elapsed()
    };
    let elapsed = small.spawn(run).unwrap().join().unwrap();
    assert!(elapsed < Duration::from_secs(20), "took {elapsed:?}");
}

#[test]
fn a_million_mistakes_are_counted_and_not_listed() {
    let members: Vec<String> = (0..1_000_000).map(|number| format!("\"k{number}\":0")).collect();
    let object = format!("{{{}}}", members.join(","));
    let problems = messages(&object);
    assert_eq!(problems.len(), 101);
    assert_eq!(problems[100], "and 999902 more problems");
    assert_eq!(
        messages(&with("env_vars", &object)).last().unwrap(),
        "env_vars must have at most 64 entries, not 1000000"
    );
    let elements = format!("[{}]", vec!["1"; 1_000_000].join(","));
    assert_eq!(messages(&with("files", &elements)).len(), 101);
}

fn within_bounds(job: &Job) {
    let ceilings = Ceilings::default();
    let program = &job.program;
    assert!((1..=bounds::CODE_BYTES).contains(&program.code.len()));
    assert!((1.0..=3600.0).contains(&job.limits.wall.as_secs_f64()));
    assert!(job.limits.memory <= ceilings.memory && job.limits.processes <= ceilings.processes);
    assert!(job.limits.file_size <= ceilings.file_size && job.limits.output <= ceilings.output);
    assert!(program.execution_id.starts_with("exec_") && program.execution_id.len() <= 69);
    assert!(!program.execution_id.contains(['/', '.', '\0']));
    assert!(program.env.len() <= bounds::ENV_VARS);
    assert!(program.env.iter().all(|(name, value)| !name.contains(['=', '\0']) && !value.contains('\0')));
    for file in &program.files {
        assert!(!file.path.starts_with('/') && !file.path.contains('\0') && file.path.len() <= 4096);
        assert!(file.path.split('/').all(|part| !["", ".", ".."].contains(&part) && part.len() <= 255));
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-5_i64..2000).prop_map(Value::from),
        "(exec_)?[a-z/._A-Z\\x00-]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "python",
            "javascript",
            "shell",
            "handler",
            "script",
            "fresh",
            "base64",
            "QQ=="
        ])
        .prop_map(Value::from),
    ];
    let names = raw::FIELDS.into_iter().chain(files::FIELDS).chain(limits::FIELDS).collect::<Vec<_>>();
    leaf.prop_recursive(4, 40, 8, move |inner| {
        let name = prop_oneof![prop::sample::select(names.clone()).prop_map(str::to_owned), "[A-Z_0-9]{0,4}"];
        let object = prop::collection::btree_map(name, inner.clone(), 0..8);
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(Value::from),
            object.prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_intake_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(job) = intake(&body) {
            within_bounds(&job);
        }
    }

    #[test]
    fn whatever_is_accepted_is_within_bounds(
        fields in prop::collection::btree_map(prop::sample::select(raw::FIELDS.to_vec()), json_value(), 0..4),
    ) {
        let mut body = json!({"code": "x", "language": "python"});
        for (name, value) in fields {
            body[name] = value;
        }
        match intake(body.to_string().as_bytes()) {
            Ok(job) => within_bounds(&job),
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
    }
}
