//! How spans reach the collector: by the client that every address of the configuration is called with.
//!
//! The exporter asks from a thread of its own, where there is no runtime: the call is made on the daemon's.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

use crate::control_plane;
use crate::telemetry::events;
use crate::telemetry::throttle::Throttle;

/// Nobody needs what an answer says.
const LONGEST_ANSWER: usize = 64 * 1024;

/// With a collector that is away, every batch is lost for the same reason.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    runtime: Handle,
    lines: Throttle,
}

impl Client {
    pub(super) fn open(url: &str) -> reqwest::Result<Self> {
        Ok(Self {
            http: control_plane::http(url)?,
            runtime: Handle::current(),
            lines: Throttle::new(LINE_INTERVAL),
        })
    }
}

impl Client {
    fn failed(&self, error: &str) {
        if let Some(suppressed) = self.lines.pass(Instant::now()) {
            tracing::warn!(error, suppressed, "{}", events::SPANS_NOT_EXPORTED);
        }
    }
}

/// There is no answer. Without the address: that is in the configuration.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach the collector: {0}")]
struct NoAnswer(String);

impl From<reqwest::Error> for NoAnswer {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut innermost: &dyn std::error::Error = &error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        Self(innermost.to_string())
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let answer = self.runtime.spawn(converse(self.http.clone(), request)).await?;
        match &answer {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => self.failed(&format!("the collector answered {}", answer.status().as_u16())),
            Err(error) => self.failed(&error.to_string()),
        }
        answer.map_err(HttpError::from)
    }
}

async fn converse(http: reqwest::Client, request: reqwest::Request) -> Result<Response<Bytes>, NoAnswer> {
    let mut answer = http.execute(request).await?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        let room = LONGEST_ANSWER - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == LONGEST_ANSWER {
            break;
        }
    }
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    Ok(response)
}
