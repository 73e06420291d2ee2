//! `env_vars`: names and values that no `execve` chokes on.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{
    bounds::{ENV_BYTES, ENV_VARS},
    json::{decode_string, each_member, kind, quoted, surrogate},
    problem::{Problem, Problems},
    text::text,
};

const FIELD: &str = "env_vars";

pub(super) fn environment(value: &RawValue, problems: &mut Problems) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    let (mut count, mut bytes) = (0_usize, 0_usize);
    let is_object = each_member(value, |name, value| {
        count += 1;
        // Beyond the bound each further entry is one and the same problem, told below.
        if count > ENV_VARS {
            return;
        }
        let Some((name, value)) = entry(name, value, problems) else {
            return;
        };
        bytes += name.len() + value.len();
        let field = format!("{FIELD}.{name}");
        if environment.insert(name, value).is_some() {
            problems.report(|| Problem::new(field.as_str(), format!("{field} is given more than once")));
        }
    });
    if !is_object {
        problems.report(|| Problem::new(FIELD, format!("{FIELD} must be an object, not {}", kind(value))));
    }
    if count > ENV_VARS {
        problems.report(|| {
            Problem::new(FIELD, format!("{FIELD} must have at most {ENV_VARS} entries, not {count}"))
        });
    }
    if bytes > ENV_BYTES {
        let message =
            format!("{FIELD} must be at most {ENV_BYTES} bytes, names and values together, not {bytes}");
        problems.report(|| Problem::new(FIELD, message));
    }
    environment
}

fn entry(name: &RawValue, value: &RawValue, problems: &mut Problems) -> Option<(String, String)> {
    let Some(name) = decode_string(name) else {
        problems.report(|| surrogate(FIELD, "a name in env_vars"));
        return None;
    };
    if !is_name(&name) {
        problems.report(|| {
            let rule = "names in env_vars must match ^[A-Za-z_][A-Za-z0-9_]*$";
            Problem::new(FIELD, format!("{rule}, not {}", quoted(&name)))
        });
        return None;
    }
    let shown: String = name.chars().take(64).collect();
    let field = format!("{FIELD}.{shown}");
    let value = text(&field, value, problems)?;
    if value.contains('\0') {
        problems.report(|| Problem::new(field.as_str(), format!("{field} must not hold a NUL character")));
        return None;
    }
    Some((name, value))
}

fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(letter) && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
}
