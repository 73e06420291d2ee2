//! How much later than its limit an endless program's answer comes, seen from outside. Building the sandbox is in it, so the
//! daemon cannot look better by starting its clock late.

use serde_json::json;

use crate::{
    client::Client,
    daemon::settings::Settings,
    error::{BenchError, Result, doing},
    report::{Measured, figure::Figure, targets},
    setup::Setup,
    stats::{largest, milliseconds},
    workloads,
};

/// The shortest there is, and the one that the programs are sent with.
const LIMIT_MS: f64 = 1000.0;

pub(super) fn measure(setup: &Setup<'_>) -> Result<Measured> {
    let daemon = setup.daemon(Settings::cold())?;
    let mut client = Client::connect(daemon.address).map_err(doing("connect to the daemon"))?;
    let mut late = Vec::new();
    for _ in 0..setup.effort.repeats().div_ceil(2) {
        for request in workloads::endless_requests() {
            let answer = client.execute(&request)?;
            let record = answer.json()?;
            if record["status"] != "timeout" {
                return Err(BenchError::WrongWork {
                    who: "the daemon",
                    workload: "timeout",
                    why: record.to_string().chars().take(600).collect(),
                });
            }
            late.push(milliseconds(answer.elapsed) - LIMIT_MS);
        }
    }
    Ok(Measured {
        daemons: vec![daemon.settings.clone()],
        figures: vec![Figure::judged("timeout late by, worst", largest(&late), "ms", targets::LATE_MS)],
        details: json!({ "late_ms": late }),
        ..Measured::default()
    })
}
