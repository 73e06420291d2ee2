//! What a refusal looks like on the wire, and that `docs/errors.md` is the table of codes.

use std::time::Duration;

use axum::http::header;
use sandbox::limits::Bytes;

use super::*;

fn every_refusal() -> Vec<Refusal> {
    let retry_after = Duration::from_millis(1500);
    vec![
        Refusal::Validation(vec![intake::Problem {
            field: "code".to_owned(),
            message: "code is missing".to_owned(),
        }]),
        Refusal::Unauthorized,
        Refusal::NotFound { path: "/nowhere".to_owned() },
        Refusal::MethodNotAllowed { method: "PUT".to_owned(), allow: "POST" },
        Refusal::RequestTimeout { limit: Duration::from_secs(30) },
        Refusal::DuplicateExecution { id: "exec_1".to_owned(), fields: ["code".to_owned()].into() },
        Refusal::Gone { why: "the workspace of exec_1 has been removed".to_owned() },
        Refusal::PayloadTooLarge { limit: Bytes::mib(16) },
        Refusal::UnsupportedMediaType { got: Some("text/plain".to_owned()) },
        Refusal::RangeNotSatisfiable { size: Bytes(10) },
        Refusal::Internal,
        Refusal::QueueFull { retry_after },
        Refusal::ShuttingDown { retry_after },
    ]
}

fn body(refusal: Refusal) -> ErrorBody {
    let response = refusal.into_response("request-1");
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    serde_json::from_slice(&runtime.block_on(bytes).unwrap()).unwrap()
}

#[test]
fn every_code_of_the_table_is_used_by_one_refusal() {
    let used: Vec<&Code> = every_refusal().iter().map(Refusal::code).collect();
    assert_eq!(used, CODES);
}

#[test]
fn a_validation_error_lists_its_problems_and_repeats_them_in_one_text() {
    let problems = ["timeout must be a number", "code is missing"]
        .map(|message| intake::Problem { field: "f".to_owned(), message: message.to_owned() });
    let body = body(Refusal::Validation(problems.to_vec()));
    assert_eq!(body.error_code, "Executor.ValidationError");
    assert_eq!(body.error_detail.unwrap(), "timeout must be a number; code is missing");
    assert_eq!(body.problems.unwrap().len(), 2);
    assert_eq!(body.request_id, "request-1");
}

#[test]
fn only_a_validation_error_has_problems() {
    for refusal in every_refusal().into_iter().skip(1) {
        assert_eq!(body(refusal).problems, None);
    }
}

#[test]
fn a_full_queue_and_a_shutdown_say_when_to_come_back_in_whole_seconds() {
    for refusal in every_refusal() {
        let wants_header = refusal.code().retry == Retry::AfterHeader;
        let response = refusal.into_response("r");
        let retry_after = response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap());
        assert_eq!(retry_after, wants_header.then_some("2"));
    }
    let at_once = Refusal::QueueFull { retry_after: Duration::ZERO }.into_response("r");
    assert_eq!(at_once.headers()[header::RETRY_AFTER], "1");
}

#[test]
fn every_refusal_is_json_with_the_status_of_its_code() {
    for refusal in every_refusal() {
        let status = refusal.code().status;
        let response = refusal.into_response("r");
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    }
}

#[test]
fn docs_errors_md_is_the_table_of_codes() {
    let page = include_str!("../../../docs/errors.md");
    let documented: Vec<&str> = page.lines().filter(|line| line.starts_with("| `Executor.")).collect();
    let expected: Vec<String> = CODES
        .iter()
        .map(|code| {
            let retry = match code.retry {
                Retry::Never => "no",
                Retry::Later => "yes",
                Retry::AfterHeader => "yes, after `Retry-After`",
            };
            let status = code.status.as_u16();
            format!("| `{}` | {status} | {} | {} | {retry} |", code.name, code.description, code.solution)
        })
        .collect();
    assert_eq!(documented, expected);
}

#[test]
fn every_code_is_explained_in_docs_errors_md() {
    let page = include_str!("../../../docs/errors.md");
    for code in CODES {
        assert!(page.contains(&format!("\n### {}\n", code.name)), "{} has no section", code.name);
    }
}
