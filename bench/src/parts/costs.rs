//! What a warm Python run costs against the size of what it finds, prints and gets: one size after the other, one run at a time,
//! each when the pool is full and at rest.

use serde_json::{Value, json};

use super::preload;
use crate::{
    charts::{Axis, Chart, Line},
    daemon::{pool::Pool, settings::Settings},
    error::Result,
    load::{Side, closed::Quota},
    report::{Measured, progress, table::Table},
    setup::Setup,
    stats::{SUMMARY_HEAD, Samples, Summary},
    workloads::{
        Workload,
        sized::{event, leaves_bytes, leaves_files, nothing_in, output},
    },
};

const POOL: usize = 4;
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Nearly all that `MAX_REQUEST_BYTES` and `MAX_OUTPUT_BYTES` let through as shipped.
const SIZES: [usize; 7] = [0, 100, KIB, 10 * KIB, 100 * KIB, MIB, 10 * MIB];
const FILES: [usize; 5] = [0, 10, 100, 1000, 10_000];
const BYTES: [usize; 4] = [0, MIB, 10 * MIB, 50 * MIB];

/// What something costs at each size.
#[derive(Debug)]
struct Series {
    name: &'static str,
    unit: &'static str,
    points: Vec<(usize, Summary)>,
}

pub(super) fn measure(setup: &Setup<'_>) -> Result<Measured> {
    let daemon = setup.daemon(Settings::waiting("warm", "POOL_PYTHON", POOL))?;
    let mut measured = Measured { daemons: vec![daemon.settings.clone()], ..Measured::default() };
    Side::cold(&daemon, 1)?.closed(&event(0), Quota::Runs(1))?;
    let pool = Pool::of(&daemon)?;
    let in_session = |name, unit, sizes: &[usize], fill: fn(&str, usize) -> Workload| {
        let points = sizes.iter().map(|size| {
            let session = format!("{name}-{size}").replace(' ', "-");
            if *size > 0 {
                Side::cold(&daemon, 1)?.closed(&fill(&session, *size), Quota::Runs(1))?;
            }
            Ok((*size, at_rest(setup, &pool, &nothing_in(&session))?))
        });
        Ok(Series { name, unit, points: points.collect::<Result<_>>()? })
    };
    let plain = |name, of: fn(usize) -> Workload| {
        let points = SIZES.iter().map(|size| Ok((*size, at_rest(setup, &pool, &of(*size))?)));
        Ok(Series { name, unit: "bytes", points: points.collect::<Result<_>>()? })
    };
    progress("costs: the workspace's size");
    let mut series = vec![
        in_session("files in the workspace", "files", &FILES, leaves_files)?,
        in_session("one file in the workspace", "bytes", &BYTES, leaves_bytes)?,
    ];
    progress("costs: the output's size");
    series.push(plain("output", output)?);
    progress("costs: the event's size");
    series.push(plain("event", event)?);
    measured.tables.push(table(&series));
    measured.details = series.iter().map(to_json).collect();
    measured.charts.extend(series.iter().map(chart));
    progress("costs: preloaded modules");
    preload::measure(setup, &mut measured)?;
    Ok(measured)
}

pub(super) fn at_rest(setup: &Setup<'_>, pool: &Pool<'_>, workload: &Workload) -> Result<Summary> {
    let mut side = Side::warm(pool, 1)?;
    let mut samples = Samples::default();
    // The first two of a kind may find what was prepared for others, and cold caches.
    for turn in 0..(setup.effort.runs / 8).max(3) + 2 {
        side.rest()?;
        let done = side.closed(workload, Quota::Runs(1))?;
        if turn >= 2 {
            samples.add_block(done.latencies, done.elapsed);
        }
    }
    Ok(samples.summary())
}

fn table(series: &[Series]) -> Table {
    let mut table = Table::new(["warm python, ms, against", "size", "unit"].into_iter().chain(SUMMARY_HEAD));
    for series in series {
        for (size, summary) in &series.points {
            let own = [series.name.to_owned(), size.to_string(), series.unit.to_owned()];
            table.row(own.into_iter().chain(summary.cells()));
        }
    }
    table
}

fn chart(series: &Series) -> Chart {
    let points = series.points.iter().filter(|(size, _)| *size > 0);
    Chart {
        file: format!("cost-{}", series.name.replace(' ', "-")),
        title: format!("A warm Python run against: {}", series.name),
        x: Axis::logarithmic(series.unit),
        y: Axis::linear("p50, ms"),
        lines: vec![Line::new("p50", points.map(|(size, summary)| (*size as f64, summary.p50_ms)))],
    }
}

fn to_json(series: &Series) -> Value {
    let points = series.points.iter().map(|(size, summary)| json!({ "size": size, "summary": summary }));
    json!({ "against": series.name, "unit": series.unit, "points": points.collect::<Vec<_>>() })
}
