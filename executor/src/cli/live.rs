//! `run --stream`: what the program writes, as it writes it.

use std::time::Duration;

use sandbox::capture::piece::Then;
use sandbox::live::{Live, Stream};

use super::printer::{Print, Sender, Stopped};
use crate::run::execution::Execution;

/// Text of one piece, at most.
const PIECE: usize = 64 * 1024;

/// Between two looks at a program that keeps talking.
const BREATH: Duration = Duration::from_millis(10);

/// Until the program's streams are at their end, or the execution is.
pub(super) async fn follow(execution: &Execution, printer: &Sender) -> Result<(), Stopped> {
    let over = execution.over();
    tokio::pin!(over);
    tokio::select! {
        () = execution.progress.started() => {}
        _ = &mut over => {}
    }
    // None: there was never a program.
    let Some(live) = execution.progress.live() else { return Ok(()) };
    let mut changed = live.changed();
    let mut places = [0, 0];
    while !pour(&live, &mut places, printer).await? {
        let news = async {
            changed.next().await;
            // A program that prints line by line would wake us for every line.
            tokio::time::sleep(BREATH).await;
        };
        tokio::select! {
            () = news => {}
            _ = &mut over => {
                pour(&live, &mut places, printer).await?;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Everything of both streams that can be read now. True when that was all there will ever be.
async fn pour(live: &Live, places: &mut [u64; 2], printer: &Sender) -> Result<bool, Stopped> {
    let mut ended = true;
    for (stream, place) in Stream::ALL.into_iter().zip(places) {
        ended &= loop {
            let piece = live.read(stream, *place, PIECE);
            *place = piece.next;
            if piece.missed > 0 {
                printer.print(Print::Note(missed(piece.missed, stream))).await?;
            }
            printer.print(Print::Output { stream, text: piece.text }).await?;
            match piece.then {
                Then::More => {}
                Then::Wait => break false,
                Then::End => break true,
            }
        };
    }
    Ok(ended)
}

/// The sentence about bytes that were let go before they were read.
pub(super) fn missed(bytes: u64, stream: Stream) -> String {
    let name = stream.name();
    format!(
        "{bytes} bytes of {name} were missed here: more was written than is kept, and faster than it was read"
    )
}
