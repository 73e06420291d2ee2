//! A call of the daemon: its arrival, its body, the decision, and what is then done.
//!
//! The decision is in the journal before anything of the answer is sent.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};

use super::answer::{self, Body};
use super::connection::Takeover;
use super::sabotage::Sabotage;
use crate::journal::{Journal, Next, Verdict};
use crate::rules::Action;

/// Output of 20 MiB in which every byte is escaped, and a return value.
const LONGEST_BODY: usize = 192 << 20;

pub(super) async fn answer(
    journal: &Arc<Journal>,
    request: Request<Incoming>,
    takeover: &Takeover,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let arrival = journal.arrive(head.method.as_str(), path, head.headers);
    let mut unread = Unread { journal, arrival: Some(arrival) };
    let body = Limited::new(body, LONGEST_BODY).collect().await;
    let body = body
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| format!("the body did not arrive whole: {error}"));
    let mut next = match unread.arrival.take() {
        Some(arrival) => journal.receive(arrival, body),
        None => return pending().await,
    };
    loop {
        next = match next {
            Next::React(verdict) => return react(verdict, takeover).await,
            Next::Delay(delay, call) => {
                let waiting = Waiting { journal, number: Some(call.number()) };
                tokio::time::sleep(delay).await;
                waiting.end();
                journal.perform(call)
            }
            Next::Hold(step, call) => {
                let waiting = Waiting { journal, number: Some(call.number()) };
                // An error means that nobody can let it go any more; then it goes.
                step.await.ok();
                waiting.end();
                journal.perform(call)
            }
        };
    }
}

/// Writes down a call whose connection ended in the middle of its body: hyper drops the future.
struct Unread<'journal> {
    journal: &'journal Journal,
    arrival: Option<crate::journal::Arrival>,
}

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        if let Some(arrival) = self.arrival.take() {
            let number = arrival.number;
            let body: Result<Bytes, String> = Err("the connection ended before the body did".to_owned());
            drop(self.journal.receive(arrival, body));
            self.journal.abandon(number);
        }
    }
}

/// Writes down that the other side left while its call waited: hyper drops the future.
struct Waiting<'journal> {
    journal: &'journal Journal,
    number: Option<u64>,
}

impl Waiting<'_> {
    fn end(mut self) {
        self.number = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.journal.abandon(number);
        }
    }
}

async fn react(verdict: Verdict, takeover: &Takeover) -> Response<Body> {
    let sabotage = match verdict {
        Verdict::Plain { status, sentence } => return answer::plain(status, &sentence),
        Verdict::Scripted(action) => match action {
            Action::Accept | Action::Hold => return answer::plain(200, ""),
            Action::Duplicate => return answer::plain(409, "the script says that this was accepted before"),
            Action::Status { code, headers, body } => return answer::scripted(code, &headers, body),
            Action::Redirect { code, location } => {
                let headers = [("location".to_owned(), location)].into();
                return answer::scripted(code, &headers, String::new());
            }
            Action::Stall { seconds } => Sabotage::Silence(Duration::from_secs_f64(seconds)),
            Action::Reset => Sabotage::Reset,
            Action::CloseBeforeAnswer | Action::AcceptThenClose => Sabotage::Bytes(Vec::new()),
            Action::CloseMidAnswer => Sabotage::Bytes(answer::broken()),
            Action::Raw { bytes, .. } => Sabotage::Bytes(bytes),
            Action::Slow { bytes_per_second } => Sabotage::Drip { bytes: answer::whole(), bytes_per_second },
            Action::Huge { bytes } => Sabotage::Flood { head: answer::head_of(bytes), bytes },
        },
    };
    if takeover.send(sabotage).is_err() {
        return answer::plain(500, "the connection ended meanwhile");
    }
    // The connection is taken away from here; this future is dropped with it.
    pending().await
}
