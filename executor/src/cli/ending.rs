//! How the end of an execution is told: exit codes and last words, for `run` and `exec` alike.

use std::io::Write;

use protocol::{Cause, ExecuteResponse, Status};

pub(super) const TIMED_OUT: u8 = 124;
/// Our failure, not the program's.
pub(super) const SANDBOX_FAILED: u8 = 125;
/// As if killed: by a limit, or by somebody else.
pub(super) const LIMIT_HIT: u8 = 137;

pub(super) fn exit_code(response: &ExecuteResponse) -> u8 {
    match (response.status, response.cause) {
        (Status::Success | Status::Failed, _) => response.exit_code.to_le_bytes()[0],
        (Status::Timeout, _) => TIMED_OUT,
        (Status::Crashed, _)
        | (Status::Error | Status::Cancelled, Cause::SandboxError | Cause::DaemonShutdown) => SANDBOX_FAILED,
        (Status::Error | Status::Cancelled, _) => LIMIT_HIT,
    }
}

/// Why it was ended from outside. The last line of the answer's stderr; the stream that the program wrote does not have it.
pub(super) fn explanation(response: &ExecuteResponse) -> Option<&str> {
    match response.status {
        Status::Timeout | Status::Error | Status::Cancelled | Status::Crashed => {
            response.cause_detail.as_ref().map(|detail| detail.message.as_str())
        }
        Status::Success | Status::Failed => None,
    }
}

pub(super) fn print_json(response: &ExecuteResponse) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut stdout, response)?;
    stdout.write_all(b"\n")
}

/// The program's streams on ours, and then what it returned, if anything.
pub(super) fn print_plainly(stdout: &str, stderr: &str, returned: Option<&str>) -> std::io::Result<()> {
    let mut ours = std::io::stdout().lock();
    ours.write_all(stdout.as_bytes())?;
    std::io::stderr().write_all(stderr.as_bytes())?;
    match returned {
        Some(value) => writeln!(ours, "{value}"),
        None => ours.flush(),
    }
}
