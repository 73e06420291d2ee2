//! How many Python handlers a second, for as long as one likes, against the best that bare bubblewrap does in a loop; and how
//! long callers wait at half of that.

use std::time::Duration;

use serde_json::{Value, json};

use super::open::summary;
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
    report::{Measured, figure::Figure, progress, table::Table, targets},
    setup::Setup,
    stats::{SUMMARY_HEAD, Samples, Summary},
    workloads::{self, Workload},
};

const CONCURRENCY: usize = 8;
/// One for each that may ask at once.
const POOL: usize = 8;
/// Bare bubblewrap in a loop, so many at once; the best counts.
const BARE: [usize; 4] = [1, 2, 4, 8];
const ROUNDS: usize = 3;
/// For the 99.9th percentile, as far as they come in the time below.
const WANTED: f64 = 2000.0;
const LONGEST: Duration = Duration::from_secs(40);

pub(super) fn measure(setup: &Setup<'_>) -> Result<Measured> {
    let workload = workloads::python_handler();
    let warm = setup.daemon(Settings::waiting("sustained", workload.pool, POOL))?;
    let cold = setup.daemon(Settings::cold())?;
    Side::cold(&warm, 1)?.closed(&workload, Quota::Runs(1))?;
    let pool = Pool::of(&warm)?;
    progress("sustained: closed loop");
    let mut sides: Vec<(usize, Side<'_>)> =
        BARE.iter().map(|at| (*at, Side::bare(&setup.bare, *at))).collect();
    sides.push((CONCURRENCY, Side::cold(&cold, CONCURRENCY)?));
    sides.push((CONCURRENCY, Side::warm(&pool, CONCURRENCY)?));
    let summaries = closed_loop(setup, &workload, &mut sides)?;
    let best_bare = summaries.iter().filter(|(side, ..)| *side == "bare");
    let best_bare = best_bare.map(|(.., summary)| summary.per_second).fold(0.0, f64::max);
    let sustained = summaries.last().map_or(0.0, |(.., summary)| summary.per_second);
    progress("sustained: half of it, open loop");
    let half = at_half(setup, &workload, &pool, sustained / 2.0)?;
    let half_summary = summary(&half);
    let ratio = half_summary.p99_ms.map(|p99| p99 / half_summary.p50_ms);
    let mut table = Table::new(["sustained, python handler, ms", "at"].into_iter().chain(SUMMARY_HEAD));
    for (side, at, summary) in &summaries {
        table.row([(*side).to_owned(), at.to_string()].into_iter().chain(summary.cells()));
    }
    table.row(["sustained, open, at half".to_owned(), String::new()].into_iter().chain(half_summary.cells()));
    Ok(Measured {
        daemons: vec![cold.settings.clone(), warm.settings.clone()],
        tables: vec![table],
        figures: vec![
            Figure::told("Python handlers, sustained", sustained, "/s"),
            Figure::judged("the same to the best of bare", sustained / best_bare, "×", targets::SUSTAINED),
            Figure::judged("at half of it, open loop, p99 to p50", ratio, "×", targets::HALF_RATE_P99),
            Figure::told("refused at half of it", half.refused as f64, ""),
        ],
        charts: vec![chart(&summaries)],
        details: json!({
            "closed": summaries.iter().map(|(side, at, summary)| {
                json!({ "side": side, "concurrency": at, "summary": summary })
            }).collect::<Vec<Value>>(),
            "half": half_summary,
            "half_refused": half.refused,
        }),
        ..Measured::default()
    })
}

fn chart(summaries: &[(&'static str, usize, Summary)]) -> Chart {
    let of = |wanted: &str| {
        let own = summaries.iter().filter(move |(side, ..)| *side == wanted);
        own.map(|(_, at, summary)| (*at as f64, summary.per_second)).collect::<Vec<_>>()
    };
    Chart {
        file: "sustained".to_owned(),
        title: "Python handlers per second, sustained".to_owned(),
        x: Axis::linear("at once"),
        y: Axis::linear("runs per second"),
        lines: ["bare", "cold", "sustained"].map(|side| Line::new(side, of(side))).into(),
    }
}

fn closed_loop(
    setup: &Setup<'_>,
    workload: &Workload,
    sides: &mut [(usize, Side<'_>)],
) -> Result<Vec<(&'static str, usize, Summary)>> {
    let time = setup.effort.time(Duration::from_secs(2));
    let mut samples: Vec<Samples> = sides.iter().map(|_| Samples::default()).collect();
    for round in 0..ROUNDS {
        for place in 0..sides.len() {
            let which = (round + place) % sides.len();
            let (at, side) = &mut sides[which];
            side.closed(workload, Quota::Runs(*at))?;
            side.spend_what_waits(workload)?;
            let done = side.closed(workload, Quota::For(time))?;
            samples[which].add_block(done.latencies, done.elapsed);
            side.rest()?;
        }
    }
    let told = sides.iter().zip(samples).map(|((at, side), samples)| (side.name, *at, samples.summary()));
    Ok(told.collect())
}

fn at_half(setup: &Setup<'_>, workload: &Workload, pool: &Pool<'_>, rate: f64) -> Result<Stream> {
    let mut side = Side::warm(pool, WORKERS)?;
    side.rest()?;
    let time = LONGEST.min(Duration::from_secs_f64(WANTED / rate.max(1.0)));
    side.open(workload, Arrivals::at_rate(rate, setup.effort.time(time)))
}
