//! The headers that name the trace of a request. What they mean, and what is made of nonsense, is in `telemetry::trace`.

use axum::http::HeaderMap;

use crate::telemetry::trace::{LONGEST_STATE, Spans, Trace};

/// The trace that a request belongs to, or a new one.
pub fn trace(headers: &HeaderMap, spans: Spans) -> Trace {
    let mut given = headers.get_all("traceparent").iter();
    let parent = match (given.next(), given.next()) {
        (Some(value), None) => value.to_str().ok(),
        // None, or two of them: which one the caller means is not ours to guess.
        (None | Some(_), _) => None,
    };
    Trace::of(parent, state(headers).as_deref(), spans)
}

/// Several headers are one list (3.3.1.1).
fn state(headers: &HeaderMap) -> Option<String> {
    let mut all = String::new();
    for value in headers.get_all("tracestate") {
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(value.to_str().ok()?);
        if all.len() > LONGEST_STATE {
            return None;
        }
    }
    (!all.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn sent(headers: &[(&'static str, &[u8])]) -> (String, Option<String>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, axum::http::HeaderValue::from_bytes(value).unwrap());
        }
        let headers = trace(&map, Spans::Unexported).headers();
        (headers.traceparent, headers.tracestate)
    }

    #[test]
    fn two_parents_are_none_and_several_states_are_one_list() {
        let parent = ("traceparent", PARENT.as_bytes());
        assert_eq!(sent(&[parent]), (PARENT.to_owned(), None));
        assert_ne!(sent(&[parent, parent]).0, PARENT);
        assert_ne!(sent(&[("traceparent", b"\xff")]).0, PARENT);
        let states: [(&str, &[u8]); 3] = [parent, ("tracestate", b"a=1"), ("tracestate", b"b=2")];
        assert_eq!(sent(&states), (PARENT.to_owned(), Some("a=1,b=2".to_owned())));
        let long = format!("a={}", "x".repeat(LONGEST_STATE));
        assert_eq!(sent(&[parent, ("tracestate", long.as_bytes())]), (PARENT.to_owned(), None));
        assert_eq!(sent(&[parent, ("tracestate", b"a=\xff")]), (PARENT.to_owned(), None));
    }
}
