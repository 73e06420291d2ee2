//! Server-sent events: a run followed as it goes on, by anybody, from any point.
//!
//! ```text
//! started ──► stdout, stderr, as they are written ──► finished      : comments every 15 s of silence
//! ```
//! Nothing is kept for a reader: each pulls, at its own pace, from what the run keeps anyway. One that is slow delays nobody and
//! is told what it missed. An event's id says where the reader is, so that it can go on elsewhere:
//! `<1 once started>-<bytes of stdout>-<bytes of stderr>`, and `finished`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use sandbox::live::{Live, Stream};
use sandbox::stop::Stop;
use serde::Serialize;

use crate::http::api::Api;
use crate::http::executions::{Found, answer, find, named};
use crate::http::guard::RequestId;
use crate::http::problem::Refusal;
use crate::job::OnDisconnect;
use crate::outbox::Entry;
use crate::outlet;
use crate::run::execution::{Execution, State as ExecutionState};

/// Proxies drop connections on which nothing is said.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Between two looks at a run that keeps talking. Nobody waits longer than this for what was said.
const BREATH: Duration = Duration::from_millis(10);

/// Text of one event, at most.
const PIECE: usize = 32 * 1024;

/// Events that may be on their way to one reader.
const UNDER_WAY: usize = 4;

/// The reader has left.
#[derive(Debug)]
struct Left;

pub(super) async fn events(
    State(api): State<Arc<Api>>,
    path: Result<Path<String>, PathRejection>,
    Extension(request): Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    let id = match named(path) {
        Ok(id) => id,
        Err(refusal) => return answer(&request, Err(refusal)),
    };
    let Some(place) = Place::after(&headers) else {
        // It has seen everything; this tells its client not to come back.
        return StatusCode::NO_CONTENT.into_response();
    };
    let followed = match find(&api, &id).await {
        Ok(Found::Execution(execution)) => Ok(follow(execution, place, None)),
        Ok(Found::Stored(entry)) => stored(&entry),
        Err(refusal) => Err(refusal),
    };
    answer(&request, followed)
}

/// There is nothing to follow any more but the end.
pub(super) fn stored(entry: &Entry) -> Result<Response, Refusal> {
    let view = outlet::stored(entry).or(Err(Refusal::Internal))?;
    Ok(stream(async move |mut reader| reader.event("finished", "finished", &view.result).await))
}

/// The answer to a caller that wants to follow. `caller` lives as long as the connection.
pub(super) fn follow(execution: Arc<Execution>, place: Place, caller: Option<Leaving>) -> Response {
    let told = async move |mut reader| tell(&execution, place, &mut reader).await;
    stream(told).map(|body| {
        Body::new(body.map_frame(move |frame| {
            // Owned by the body, and dropped with it.
            let _caller = &caller;
            frame
        }))
    })
}

/// A caller that waits or follows. Dropped with the connection; a run that is over is not hurt by being cancelled.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) execution: Arc<Execution>,
    pub(super) on_disconnect: OnDisconnect,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if self.on_disconnect == OnDisconnect::Cancel {
            self.execution.stop(Stop::Cancelled);
        }
    }
}

/// Where a reader is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    started: bool,
    stdout: u64,
    stderr: u64,
}

impl Place {
    /// Behind the last event that this client has seen. `None`: that was the end. An id that is not ours means the beginning.
    fn after(headers: &HeaderMap) -> Option<Self> {
        let id = headers.get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        if id == "finished" { None } else { Some(Self::parse(id).unwrap_or_default()) }
    }

    fn parse(id: &str) -> Option<Self> {
        let mut parts = id.split('-');
        let started = parts.next()? == "1";
        let (stdout, stderr) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(Self { started, stdout, stderr })
    }

    fn id(self) -> String {
        format!("{}-{}-{}", u8::from(self.started), self.stdout, self.stderr)
    }
}

async fn tell(execution: &Execution, mut place: Place, reader: &mut Reader) -> Result<(), Left> {
    let mut steps = execution.steps();
    let mut changed = None;
    loop {
        let state = steps.borrow_and_update().clone();
        if let Some(live) = execution.progress.live() {
            if !place.started {
                place.started = true;
                let started = protocol::StartedEvent { execution_id: execution.id.clone() };
                reader.event("started", &place.id(), &started).await?;
            }
            // Before the look at the streams: what is written after it wakes us.
            changed.get_or_insert_with(|| live.changed());
            pour(&live, &mut place, reader).await?;
        }
        match state {
            ExecutionState::Done(record) => {
                return reader.event("finished", "finished", &outlet::callback(&record)).await;
            }
            // There is nothing to tell; a client that comes again is answered 404.
            ExecutionState::Refused(_) | ExecutionState::Lost => return Ok(()),
            ExecutionState::Queued | ExecutionState::Running => {}
        }
        let news = async {
            match &mut changed {
                Some(changed) => {
                    changed.next().await;
                    // A program that prints line by line would wake every reader for every line.
                    tokio::time::sleep(BREATH).await;
                }
                None => execution.progress.started().await,
            }
        };
        tokio::select! {
            () = news => {}
            // The sender is in the execution, which is ours.
            _ = steps.changed() => {}
            () = tokio::time::sleep(KEEP_ALIVE) => reader.say(": still here\n\n".to_owned()).await?,
        }
    }
}

/// Everything of both streams that this reader has not seen, as far as it can be read now.
async fn pour(live: &Live, place: &mut Place, reader: &mut Reader) -> Result<(), Left> {
    loop {
        let mut more = false;
        for (stream, name) in [(Stream::Stdout, "stdout"), (Stream::Stderr, "stderr")] {
            let from = match stream {
                Stream::Stdout => place.stdout,
                Stream::Stderr => place.stderr,
            };
            let piece = live.read(stream, from, PIECE);
            if piece.next == from {
                continue;
            }
            more = true;
            match stream {
                Stream::Stdout => place.stdout = piece.next,
                Stream::Stderr => place.stderr = piece.next,
            }
            reader.event(name, &place.id(), &outlet::output(piece)).await?;
        }
        if !more {
            return Ok(());
        }
    }
}

/// The writing end of one answer.
struct Reader(Sender<Bytes, Infallible>);

impl Reader {
    async fn event(&mut self, name: &str, id: &str, data: &impl Serialize) -> Result<(), Left> {
        let data = serde_json::to_string(data).expect("what the wire has is plain data, which JSON can hold");
        // JSON text has no line breaks, which would end the event.
        self.say(format!("event: {name}\nid: {id}\ndata: {data}\n\n")).await
    }

    async fn say(&mut self, text: String) -> Result<(), Left> {
        self.0.send_data(Bytes::from(text)).await.map_err(|_closed| Left)
    }
}

fn stream<Told>(tell: impl FnOnce(Reader) -> Told) -> Response
where
    Told: Future<Output = Result<(), Left>> + Send + 'static,
{
    let (sender, body) = Channel::new(UNDER_WAY);
    let told = tell(Reader(sender));
    tokio::spawn(async move { told.await.unwrap_or(()) });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    // nginx would collect events until it has a page of them.
    (headers, [("x-accel-buffering", "no")], Body::new(body)).into_response()
}

/// Does this caller want events rather than one answer?
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get_all("accept").iter().filter_map(|value| value.to_str().ok());
    accept.flat_map(|value| value.split(',')).any(|media| {
        let media = media.split(';').next().unwrap_or_default();
        media.trim().eq_ignore_ascii_case("text/event-stream")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_back_to_its_place_and_any_other_to_the_beginning() {
        for place in [Place::default(), Place { started: true, stdout: 7, stderr: u64::MAX }] {
            assert_eq!(Place::parse(&place.id()), Some(place));
        }
        for id in ["", "nonsense", "1", "1-2", "1-2-3-4", "1--1-2", "1-99999999999999999999-0"] {
            assert_eq!(Place::parse(id), None, "{id}");
        }
    }

    #[test]
    fn events_are_for_those_who_ask_for_them() {
        let of = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("accept", accept.parse().unwrap());
            wanted(&headers)
        };
        assert!(of("text/event-stream") && of("application/json;q=0.5, Text/Event-Stream;q=1"));
        assert!(!of("*/*") && !of("text/*") && !of("application/json") && !wanted(&HeaderMap::new()));
    }
}
