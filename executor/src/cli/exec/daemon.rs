//! The daemon that `exec` talks to: one request, and its answer.
//!
//! Whatever answers is not trusted: every answer is bounded in size and in silence, redirects are not followed, so that the token
//! goes nowhere but to the address that was given, and proxies of the environment are not used. What it says of itself is printed
//! as one line without control characters.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Bytes;
use protocol::{ErrorBody, ExecuteResponse, Execution};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response};

use super::sse::{Event, LONGEST_EVENT, Parser};
use super::words::{clean, sentence};
use crate::config::Secret;

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// The daemon says something every 15 s, if only that it is still there.
const SILENCE: Duration = Duration::from_secs(45);

/// From the first byte of a request to the first one of its answer: a program of 16 MiB takes a while on a slow line.
const ANSWER_DEADLINE: Duration = Duration::from_secs(90);

/// Answers that are refusals, or about a run that is not over.
const LONGEST_SMALL_ANSWER: usize = 64 * 1024;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Daemon {
    http: reqwest::Client,
    /// Without a trailing slash.
    url: String,
    token: Option<HeaderValue>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("cannot connect to {url}: {reason}; is the daemon running there?")]
    Connect { url: String, reason: String },
    #[error("the connection to the daemon broke: {reason}")]
    Broken { reason: String },
    #[error("the daemon has said nothing for {} s", .0.as_secs())]
    Silent(Duration),
    /// It answered, and the answer is no.
    #[error("{sentence}")]
    Refused { status: u16, sentence: String },
    #[error("the daemon's answer makes no sense: {reason}")]
    Nonsense { reason: String },
}

impl CallError {
    /// Could the same call succeed a little later?
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken { .. } | Self::Silent(_) => true,
            Self::Refused { .. } | Self::Nonsense { .. } => false,
        }
    }

    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Connect { .. } | Self::Broken { .. } | Self::Silent(_) | Self::Nonsense { .. } => None,
        }
    }
}

/// What there is to follow.
pub(super) enum Answer {
    Events(Box<Events>),
    /// It was over long ago.
    Result(Box<ExecuteResponse>),
    /// There is nothing more to say.
    Nothing,
}

/// A file under way.
pub(super) struct Download {
    response: Response,
    /// As the `ETag` says, in hexadecimal.
    pub(super) sha256: Option<String>,
}

impl Daemon {
    /// `url`: as [`crate::config::address::url`] has left it.
    pub(super) fn at(url: String, token: Option<&Secret>) -> Result<Self, reqwest::Error> {
        // Another part of the process may have done this before; it is the same provider then.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("sandbox-executor/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .http1_only()
            .connect_timeout(CONNECT_DEADLINE);
        if url.starts_with("http:") {
            // Reading the system's certificates takes milliseconds and memory that nobody will use.
            builder = builder.tls_certs_only([]);
        }
        let token = token.map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .expect("a Secret is visible ASCII, which can stand in a header");
            value.set_sensitive(true);
            value
        });
        Ok(Self { http: builder.build()?, url, token })
    }

    /// Begins to run it, or attaches to the run that this very request has begun before.
    pub(super) async fn begin(&self, body: Bytes) -> Result<Answer, CallError> {
        let request = self.http.post(format!("{}/execute", self.url));
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        self.follow(request).await
    }

    /// Goes on behind the event with this id.
    pub(super) async fn resume(&self, execution_id: &str, last_event_id: &str) -> Result<Answer, CallError> {
        let mut request = self.http.get(format!("{}/executions/{execution_id}/events", self.url));
        if let Ok(id) = HeaderValue::from_str(last_event_id)
            && !last_event_id.is_empty()
        {
            request = request.header("last-event-id", id);
        }
        self.follow(request).await
    }

    async fn follow(&self, request: RequestBuilder) -> Result<Answer, CallError> {
        let response = self.send(request.header(ACCEPT, "text/event-stream")).await?;
        if response.status() == 204 {
            return Ok(Answer::Nothing);
        }
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        match content_type.split(';').next().unwrap_or_default().trim() {
            "text/event-stream" => {
                let parser = Parser::new(LONGEST_EVENT);
                Ok(Answer::Events(Box::new(Events { response, parser, ready: VecDeque::new() })))
            }
            // A result of an earlier daemon.
            "application/json" => read(response, LONGEST_EVENT).await.map(Answer::Result),
            other => Err(CallError::Nonsense { reason: format!("its content type is {:?}", clean(other)) }),
        }
    }

    pub(super) async fn look(&self, execution_id: &str) -> Result<Execution, CallError> {
        let request = self.http.get(format!("{}/executions/{execution_id}", self.url));
        read(self.send(request).await?, LONGEST_SMALL_ANSWER).await
    }

    pub(super) async fn cancel(&self, execution_id: &str) -> Result<(), CallError> {
        let request = self.http.delete(format!("{}/executions/{execution_id}", self.url));
        self.send(request).await.map(drop)
    }

    /// `path`: percent-encoded.
    pub(super) async fn download(&self, execution_id: &str, path: &str) -> Result<Download, CallError> {
        let request = self.http.get(format!("{}/executions/{execution_id}/artifacts/{path}", self.url));
        let response = self.send(request).await?;
        let tag = response.headers().get(ETAG).and_then(|value| value.to_str().ok());
        let sha256 = tag.map(|tag| tag.trim_matches('"').to_owned());
        Ok(Download { response, sha256: sha256.filter(|sha256| sha256.len() == 64) })
    }

    async fn send(&self, mut request: RequestBuilder) -> Result<Response, CallError> {
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        let sent = tokio::time::timeout(ANSWER_DEADLINE, request.send()).await;
        let response = sent
            .map_err(|_elapsed| CallError::Silent(ANSWER_DEADLINE))?
            .map_err(|error| self.of_reqwest(error))?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }

    fn of_reqwest(&self, error: reqwest::Error) -> CallError {
        let connecting = error.is_connect();
        if connecting && error.is_timeout() {
            let reason = format!("no connection within {} s", CONNECT_DEADLINE.as_secs());
            return CallError::Connect { url: self.url.clone(), reason };
        }
        let reason = innermost(error);
        if connecting {
            CallError::Connect { url: self.url.clone(), reason }
        } else {
            CallError::Broken { reason }
        }
    }
}

/// Without the address, and only the innermost reason, which is the one that helps.
fn innermost(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut innermost: &dyn std::error::Error = &error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

async fn chunk(response: &mut Response) -> Result<Option<Bytes>, CallError> {
    match tokio::time::timeout(SILENCE, response.chunk()).await {
        Ok(Ok(chunk)) => Ok(chunk),
        Ok(Err(error)) => Err(CallError::Broken { reason: innermost(error) }),
        Err(_elapsed) => Err(CallError::Silent(SILENCE)),
    }
}

async fn body(mut response: Response, longest: usize) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(chunk) = chunk(&mut response).await? {
        if body.len() + chunk.len() > longest {
            return Err(CallError::Nonsense { reason: format!("it is longer than {longest} bytes") });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

async fn read<T: serde::de::DeserializeOwned>(response: Response, longest: usize) -> Result<T, CallError> {
    let body = body(response, longest).await?;
    serde_json::from_slice(&body).map_err(|error| CallError::Nonsense { reason: error.to_string() })
}

async fn refusal(response: Response) -> CallError {
    let status = response.status();
    let body = body(response, LONGEST_SMALL_ANSWER).await.unwrap_or_default();
    let sentence = match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(error) => sentence(&error),
        Err(_not_ours) if status.is_redirection() => {
            format!("the daemon answered {status}, and redirects are not followed; give the address itself")
        }
        Err(_not_ours) => {
            format!("the daemon answered {status} without a reason; is that a sandbox-executor?")
        }
    };
    CallError::Refused { status: status.as_u16(), sentence }
}

pub(super) struct Events {
    response: Response,
    parser: Parser,
    ready: VecDeque<Event>,
}

impl Events {
    /// `None`: the daemon has ended the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, CallError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let Some(chunk) = chunk(&mut self.response).await? else { return Ok(None) };
            let fed = self.parser.feed(&chunk, &mut self.ready);
            fed.map_err(|error| CallError::Nonsense { reason: error.to_string() })?;
        }
    }
}

impl Download {
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, CallError> {
        chunk(&mut self.response).await
    }
}
