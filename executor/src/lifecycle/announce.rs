//! What the control plane hears of the container itself: once that it is ready, once that it is gone.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use protocol::{ContainerExited, ContainerReady, ExitReason, IsolationState};

use crate::config::Config;
use crate::control_plane::{CallError, Client, Message, Verdict, delays, judge};
use crate::telemetry::events;
use crate::telemetry::metrics::Kind;

const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// Says who this container is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Announcer {
    client: Client,
    container_id: String,
    pod_name: Option<String>,
    session_id: Option<String>,
    port: u16,
    /// Tells this life of the container from the next.
    started_at: Timestamp,
}

impl Announcer {
    pub fn new(config: &Config, client: Client, address: SocketAddr) -> Self {
        Self {
            client,
            container_id: config.container_id.clone(),
            pod_name: config.pod_name.clone(),
            session_id: config.session_id.clone(),
            port: address.port(),
            started_at: Timestamp::now(),
        }
    }

    /// Says that the port answers, until the control plane has heard it. Call it when that is so.
    pub async fn ready(&self, isolation: IsolationState) {
        let ready = ContainerReady {
            container_id: self.container_id.clone(),
            pod_name: self.pod_name.clone(),
            session_id: self.session_id.clone(),
            executor_port: self.port,
            ready_at: Timestamp::now().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            isolation,
        };
        let body = serde_json::to_vec(&ready).expect("it is plain data, which JSON can hold");
        for (attempt, delay) in delays().enumerate() {
            let Err((error, not_before)) = self.say(Kind::Ready, "ready", body.clone(), CALL_DEADLINE).await
            else {
                tracing::info!(attempts = attempt + 1, "{}", events::READY_REPORTED);
                return;
            };
            let wait = delay.max(not_before);
            let retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(error, retry_in_ms, "{}", events::READY_DEFERRED);
            tokio::time::sleep(wait).await;
        }
    }

    /// Says that this is the end. There is one attempt, and at most `patience` for it.
    pub async fn exited(&self, exit_code: u8, exit_reason: ExitReason, patience: Duration) {
        let exited = ContainerExited {
            container_id: self.container_id.clone(),
            pod_name: self.pod_name.clone(),
            session_id: self.session_id.clone(),
            executor_port: self.port,
            exit_code,
            exit_reason,
            exited_at: Timestamp::now().to_string(),
        };
        let body = serde_json::to_vec(&exited).expect("it is plain data, which JSON can hold");
        match self.say(Kind::Exited, "exited", body, patience).await {
            Ok(()) => tracing::info!("{}", events::EXIT_REPORTED),
            Err((error, _)) => tracing::warn!(error, "{}", events::EXIT_UNREPORTED),
        }
    }

    /// # Errors
    /// It was not accepted; and the earliest moment to try again.
    async fn say(
        &self,
        kind: Kind,
        what: &str,
        body: Vec<u8>,
        deadline: Duration,
    ) -> Result<(), (String, Duration)> {
        let message = Message {
            kind,
            path: format!("/internal/containers/{what}"),
            idempotency_key: self.key(what),
            body,
            request_id: None,
            trace: None,
        };
        let answer = self.client.post(message, deadline).await;
        let answer = answer.map_err(|error: CallError| (error.to_string(), Duration::ZERO))?;
        let error = format!("the control plane answered {}", answer.status);
        match judge(answer) {
            Verdict::Accepted => Ok(()),
            Verdict::Again { not_before } => Err((error, not_before)),
            // It is about this container as a whole; somebody may yet make it known to the control plane.
            Verdict::Refused => Err((error, Duration::ZERO)),
        }
    }

    /// A container's name may hold anything that is no control character; a header may not.
    fn key(&self, what: &str) -> String {
        let name: String = self.container_id.chars().filter(char::is_ascii_graphic).take(128).collect();
        format!("{name}-{what}-{}", self.started_at.as_millisecond())
    }
}
