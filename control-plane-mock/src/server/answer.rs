//! What HTTP says: answers as hyper sends them, and answers as bytes for those who spoil them.

use std::collections::BTreeMap;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

pub(super) type Body = Full<Bytes>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(super) fn json(status: u16, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = code(status);
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// One sentence, or nothing when there is nothing to say.
pub(super) fn plain(status: u16, sentence: &str) -> Response<Body> {
    let value = if sentence.is_empty() { json!({}) } else { json!({ "error": sentence }) };
    let mut response = json(status, &value);
    let header = match status {
        401 => Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        405 => Some((ALLOW, HeaderValue::from_static("POST"))),
        _ => None,
    };
    response.headers_mut().extend(header);
    response
}

/// Just this. Headers that cannot be sent never get as far: rules are checked.
pub(super) fn scripted(status: u16, headers: &BTreeMap<String, String>, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code(status);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("answers have a code from 200 to 599")
}

/// A 200 to the end.
pub(super) fn whole() -> Vec<u8> {
    let mut bytes = head_of(2);
    bytes.extend_from_slice(b"{}");
    bytes
}

/// A 200 that ends in the middle of its body.
pub(super) fn broken() -> Vec<u8> {
    let mut bytes = head_of(512);
    bytes.extend_from_slice(b"{\"note\": \"this is no");
    bytes
}

/// Of a 200 with so many bytes of body.
pub(super) fn head_of(bytes: u64) -> Vec<u8> {
    let lines = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: ";
    format!("{lines}{bytes}\r\n\r\n").into_bytes()
}
