//! What the daemon holds after very many runs against what it held after the first thousand. Not among the usual parts: it takes
//! a quarter of an hour and more.
//!
//! Looked at when it is at rest: retention is over, and the pool is full.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::megabytes;
use crate::{
    charts::{Axis, Chart, Line},
    daemon::{Daemon, footprint::Held, pool::Pool, settings::Settings},
    error::Result,
    load::{Side, closed::Quota},
    report::{Measured, figure::Figure, progress, table::Table, targets},
    setup::{LongRun, Setup},
    workloads::{self, Workload},
};

const CONCURRENCY: usize = 4;
/// Of a thousand runs, so many are shell, Python and node.
const SHARES: [usize; 3] = [500, 450, 50];
const ROUND: usize = 1000;
const LOOKS: usize = 10;
const RETENTION: u64 = 5;

pub(super) fn measure(setup: &Setup<'_>) -> Result<Measured> {
    let LongRun { runs: wanted, at_most } = setup.effort.long;
    let settings = Settings::as_shipped("long").with("ARTIFACT_RETENTION_SECONDS", RETENTION);
    let daemon = setup.daemon(settings)?;
    let workloads = workloads::languages();
    Side::cold(&daemon, 1)?.closed(&workloads[0], Quota::Runs(1))?;
    let pool = Pool::of(&daemon)?;
    let begin = Instant::now();
    let mut looks = Vec::new();
    let mut runs = 0;
    while runs < wanted && begin.elapsed() < at_most {
        runs += round(&daemon, &workloads)?;
        if is_looked_at(runs, wanted) {
            looks.push((runs, look(&daemon, &pool)?));
            let per_second = runs as f64 / begin.elapsed().as_secs_f64();
            progress(&format!("long: {runs} of {wanted} runs, {per_second:.0} a second with the looks"));
        }
    }
    if looks.last().is_none_or(|(at, _)| *at < runs) {
        looks.push((runs, look(&daemon, &pool)?));
    }
    let mut measured = told(&looks, wanted);
    measured.daemons.push(daemon.settings.clone());
    Ok(measured)
}

/// A thousand runs. One language after the other: the pool has to follow.
fn round(daemon: &Daemon, workloads: &[Workload]) -> Result<usize> {
    let mut done = 0;
    for (workload, share) in workloads.iter().zip(SHARES) {
        let block = Side::cold(daemon, CONCURRENCY)?.closed(workload, Quota::Runs(share))?;
        done += block.latencies.len();
    }
    Ok(done)
}

/// After the first thousand, and then so often that there are ten.
fn is_looked_at(runs: usize, wanted: usize) -> bool {
    let every = (wanted / LOOKS / ROUND).max(1) * ROUND;
    runs == ROUND || runs.is_multiple_of(every) || runs >= wanted
}

fn look(daemon: &Daemon, pool: &Pool<'_>) -> Result<Held> {
    // There is no event for "the last workspace is gone".
    thread::sleep(Duration::from_secs(RETENTION + 3));
    pool.wait_until_full()?;
    Ok(Held::by(daemon.pid()))
}

fn told(looks: &[(usize, Held)], wanted: usize) -> Measured {
    let mut table =
        Table::new(["held after", "resident MB", "proportional MB", "descriptors", "mounts", "processes"]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for (runs, held) in looks {
        table.row([
            format!("{runs} runs"),
            format!("{:.2}", megabytes(held.memory.resident)),
            or_dash(held.memory.proportional.map(|bytes| format!("{:.2}", megabytes(bytes)))),
            or_dash(held.descriptors.map(|count| count.to_string())),
            held.mounts.to_string(),
            held.processes.to_string(),
        ]);
    }
    let mut measured = Measured { tables: vec![table], charts: vec![chart(looks)], ..Measured::default() };
    measured.details = looks.iter().map(|(runs, held)| details(*runs, held)).collect();
    if let [(first, before), .., (last, after)] = looks {
        measured.figures = growth(before, after);
        if *last < wanted {
            measured.notes.push(format!("the time was over after {last} of {wanted} runs: not judged"));
            measured.figures.iter_mut().for_each(|figure| figure.target = None);
        }
        measured.notes.push(format!("growth is from {first} to {last} runs"));
    } else {
        measured.notes.push("looked at only once: there is nothing to compare with".to_owned());
    }
    measured
}

fn chart(looks: &[(usize, Held)]) -> Chart {
    let points = looks.iter().map(|(runs, held)| (*runs as f64, megabytes(held.memory.resident)));
    Chart {
        file: "long-memory".to_owned(),
        title: "Resident memory of the daemon's own process, at rest".to_owned(),
        x: Axis::linear("runs so far"),
        y: Axis::linear("MB"),
        lines: vec![Line::new("resident", points)],
    }
}

fn growth(before: &Held, after: &Held) -> Vec<Figure> {
    let memory = megabytes(after.memory.resident) - megabytes(before.memory.resident);
    let apart = |before: usize, after: usize| before.abs_diff(after) as f64;
    let descriptors = before.descriptors.zip(after.descriptors).map(|(before, after)| apart(before, after));
    vec![
        Figure::judged("the daemon's memory grew by", memory, "MB", targets::GROWTH_MB),
        Figure::judged("its descriptors changed by", descriptors, "", targets::UNCHANGED),
        Figure::judged("its mounts changed by", apart(before.mounts, after.mounts), "", targets::UNCHANGED),
        Figure::judged(
            "its processes changed by",
            apart(before.processes, after.processes),
            "",
            targets::UNCHANGED,
        ),
    ]
}

fn details(runs: usize, held: &Held) -> Value {
    json!({
        "runs": runs,
        "resident_bytes": held.memory.resident,
        "proportional_bytes": held.memory.proportional,
        "descriptors": held.descriptors,
        "mounts": held.mounts,
        "processes": held.processes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::footprint::Memory;

    fn held(megabytes: u64, descriptors: usize) -> Held {
        let memory = Memory { resident: megabytes * 1_000_000, proportional: None };
        Held { memory, descriptors: Some(descriptors), mounts: 7, processes: 3 }
    }

    #[test]
    fn the_first_thousand_the_last_and_ten_in_all_are_looked_at() {
        let looked: Vec<usize> =
            (1..=100).map(|round| round * ROUND).filter(|runs| is_looked_at(*runs, 100_000)).collect();
        assert_eq!(
            looked,
            [1000, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 70_000, 80_000, 90_000, 100_000]
        );
    }

    #[test]
    fn two_more_megabytes_are_allowed_and_one_more_descriptor_is_not() {
        let measured = told(&[(1000, held(10, 20)), (100_000, held(12, 21))], 100_000);
        let met: Vec<_> = measured.figures.iter().map(Figure::met).collect();
        assert_eq!(met, [Some(true), Some(false), Some(true), Some(true)]);
        let measured = told(&[(1000, held(10, 20)), (100_000, held(13, 20))], 100_000);
        assert_eq!(measured.figures[0].met(), Some(false));
    }

    #[test]
    fn a_run_that_was_cut_short_is_not_judged() {
        let measured = told(&[(1000, held(10, 20)), (50_000, held(10, 20))], 100_000);
        assert!(measured.figures.iter().all(|figure| figure.met().is_none()), "{measured:?}");
        assert!(measured.notes[0].contains("50000 of 100000"), "{measured:?}");
    }
}
