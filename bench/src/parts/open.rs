//! Bare, cold and warm at one fixed rate of arrivals, which does not ask how the last one went: what a caller waits for.
//!
//! The rate is one that bare bubblewrap can keep up with, half of what it does in a closed loop: beyond that its queue grows
//! without end and there is no latency to speak of.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    charts::{Axis, Chart, Line},
    daemon::{pool::Pool, settings::Settings},
    error::Result,
    load::{
        Side,
        closed::Quota,
        open::{Stream, WORKERS},
        schedule::Arrivals,
    },
    report::{Measured, progress, table::Table},
    setup::Setup,
    stats::{SUMMARY_HEAD, Samples, Summary, milliseconds, told_percentile},
    workloads::{self, Workload},
};

const POOL: usize = 8;
/// How many runs a side shall have, so that there is a 99.9th percentile; as far as they come in the time below.
const WANTED: f64 = 1010.0;
const LONGEST: Duration = Duration::from_secs(28);
const TURNS: u32 = 4;

pub(super) fn measure(setup: &Setup<'_>) -> Result<Measured> {
    let cold = setup.daemon(Settings::cold())?;
    let mut measured = Measured { daemons: vec![cold.settings.clone()], ..Measured::default() };
    let own = ["open loop, ms", "rate", "side"];
    let mut table =
        Table::new(own.into_iter().chain(SUMMARY_HEAD).chain(["refused", "sent late, p99", "warm"]));
    let mut details = Vec::new();
    for workload in workloads::languages() {
        let warm = setup.daemon(Settings::waiting("warm", workload.pool, POOL))?;
        measured.daemons.push(warm.settings.clone());
        Side::cold(&warm, 1)?.closed(&workload, Quota::Runs(1))?;
        let pool = Pool::of(&warm)?;
        let rate = rate(setup, &workload)?;
        progress(&format!("open: {}, {rate} per second", workload.name));
        let mut sides =
            [Side::bare(&setup.bare, WORKERS), Side::cold(&cold, WORKERS)?, Side::warm(&pool, WORKERS)?];
        let mut lines = Vec::new();
        for (side, stream) in take_turns(setup, &workload, rate, &mut sides)? {
            let latencies: Vec<f64> = stream.latencies.iter().copied().map(milliseconds).collect();
            lines.push(Line::tail(side, &latencies));
            let summary = summary(&stream);
            let late_ms: Vec<f64> = stream.sent_late.iter().copied().map(milliseconds).collect();
            let late = told_percentile(&late_ms, 99.0);
            let warm = stream.warm as f64 / summary.runs.max(1) as f64;
            let mut cells = vec![workload.name.to_owned(), rate.to_string(), side.to_owned()];
            cells.extend(summary.cells());
            cells.push(stream.refused.to_string());
            cells.push(late.map_or_else(|| "-".to_owned(), |late| format!("{late:.1}")));
            cells.push(if side == "warm" { format!("{:.0} %", warm * 100.0) } else { String::new() });
            table.row(cells);
            details.push(json!({
                "workload": workload.name, "per_second": rate, "side": side, "summary": summary,
                "refused": stream.refused, "sent_late_p99_ms": late, "warm_share": warm,
            }));
        }
        measured.charts.push(chart(&workload, rate, lines));
    }
    measured.tables.push(table);
    measured.details = Value::Array(details);
    Ok(measured)
}

fn chart(workload: &Workload, rate: f64, lines: Vec<Line>) -> Chart {
    Chart {
        file: format!("open-{}", workload.name.replace(' ', "-")),
        title: format!("{}, open loop, {rate} requests per second", workload.name),
        x: Axis::logarithmic("one in so many takes longer"),
        y: Axis::logarithmic("ms from when it was due"),
        lines,
    }
}

pub(super) fn summary(stream: &Stream) -> Summary {
    let mut samples = Samples::default();
    samples.add_block(stream.latencies.iter().copied(), stream.elapsed);
    samples.summary()
}

/// Half of what bare bubblewrap does with as many at once as there are cpus.
fn rate(setup: &Setup<'_>, workload: &Workload) -> Result<f64> {
    let cpus = std::thread::available_parallelism().map_or(2, usize::from);
    let mut bare = Side::bare(&setup.bare, cpus);
    bare.closed(workload, Quota::Runs(cpus))?;
    let done = bare.closed(workload, Quota::For(setup.effort.time(Duration::from_secs(3))))?;
    Ok((done.latencies.len() as f64 / done.elapsed.as_secs_f64() / 2.0).round().max(1.0))
}

fn take_turns(
    setup: &Setup<'_>,
    workload: &Workload,
    rate: f64,
    sides: &mut [Side<'_>],
) -> Result<Vec<(&'static str, Stream)>> {
    let longest = LONGEST / u32::try_from(workload.runs_divisor).unwrap_or(1);
    let time = setup.effort.time(longest.min(Duration::from_secs_f64(WANTED / rate)));
    let mut streams: Vec<(&'static str, Stream)> =
        sides.iter().map(|side| (side.name, Stream::default())).collect();
    for turn in 0..TURNS as usize {
        for place in 0..sides.len() {
            let which = (turn + place) % sides.len();
            sides[which].rest()?;
            let arrivals = Arrivals::at_rate(rate, time / TURNS);
            streams[which].1.add(sides[which].open(workload, arrivals)?);
            sides[which].rest()?;
        }
    }
    Ok(streams)
}
