//! Every request has an id, in every log line about it and in its answer.
//!
//! The caller's own is kept where it can stand in a header and a log line as it is; anything else is replaced, not
//! refused: an id is a convenience, and no reason to turn work away.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use crate::telemetry::spans;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const LONGEST: usize = 128;

/// 1 to 128 visible ASCII characters. An extension of every request that passed [`identify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The caller's, or a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(REQUEST_ID).iter();
        match (given.next().and_then(sane), given.next()) {
            (Some(id), None) => Self(id.into()),
            // None, not sane, or two of them: which one the caller means is not ours to guess.
            (None | Some(_), _) => Self::new(),
        }
    }

    /// 32 hexadecimal digits, as good as unique.
    pub fn new() -> Self {
        let mut random = [0_u8; 16];
        if getrandom::fill(&mut random).is_err() {
            // Unique within this process is better than no id; it is not a secret.
            static COUNT: AtomicU64 = AtomicU64::new(0);
            random[8..].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        }
        let mut id = String::with_capacity(32);
        for byte in random {
            write!(id, "{byte:02x}").expect("a String takes everything");
        }
        Self(id.into())
    }

    fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("visible ASCII can stand in a header")
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

fn sane(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    ((1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())).then_some(text)
}

/// Middleware, the outermost: the id is an extension of the request, a field of every line, and a header of the answer.
pub async fn identify(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let span = spans::request(id.as_str());
    let header = id.header();
    request.extensions_mut().insert(id);
    let mut response = next.run(request).instrument(span).await;
    response.headers_mut().insert(REQUEST_ID, header);
    response
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::middleware::from_fn;
    use axum::routing::get;
    use axum::{Extension, Router};
    use tower::ServiceExt;

    use super::*;

    fn id_for(values: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
        }
        RequestId::of(&headers).as_str().to_owned()
    }

    #[test]
    fn a_sane_id_of_the_caller_is_kept() {
        for id in ["a", "req-1", "{\"x\":1}", &"x".repeat(128)] {
            assert_eq!(id_for(&[id.as_bytes()]), id);
        }
    }

    #[test]
    fn anything_else_is_replaced_by_a_new_one() {
        let long = "x".repeat(129);
        let cases: [&[&[u8]]; 7] =
            [&[], &[b""], &[b"a b"], &[b"a\tb"], &[b"\xff"], &[long.as_bytes()], &[b"one", b"two"]];
        for values in cases {
            let made = id_for(values);
            assert!(
                made.len() == 32 && made.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{values:?}: {made}"
            );
        }
        assert_ne!(id_for(&[]), id_for(&[]));
    }

    #[tokio::test]
    async fn the_handler_and_the_answer_have_the_same_id() {
        let router = Router::new()
            .route("/", get(|id: Extension<RequestId>| async move { id.as_str().to_owned() }))
            .layer(from_fn(identify));
        for (path, given) in [("/", Some("mine")), ("/", None), ("/nowhere", Some("mine"))] {
            let mut request = Request::get(path);
            if let Some(id) = given {
                request = request.header(REQUEST_ID, id);
            }
            let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            let answered = response.headers()[REQUEST_ID].to_str().unwrap().to_owned();
            assert_eq!(given.unwrap_or(&answered), answered);
            let seen = to_bytes(response.into_body(), 1_000).await.unwrap();
            assert!(path != "/" || seen == answered.as_bytes());
        }
    }
}
