//! A sandbox that waits against bare bubblewrap, asked for one at a time, each when the pool is full and at rest.

use serde_json::{Value, json};

use crate::{
    daemon::{pool::Pool, settings::Settings},
    error::{BenchError, Result},
    load::{Side, closed::Quota},
    report::{Measured, figure::Figure, progress, table::Table, targets},
    setup::Setup,
    stats::{SUMMARY_HEAD, Samples, Summary},
    workloads::{self, Workload},
};

pub(super) fn measure(setup: &Setup<'_>) -> Result<Measured> {
    let daemon = setup.daemon(Settings::as_shipped("warm"))?;
    let pool = Pool::of(&daemon)?;
    let mut table = Table::new(["warm, at rest, ms", "side"].into_iter().chain(SUMMARY_HEAD));
    let mut measured = Measured { daemons: vec![daemon.settings.clone()], ..Measured::default() };
    let mut details = Vec::new();
    for workload in workloads::languages() {
        progress(&format!("warm: {}", workload.name));
        let (bare, warm) = one_at_a_time(setup, &workload, &pool)?;
        for (side, summary) in [("bare", &bare), ("warm", &warm)] {
            table.row([workload.name.to_owned(), side.to_owned()].into_iter().chain(summary.cells()));
        }
        measured.figures.extend(figures(&workload, &bare, &warm));
        details.push(json!({ "workload": workload.name, "bare": bare, "warm": warm }));
    }
    measured.tables.push(table);
    measured.details = Value::Array(details);
    Ok(measured)
}

fn one_at_a_time(setup: &Setup<'_>, workload: &Workload, pool: &Pool<'_>) -> Result<(Summary, Summary)> {
    let (mut bare, mut warm) = (Side::bare(&setup.bare, 1), Side::warm(pool, 1)?);
    let (mut bare_samples, mut warm_samples) = (Samples::default(), Samples::default());
    for turn in 0..=setup.effort.runs(workload) {
        warm.rest()?;
        let done = warm.closed(workload, Quota::Runs(1))?;
        // The first of a kind may find what was prepared for others.
        if turn == 0 {
            continue;
        }
        if done.warm == 0 {
            let why = "a run found no sandbox in a full pool".to_owned();
            return Err(BenchError::WrongWork { who: "the daemon", workload: workload.name, why });
        }
        warm_samples.add_block(done.latencies, done.elapsed);
        // What fills the pool must not slow the other side down.
        warm.rest()?;
        let done = bare.closed(workload, Quota::Runs(1))?;
        bare_samples.add_block(done.latencies, done.elapsed);
    }
    Ok((bare_samples.summary(), warm_samples.summary()))
}

fn figures(workload: &Workload, bare: &Summary, warm: &Summary) -> Vec<Figure> {
    let name = workload.name;
    let mut figures = vec![Figure::told(format!("warm {name}, p50"), warm.p50_ms, "ms")];
    if let Some(target) = targets::warm_ratio(name) {
        let ratio = warm.p50_ms / bare.p50_ms;
        figures.push(Figure::judged(format!("warm {name} to bare, p50"), ratio, "×", target));
    }
    if name == "python handler" {
        let ratio = warm.p95_ms.map(|p95| p95 / bare.p50_ms);
        let name = format!("warm {name}, p95 to bare p50");
        figures.push(Figure::judged(name, ratio, "×", targets::WARM_PYTHON_P95));
    }
    figures
}
