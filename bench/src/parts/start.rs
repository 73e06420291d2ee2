//! How soon a daemon answers, and what it holds before its first job.

use std::{thread, time::Duration};

use serde_json::json;

use super::megabytes;
use crate::{
    daemon::settings::Settings,
    error::{Result, doing},
    report::{Measured, figure::Figure, targets},
    setup::Setup,
    stats::{median, milliseconds},
};

pub(super) fn measure(setup: &Setup<'_>) -> Result<Measured> {
    let mut times = Vec::new();
    for _ in 1..setup.effort.repeats() {
        times.push(milliseconds(setup.daemon(Settings::cold())?.start_up));
    }
    let last = setup.daemon(Settings::cold())?;
    times.push(milliseconds(last.start_up));
    // Not waiting for an event: "idle" means that nothing has happened for a while.
    thread::sleep(Duration::from_secs(1));
    let idle = last.memory();
    let binary = std::fs::metadata(setup.binary).map_err(doing("look at the daemon's binary"))?.len();
    let mut figures = vec![
        Figure::judged("start to /health, p50", median(&times), "ms", targets::START_MS),
        Figure::judged("idle resident memory", megabytes(idle.resident), "MB", targets::IDLE_MB),
    ];
    figures.extend(
        idle.proportional.map(|bytes| Figure::told("idle proportional memory", megabytes(bytes), "MB")),
    );
    figures.push(Figure::told("binary size", megabytes(binary), "MB"));
    Ok(Measured {
        daemons: vec![last.settings.clone()],
        figures,
        details: json!({ "start_up_ms": times }),
        ..Measured::default()
    })
}
