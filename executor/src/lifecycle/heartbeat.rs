//! Heartbeats: while a run lives, the control plane hears so, at once and then every five seconds.
//!
//! ```text
//! begin ──► beat ── 5 s ──► beat ── 5 s ──► …          stop ──► the beat under way ends, ≤ 0.5 s ──► silence
//!             └ each at most 4 s: a control plane that hangs delays none, and a failed one is not repeated
//! ```
//! They have a thread, a runtime and connections of their own, so that nothing the daemon does holds them up. A run does not
//! notice what becomes of them. After [`Beating::silent`] is over, none is sent: a result never meets a late heartbeat.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::Instrument;

use crate::control_plane::{Client, Message, Verdict, judge};
use crate::outlet;
use crate::run::execution::Execution;
use crate::telemetry::metrics::Kind;
use crate::telemetry::throttle::Throttle;
use crate::telemetry::{events, spans};

const INTERVAL: Duration = Duration::from_secs(5);

/// Shorter than the interval: the next one is never late.
const BEAT_DEADLINE: Duration = Duration::from_secs(4);

/// For the beat that is on its way when its run ends.
const LAST_BEAT: Duration = Duration::from_millis(500);

/// With a control plane that is away, every run misses its beats for the same reason.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The thread that beats. It ends with the process.
#[derive(Debug, Clone)]
pub struct Heartbeats {
    runtime: Handle,
    client: Client,
    lines: Arc<Throttle>,
}

/// One run's heartbeats. Dropping it stops them.
#[derive(Debug)]
pub struct Beating {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Heartbeats {
    /// `client` must not be shared with another runtime.
    pub fn start(client: Client) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        thread::Builder::new()
            .name("heartbeats".into())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(Self { runtime: handle, client, lines: Arc::new(Throttle::new(LINE_INTERVAL)) })
    }

    pub fn begin(&self, execution: Arc<Execution>) -> Beating {
        let (stop, stopped) = oneshot::channel();
        let span =
            spans::execution(&execution.id, &execution.origin.request_id, Some(&execution.origin.trace.id()));
        let beat = self.clone().beat(execution, stopped).instrument(span);
        Beating { stop, task: self.runtime.spawn(beat) }
    }

    async fn beat(self, execution: Arc<Execution>, mut stopped: oneshot::Receiver<()>) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 1_u64.. {
            tokio::select! {
                biased;
                _ = &mut stopped => return,
                _ = ticks.tick() => {}
            }
            let mut call = Box::pin(self.once(&execution, number));
            tokio::select! {
                biased;
                () = &mut call => {}
                _ = &mut stopped => {
                    // Better that it arrives than that it is torn and arrives later.
                    if tokio::time::timeout(LAST_BEAT, call).await.is_err() {
                        self.missed("its run ended before the control plane answered");
                    }
                    return;
                }
            }
        }
    }

    async fn once(&self, execution: &Execution, number: u64) {
        let error = match self.client.post(message(execution, number), BEAT_DEADLINE).await {
            Ok(answer) if judge(answer) == Verdict::Accepted => return,
            Ok(answer) => format!("the control plane answered {}", answer.status),
            Err(error) => error.to_string(),
        };
        self.missed(&error);
    }

    fn missed(&self, error: &str) {
        self.client.calls().count_missed_heartbeat();
        if let Some(suppressed) = self.lines.pass(Instant::now()) {
            tracing::warn!(error, suppressed, "{}", events::HEARTBEAT_MISSED);
        }
    }
}

fn message(execution: &Execution, number: u64) -> Message {
    let heartbeat = outlet::heartbeat(Timestamp::now(), &execution.progress.numbers());
    Message {
        kind: Kind::Heartbeat,
        path: format!("/internal/executions/{}/heartbeat", execution.id),
        idempotency_key: format!("{}-heartbeat-{number}", execution.label().idempotency_key),
        body: serde_json::to_vec(&heartbeat).expect("a heartbeat is plain data, which JSON can hold"),
        request_id: Some(execution.origin.request_id.clone()),
        trace: Some(execution.origin.trace.headers()),
    }
}

impl Beating {
    /// Ends when no heartbeat of this run is under way and none will be.
    pub async fn silent(self) {
        self.stop.send(()).ok();
        // A panic in there ended the heartbeats, which is what is wanted.
        drop(self.task.await);
    }
}
