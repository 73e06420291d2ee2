//! An execution under way or over → what lookups and event streams show.

use protocol::{ExecuteResponse, ExecutionState};
use sandbox::capture::piece::Piece;

use super::callback::{progress, result};
use crate::outbox::Entry;
use crate::run::execution::{Execution, State};

/// `position`: how many wait in front of it, if it waits. `None`: it was refused, or is lost; there is nothing to show.
pub fn execution(execution: &Execution, position: Option<usize>) -> Option<protocol::Execution> {
    let (state, result) = match execution.state() {
        State::Queued => (ExecutionState::Queued, None),
        State::Running => (ExecutionState::Running, None),
        State::Done(record) => (ExecutionState::Finished, Some(Box::new(result(&record)))),
        State::Refused(_) | State::Lost => return None,
    };
    let progress = result.is_none().then(|| progress(&execution.progress.numbers()));
    Some(protocol::Execution {
        execution_id: execution.id.clone(),
        state,
        accepted_at: execution.origin.accepted_at.to_string(),
        position: position.map(|position| position as u64),
        progress,
        result,
    })
}

/// Of an earlier daemon.
pub fn stored(entry: &Entry) -> serde_json::Result<protocol::Execution> {
    let result: ExecuteResponse = serde_json::from_str(entry.result.get())?;
    Ok(protocol::Execution {
        execution_id: entry.run.execution_id.clone(),
        state: ExecutionState::Finished,
        accepted_at: entry.run.accepted_at.to_string(),
        position: None,
        progress: None,
        result: Some(Box::new(result)),
    })
}

pub fn output(piece: Piece) -> protocol::OutputEvent {
    protocol::OutputEvent { offset: piece.offset, text: piece.text, missed_bytes: piece.missed }
}
