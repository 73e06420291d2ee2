//! A line about an execution under way, once a second, for whoever looks at a terminal.

use std::time::Duration;

use protocol::{Execution, ExecutionState, Phase};

use super::daemon::Daemon;
use crate::cli::printer::{Print, Sender};

const INTERVAL: Duration = Duration::from_secs(1);

/// Until the printer stops, or the task is ended. A look that fails is left out: whoever follows the run says what is wrong.
pub(super) async fn show(daemon: Daemon, execution_id: String, printer: Sender) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Ok(execution) = daemon.look(&execution_id).await else { continue };
        if let Some(line) = line(&execution)
            && printer.print(Print::Progress(line)).await.is_err()
        {
            return;
        }
    }
}

fn line(execution: &Execution) -> Option<String> {
    let progress = execution.progress?;
    let seconds = progress.elapsed_ms / 1000;
    let doing = match (execution.state, progress.phase) {
        (ExecutionState::Finished, _) => return None,
        (ExecutionState::Queued, _) | (_, Phase::Queue) => {
            let before = execution.position.map(|position| format!(", {position} before it"));
            return Some(format!("waiting {seconds} s{}", before.unwrap_or_default()));
        }
        (ExecutionState::Running, Phase::Prepare) => "preparing",
        (ExecutionState::Running, Phase::Run) => "running",
        (ExecutionState::Running, Phase::Collect) => "collecting artifacts",
    };
    let tenths = progress.cpu_time_ms / 100;
    let mib = progress.memory_bytes.div_ceil(1 << 20);
    Some(format!("{doing} {seconds} s, cpu {}.{} s, {mib} MiB", tenths / 10, tenths % 10))
}

#[cfg(test)]
mod tests {
    use protocol::Progress;

    use super::*;

    #[test]
    fn a_line_says_where_it_is_and_what_it_uses() {
        let execution = |state, phase, position| Execution {
            execution_id: "exec_1".to_owned(),
            state,
            accepted_at: String::new(),
            position,
            progress: Some(Progress {
                phase,
                elapsed_ms: 3_999,
                cpu_time_ms: 1_299,
                memory_bytes: (33 << 20) + 1,
                stdout_bytes: 0,
                stderr_bytes: 0,
            }),
            result: None,
        };
        let of = |state, phase, position| line(&execution(state, phase, position));
        let running = of(ExecutionState::Running, Phase::Run, None);
        assert_eq!(running.as_deref(), Some("running 3 s, cpu 1.2 s, 34 MiB"));
        let waiting = of(ExecutionState::Queued, Phase::Queue, Some(2));
        assert_eq!(waiting.as_deref(), Some("waiting 3 s, 2 before it"));
        assert_eq!(of(ExecutionState::Running, Phase::Queue, None).as_deref(), Some("waiting 3 s"));
        assert_eq!(of(ExecutionState::Finished, Phase::Run, None), None);
    }
}
