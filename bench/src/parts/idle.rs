//! What a full pool costs while nobody asks: processor time, and the memory of each sandbox that waits.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::megabytes;
use crate::{
    daemon::{
        Daemon,
        footprint::{self, Memory},
        pool::Pool,
        settings::{POOLS, Settings},
    },
    error::Result,
    report::{Measured, figure::Figure, progress},
    setup::Setup,
    stats::milliseconds,
};

/// Enough that the one that happens to share less with the others weighs little.
const WAITING: usize = 4;
const LOOK: Duration = Duration::from_secs(10);

pub(super) fn measure(setup: &Setup<'_>) -> Result<Measured> {
    let full = setup.daemon(Settings::as_shipped("full pool"))?;
    let empty = setup.daemon(Settings::cold())?;
    let mut measured =
        Measured { daemons: vec![full.settings.clone(), empty.settings.clone()], ..Measured::default() };
    Pool::of(&full)?;
    progress("idle: processor time");
    let (spent, looked) = processor_time(&full, setup.effort.time(LOOK));
    let per_ten_seconds = milliseconds(spent) * LOOK.as_secs_f64() / looked.as_secs_f64();
    let figure = Figure::told("processor time of an idle full pool, 10 s", per_ten_seconds, "ms");
    measured.figures.push(figure);
    let mut details =
        vec![json!({ "full_pool_cpu_ms": milliseconds(spent), "looked_s": looked.as_secs_f64() })];
    // The bubblewraps that wait for the next runs are there without a pool, too.
    let around = below(&empty);
    for (pool, language) in POOLS {
        progress(&format!("idle: {language}"));
        let daemon = setup.daemon(Settings::waiting("only one language", pool, WAITING))?;
        measured.daemons.push(daemon.settings.clone());
        let waiting = Pool::of(&daemon)?.size();
        let each = each_holds(below(&daemon), around, waiting);
        measured.figures.push(Figure::told(
            format!("a waiting {language} sandbox, proportional"),
            each.map(megabytes),
            "MB",
        ));
        details.push(json!({ "language": language, "waiting": waiting, "proportional_bytes_each": each }));
    }
    if around.proportional.is_none() {
        measured
            .notes
            .push("the kernel does not say what is shared; memory of waiting sandboxes left out".into());
    }
    measured.details = Value::Array(details);
    Ok(measured)
}

/// Of the daemon and all below it, in how long a look.
fn processor_time(daemon: &Daemon, time: Duration) -> (Duration, Duration) {
    let processes = footprint::with_descendants(daemon.pid());
    let (begin, before) = (Instant::now(), footprint::on_cpu(&processes));
    // Not waiting for an event: this is how long we look at nothing happening.
    thread::sleep(time);
    (footprint::on_cpu(&processes).saturating_sub(before), begin.elapsed())
}

fn below(daemon: &Daemon) -> Memory {
    Memory::of(&footprint::with_descendants(daemon.pid())[1..])
}

fn each_holds(all: Memory, around: Memory, waiting: usize) -> Option<u64> {
    let own = all.proportional?.saturating_sub(around.proportional?);
    own.checked_div(waiting as u64)
}
