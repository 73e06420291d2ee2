//! Cold and warm daemons against bare bubblewrap, each at several concurrencies: what a side can do, and how long it takes to.
//!
//! The sides take turns in short blocks, and every turn another one is first, so that a machine that warms up, or a neighbour
//! who comes and goes, is felt by all alike. A warm side's block begins when all that waited has been spent.

use serde_json::{Map, Value, json};

use crate::{
    charts::{Axis, Chart, Line},
    daemon::{pool::Pool, settings::Settings},
    error::Result,
    load::{Side, closed::Quota},
    report::{Measured, figure::Figure, table::Table, targets},
    setup::Setup,
    stats::{SUMMARY_HEAD, Samples, Summary, median},
    workloads::{self, Workload},
};

const CONCURRENCIES: [usize; 4] = [1, 4, 16, 64];
/// Of the language that is asked for: as many as an operator would let wait who expects this load.
const POOL: usize = 8;

/// What one side did with one workload at one concurrency.
#[derive(Debug)]
struct Row {
    side: &'static str,
    summary: Summary,
    phases: Vec<Value>,
    /// Share of the runs that found a sandbox that waited.
    warm: f64,
}

pub(super) fn measure(setup: &Setup<'_>) -> Result<Measured> {
    let cold = setup.daemon(Settings::cold())?;
    let mut measured = Measured { daemons: vec![cold.settings.clone()], ..Measured::default() };
    let mut comparisons = Vec::new();
    let mut table = table();
    for workload in workloads::languages() {
        let warm = setup.daemon(Settings::waiting("warm", workload.pool, POOL))?;
        measured.daemons.push(warm.settings.clone());
        // The first of a kind may find what was prepared for others.
        Side::cold(&warm, 1)?.closed(&workload, Quota::Runs(1))?;
        let pool = Pool::of(&warm)?;
        let mut lines = ["bare", "cold", "warm"].map(|side| Line::new(side, []));
        for at in CONCURRENCIES {
            crate::report::progress(&format!("closed: {} at {at}", workload.name));
            let sides = vec![Side::bare(&setup.bare, at), Side::cold(&cold, at)?, Side::warm(&pool, at)?];
            let rows = compare(&workload, at, setup.effort.runs(&workload), sides)?;
            add_rows(&mut table, &workload, at, &rows);
            if at == 1 {
                measured.figures.extend(cold_over_bare(&workload, &rows));
            }
            for (line, row) in lines.iter_mut().zip(&rows) {
                line.points.push((at as f64, row.summary.per_second));
            }
            comparisons.push(to_json(&workload, at, &rows));
        }
        measured.charts.push(Chart {
            file: format!("closed-{}", workload.name.replace(' ', "-")),
            title: format!("{}, closed loop", workload.name),
            x: Axis::logarithmic("requests at once"),
            y: Axis::linear("runs per second"),
            lines: lines.into(),
        });
    }
    measured.figures.push(super::resident("resident memory after the closed loop", &cold));
    measured.tables.push(table);
    measured.details = Value::Array(comparisons);
    Ok(measured)
}

/// Without a daemon: what bare bubblewrap does on this machine.
pub(crate) fn bare_alone(setup: &Setup<'_>) -> Result<Measured> {
    let mut comparisons = Vec::new();
    let mut table = table();
    for workload in workloads::languages() {
        for at in CONCURRENCIES {
            let sides = vec![Side::bare(&setup.bare, at)];
            let rows = compare(&workload, at, setup.effort.runs(&workload), sides)?;
            add_rows(&mut table, &workload, at, &rows);
            comparisons.push(to_json(&workload, at, &rows));
        }
    }
    Ok(Measured { tables: vec![table], details: Value::Array(comparisons), ..Measured::default() })
}

fn compare(workload: &Workload, at: usize, runs: usize, mut sides: Vec<Side<'_>>) -> Result<Vec<Row>> {
    // Page cache, connections, everybody's own first times.
    for side in &mut sides {
        side.closed(workload, Quota::Runs(at.max(3)))?;
    }
    let mut collected: Vec<(Samples, Vec<Value>, usize)> = sides.iter().map(|_| Default::default()).collect();
    // Long enough that the tail of a block, when not every worker is busy, weighs little.
    let block = (4 * at).max(20).min(runs);
    for turn in 0..runs.div_ceil(block) {
        for place in 0..sides.len() {
            let which = (turn + place) % sides.len();
            let (samples, phases, warm) = &mut collected[which];
            sides[which].rest()?;
            sides[which].spend_what_waits(workload)?;
            let done = sides[which].closed(workload, Quota::Runs(block))?;
            samples.add_block(done.latencies, done.elapsed);
            phases.extend(done.phases);
            *warm += done.warm;
            // What fills the pool must not slow down whoever is next.
            sides[which].rest()?;
        }
    }
    let rows = sides.iter().zip(collected).map(|(side, (samples, phases, warm))| {
        let summary = samples.summary();
        let warm = warm as f64 / summary.runs.max(1) as f64;
        Row { side: side.name, summary, phases, warm }
    });
    Ok(rows.collect())
}

fn cold_over_bare(workload: &Workload, rows: &[Row]) -> Option<Figure> {
    let p50 = |name| rows.iter().find(|row| row.side == name).map(|row| row.summary.p50_ms);
    let (bare, cold) = (p50("bare")?, p50("cold")?);
    Some(match workload.name {
        "shell true" => {
            Figure::judged("shell true to bare, cold, p50", cold / bare, "×", targets::SHELL_RATIO)
        }
        name => {
            Figure::judged(format!("{name} over bare, cold, p50"), cold - bare, "ms", targets::OVERHEAD_MS)
        }
    })
}

fn table() -> Table {
    let own = ["closed loop, ms", "at", "side"];
    Table::new(own.into_iter().chain(SUMMARY_HEAD).chain(["p50 to bare", "warm"]))
}

fn add_rows(table: &mut Table, workload: &Workload, at: usize, rows: &[Row]) {
    for row in rows {
        let mut cells = vec![workload.name.to_owned(), at.to_string(), row.side.to_owned()];
        cells.extend(row.summary.cells());
        cells.push(format!("{:.2} ×", row.summary.p50_ms / rows[0].summary.p50_ms));
        cells.push(if row.side == "warm" { format!("{:.0} %", row.warm * 100.0) } else { String::new() });
        table.row(cells);
    }
}

fn to_json(workload: &Workload, at: usize, rows: &[Row]) -> Value {
    let sides = rows.iter().map(|row| {
        let told =
            json!({ "summary": row.summary, "warm_share": row.warm, "phases_p50_ms": phase_medians(row) });
        (row.side.to_owned(), told)
    });
    json!({ "workload": workload.name, "concurrency": at, "sides": sides.collect::<Map<_, _>>() })
}

/// Of each phase that the daemon reports.
fn phase_medians(row: &Row) -> Value {
    let phases = ["queue", "prepare", "start", "run", "collect"].into_iter().map(|phase| {
        let values: Vec<f64> = row.phases.iter().filter_map(|phases| phases[phase].as_f64()).collect();
        (phase.to_owned(), json!(median(&values)))
    });
    phases.collect::<Map<_, _>>().into()
}
