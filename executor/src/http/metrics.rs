//! `GET /metrics`: for scrapers. Like the health probes it takes no lock that a run holds, and waits for nothing.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::http::api::Api;
use crate::telemetry::metrics::{Format, Moment};

pub(super) async fn metrics(State(api): State<Arc<Api>>, headers: HeaderMap) -> impl IntoResponse {
    let moment = Moment {
        uptime: api.started.elapsed(),
        active_executions: api.parts.admission.active(),
        queued_executions: api.parts.admission.queued(),
        waiting_sandboxes: api.parts.pool.waiting(),
        outbox: api.parts.outbox.counts(),
    };
    let format = wanted(&headers);
    ([(CONTENT_TYPE, format.content_type())], api.parts.metrics.text(&moment, format))
}

/// OpenMetrics for who names it and does not like plain text better. Nobody is refused: a scraper whose `Accept` names something
/// else altogether, or nothing, reads plain text.
fn wanted(headers: &HeaderMap) -> Format {
    let accept = headers.get_all("accept").iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<(String, f32)> = accept.flat_map(|value| value.split(',')).map(range).collect();
    let liking = |media: &str| {
        let named = ranges.iter().filter(|(name, _)| name == media);
        named.map(|(_, quality)| *quality).fold(0.0, f32::max)
    };
    let open = liking("application/openmetrics-text");
    if open > 0.0 && open >= liking("text/plain") { Format::Open } else { Format::Plain }
}

/// `text/plain;version=0.0.4;q=0.3` → its name and its quality, which is 1 unless it says otherwise (RFC 9110, 12.4.2).
fn range(text: &str) -> (String, f32) {
    let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
    let name = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
    (name, quality.unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert("accept", accept.parse().unwrap());
        wanted(&headers)
    }

    #[test]
    fn who_likes_open_metrics_gets_it_and_everybody_else_plain_text() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.2";
        for accept in
            [prometheus, "Application/OpenMetrics-Text", "text/plain;q=0.5, application/openmetrics-text"]
        {
            assert_eq!(of(accept), Format::Open, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain",
            "text/html",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.1,text/plain",
        ] {
            assert_eq!(of(accept), Format::Plain, "{accept}");
        }
        assert_eq!(wanted(&HeaderMap::new()), Format::Plain);
    }
}
