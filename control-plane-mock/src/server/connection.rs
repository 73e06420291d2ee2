//! One connection: HTTP until a call is to be sabotaged, then bytes.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::sabotage::{Sabotage, carry_out};
use super::{callback, control};
use crate::journal::Journal;

/// How a request takes its connection away from HTTP.
pub(super) type Takeover = mpsc::UnboundedSender<Sabotage>;

pub(super) async fn drive(journal: Arc<Journal>, stream: TcpStream) {
    // Drips are to arrive as drips. A connection that is gone already is found out below.
    stream.set_nodelay(true).ok();
    let (takeover, mut taken) = mpsc::unbounded_channel();
    let service = service_fn(|request| {
        let (journal, takeover) = (Arc::clone(&journal), takeover.clone());
        async move {
            let answer = if control::is_control(request.uri().path()) {
                control::answer(&journal, request).await
            } else {
                callback::answer(&journal, request, &takeover).await
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let sabotage = tokio::select! {
        ended = &mut connection => {
            if let Err(error) = ended && error.is_parse() {
                journal.violation(format!("a connection spoke something else than HTTP/1: {error}"));
            }
            return;
        }
        Some(sabotage) = taken.recv() => sabotage,
    };
    // The request was read to its end and nothing of an answer was written: the stream is between two messages.
    carry_out(sabotage, connection.into_parts().io.into_inner()).await;
}
