//! `files`: what is written into the workspace before the program starts.
//!
//! The paths are opened inside the sandbox, beneath the workspace, so a bad one could do no harm outside of it. They are
//! checked here so that a mistake is the caller's 400 and not the program's failure.

use std::collections::BTreeSet;

use base64::{Engine, prelude::BASE64_STANDARD};
use sandbox::program::{Encoding, InputFile};
use serde_json::value::RawValue;

use super::{
    bounds::{FILES, PATH_BYTES, PATH_PART_BYTES},
    json::{Fields, each_element, kind, quoted},
    problem::{Problem, Problems},
    text::{text, word},
};

pub(super) const FIELDS: [&str; 3] = ["path", "content", "encoding"];

pub(super) fn files(value: &RawValue, problems: &mut Problems) -> Vec<InputFile> {
    let mut files: Vec<(usize, InputFile)> = Vec::new();
    let mut count = 0_usize;
    let is_array = each_element(value, |element| {
        if count < FILES
            && let Some(file) = file(&format!("files[{count}]"), element, problems)
        {
            files.push((count, file));
        }
        count += 1;
    });
    if !is_array {
        problems.report(|| Problem::new("files", format!("files must be an array, not {}", kind(value))));
    }
    if count > FILES {
        problems.report(|| {
            Problem::new("files", format!("files must have at most {FILES} entries, not {count}"))
        });
    }
    report_collisions(&files, problems);
    files.into_iter().map(|(_, file)| file).collect()
}

fn file(within: &str, element: &RawValue, problems: &mut Problems) -> Option<InputFile> {
    let Some(fields) = Fields::read(element, &FIELDS, within, problems) else {
        problems
            .report(|| Problem::new(within, format!("{within} must be an object, not {}", kind(element))));
        return None;
    };
    let mut required = |name: &str| {
        let field = format!("{within}.{name}");
        let Some(value) = fields.given(name) else {
            problems.report(|| Problem::new(field.as_str(), format!("{field} is missing")));
            return None;
        };
        text(&field, value, problems)
    };
    let path = required("path");
    let content = required("content");
    let path = path.filter(|path| is_relative_path(&format!("{within}.path"), path, problems));
    let encoding = encoding(&format!("{within}.encoding"), &fields, problems);
    let file = InputFile { path: path?, content: content?, encoding: encoding? };
    if file.encoding == Encoding::Base64 && BASE64_STANDARD.decode(&file.content).is_err() {
        let field = format!("{within}.content");
        problems.report(|| {
            Problem::new(
                field.as_str(),
                format!(
                    "{field} is not base64; it must be in the standard alphabet, padded, without line breaks"
                ),
            )
        });
        return None;
    }
    Some(file)
}

fn encoding(field: &str, fields: &Fields<'_>, problems: &mut Problems) -> Option<Encoding> {
    let Some(value) = fields.given("encoding") else {
        return Some(Encoding::Utf8);
    };
    match word(field, value, &["utf8", "base64"], &[("utf-8", "utf8")], problems)? {
        "base64" => Some(Encoding::Base64),
        _ => Some(Encoding::Utf8),
    }
}

fn is_relative_path(field: &str, path: &str, problems: &mut Problems) -> bool {
    let wrong = if path.is_empty() {
        "be empty"
    } else if path.len() > PATH_BYTES {
        "be longer than 4096 bytes"
    } else if path.contains('\0') {
        "hold a NUL character"
    } else if path.starts_with('/') {
        "be absolute; paths are relative to the workspace"
    } else if path.split('/').any(|part| part == "..") {
        "have a part that is `..`"
    } else if path.split('/').any(|part| part.is_empty() || part == ".") {
        "have a part that is empty or `.`"
    } else if path.split('/').any(|part| part.len() > PATH_PART_BYTES) {
        "have a part longer than 255 bytes"
    } else {
        return true;
    };
    problems.report(|| Problem::new(field, format!("{field} must not {wrong}: {}", quoted(path))));
    false
}

/// The same path twice, or a file where another one needs a directory.
fn report_collisions(files: &[(usize, InputFile)], problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    let paths: BTreeSet<&str> = files.iter().map(|(_, file)| file.path.as_str()).collect();
    for (index, file) in files {
        let path = file.path.as_str();
        let field = format!("files[{index}].path");
        if !seen.insert(path) {
            let message = format!("{field} is given more than once: {}", quoted(path));
            problems.report(|| Problem::new(field.as_str(), message));
        }
        let parents = path.match_indices('/').map(|(end, _)| &path[..end]);
        if let Some(parent) = parents.into_iter().find(|parent| paths.contains(parent)) {
            let message = format!("{field} lies under {}, which is a file of this request", quoted(parent));
            problems.report(|| Problem::new(field.as_str(), message));
        }
    }
}
