//! The spans that put their ids on every line said inside them.
//!
//! They are error spans: a span below the configured level does not exist, and its ids would be missing from the very
//! lines that matter most.

use tracing::{Span, error_span, field};

/// Around the handling of one request.
pub fn request(request_id: &str) -> Span {
    error_span!("request", request_id, trace_id = field::Empty)
}

/// From here on the lines of the request we are in carry the id of the run's trace.
pub fn name_trace(trace_id: &str) {
    Span::current().record("trace_id", trace_id);
}

/// Around one run. It is a root: a run outlives the request that started it.
pub fn execution(execution_id: &str, request_id: &str, trace_id: Option<&str>) -> Span {
    error_span!(parent: None, "execution", execution_id, request_id, trace_id)
}
