//! One message to the control plane, and its answer.
//!
//! ```text
//! resolve, connect ≤ 5 s ──► send ──► status and headers ──► body, at most 64 KiB of it ──► Answer
//!        └──────────────────────┴──────────────┴──────── within the deadline ──┴──► CallError
//! ```
//! An answer counts when it is complete, or when 64 KiB of it were read: one that breaks off or never ends may come from
//! something that died half-way, and a message sent twice does no harm. Redirects are not followed, so the token goes
//! nowhere but to the configured address; proxies of the environment are not used.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;

use super::token::Token;
use super::verdict::{Answer, Verdict, judge, retry_after};
use crate::config::ControlPlane;
use crate::telemetry::events;
use crate::telemetry::metrics::{CallResult, Calls, Kind};
use crate::telemetry::trace::TraceHeaders;

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Nobody needs what an answer says; reading some of it keeps the connection for the next message.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Connections that are kept when nothing is said.
const IDLE_CONNECTIONS: usize = 8;

/// Cheap to clone; clones share connections and the token.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    config: Arc<ControlPlane>,
    token: Arc<Token>,
    calls: Calls,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot make a client for the control plane: {0}")]
pub struct ClientError(#[source] reqwest::Error);

/// What is posted.
#[derive(Debug, Clone)]
pub struct Message {
    pub kind: Kind,
    /// Starts with a slash.
    pub path: String,
    /// The same for every attempt, and for nothing else.
    pub idempotency_key: String,
    pub body: Vec<u8>,
    pub request_id: Option<String>,
    pub trace: Option<TraceHeaders>,
}

/// There is no answer. Says why, without the address: that is in the configuration.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("cannot connect to the control plane: {0}")]
    Connect(String),
    #[error("the control plane did not answer within {} s", (.0.as_secs_f64() * 10.0).round() / 10.0)]
    Timeout(Duration),
    #[error("the connection to the control plane broke: {0}")]
    Broken(String),
}

/// What calls an address of the configuration: no redirects, no proxies of the environment.
pub fn http(url: &str) -> reqwest::Result<reqwest::Client> {
    // Another part of the process may have done this before; it is the same provider then.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("sandbox-executor/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .no_proxy()
        .http1_only()
        .connect_timeout(CONNECT_DEADLINE)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .tcp_keepalive(Duration::from_secs(30));
    if url.starts_with("http:") {
        // Reading the system's certificates takes milliseconds and memory that nobody will use.
        builder = builder.tls_certs_only([]);
    }
    builder.build()
}

impl Client {
    pub fn open(config: &ControlPlane) -> Result<Self, ClientError> {
        let http = http(&config.url).map_err(ClientError)?;
        Ok(Self {
            http,
            config: Arc::new(config.clone()),
            token: Arc::new(Token::of(config)),
            calls: Calls::default(),
        })
    }

    /// The same, with connections of its own: they are driven by the runtime that first uses them.
    pub fn apart(&self) -> Result<Self, ClientError> {
        let (token, calls) = (Arc::clone(&self.token), self.calls.clone());
        Ok(Self { token, calls, ..Self::open(&self.config)? })
    }

    /// How they went, of all clones.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Sends a message once.
    ///
    /// # Errors
    /// There is no complete answer within `deadline`.
    pub async fn post(&self, message: Message, deadline: Duration) -> Result<Answer, CallError> {
        let mut request = self
            .http
            .post(self.config.address(&message.path))
            .header(AUTHORIZATION, self.token.header())
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", message.idempotency_key)
            .body(message.body);
        if let Some(id) = message.request_id {
            request = request.header("x-request-id", id);
        }
        if let Some(trace) = message.trace {
            request = request.header("traceparent", trace.traceparent);
            if let Some(state) = trace.tracestate {
                request = request.header("tracestate", state);
            }
        }
        let answer = tokio::time::timeout(deadline, converse(request))
            .await
            .unwrap_or(Err(CallError::Timeout(deadline)));
        self.calls.count(message.kind, call_result(&answer));
        let answer = answer?;
        if matches!(answer.status, 401 | 403) {
            self.renew_token().await;
        }
        Ok(answer)
    }

    async fn renew_token(&self) {
        let token = Arc::clone(&self.token);
        match tokio::task::spawn_blocking(move || token.renew()).await {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => {
                tracing::warn!(error = %format!("the file {problem}"), "{}", events::TOKEN_NOT_RENEWED);
            }
            Err(error) => tracing::warn!(%error, "{}", events::TOKEN_NOT_RENEWED),
        }
    }
}

fn call_result(answer: &Result<Answer, CallError>) -> CallResult {
    match answer.as_ref().map(|answer| judge(*answer)) {
        Ok(Verdict::Accepted) => CallResult::Accepted,
        Ok(Verdict::Again { .. }) => CallResult::Deferred,
        Ok(Verdict::Refused) => CallResult::Refused,
        Err(_) => CallResult::Unanswered,
    }
}

async fn converse(request: reqwest::RequestBuilder) -> Result<Answer, CallError> {
    let mut response = request.send().await.map_err(of_reqwest)?;
    let status = response.status().as_u16();
    let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = after.and_then(|value| retry_after(value, SystemTime::now()));
    let mut read = 0;
    while let Some(chunk) = response.chunk().await.map_err(of_reqwest)? {
        read += chunk.len();
        if read >= LONGEST_ANSWER {
            // Dropping the response closes the connection with whatever else was to come.
            break;
        }
    }
    Ok(Answer { status, retry_after: after })
}

fn of_reqwest(error: reqwest::Error) -> CallError {
    let connecting = error.is_connect();
    if connecting && error.is_timeout() {
        return CallError::Connect(format!("no connection within {} s", CONNECT_DEADLINE.as_secs()));
    }
    // Without the address, and with the innermost reason, which is the one that helps.
    let error = error.without_url();
    let mut innermost: &dyn std::error::Error = &error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if connecting {
        CallError::Connect(innermost.to_string())
    } else {
        CallError::Broken(innermost.to_string())
    }
}
