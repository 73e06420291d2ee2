//! A hundred requests at the same moment, after a time in which nobody asked: first, median and last answer, and who was refused.
//!
//! Once with the queue as it is shipped, which refuses most of them, and once with one that takes them all.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    charts::{Axis, Chart, Line},
    daemon::{pool::Pool, settings::Settings},
    error::Result,
    load::{Side, closed::Quota, open::Stream, schedule::Arrivals},
    report::{Measured, figure::Figure, progress, table::Table},
    setup::Setup,
    stats::{largest, median, milliseconds, percentile},
    workloads,
};

const SIZE: usize = 100;
const POOL: usize = 8;
const IDLE: Duration = Duration::from_secs(2);
const QUEUES: [(&str, usize); 2] = [("the queue as shipped", 10), ("a queue for all", 128)];

pub(super) fn measure(setup: &Setup<'_>) -> Result<Measured> {
    let workload = workloads::python_handler();
    let mut measured = Measured::default();
    let (mut details, mut lines) = (Vec::new(), Vec::new());
    let mut table = Table::new(["burst of 100, ms", "first", "median", "last", "answered", "refused"]);
    for (role, queue) in QUEUES {
        progress(&format!("burst: {role}"));
        let settings = Settings::waiting(role, workload.pool, POOL).with("EXECUTOR_QUEUE", queue);
        let daemon = setup.daemon(settings)?;
        measured.daemons.push(daemon.settings.clone());
        Side::cold(&daemon, 1)?.closed(&workload, Quota::Runs(1))?;
        let pool = Pool::of(&daemon)?;
        let mut bursts = Vec::new();
        for _ in 0..setup.effort.repeats() {
            pool.wait_until_full()?;
            thread::sleep(IDLE);
            // New connections, made before the burst: what is measured is the daemon, not a hundred handshakes.
            bursts.push(Side::warm(&pool, SIZE)?.open(&workload, Arrivals::burst(SIZE))?);
        }
        let of_each = |read: fn(&[f64]) -> f64| -> f64 {
            let values: Vec<f64> = bursts
                .iter()
                .map(|burst| {
                    let latencies: Vec<f64> = burst.latencies.iter().copied().map(milliseconds).collect();
                    read(&latencies)
                })
                .collect();
            median(&values)
        };
        let (first, middle, last) = (of_each(|ms| percentile(ms, 0.0)), of_each(median), of_each(largest));
        let counts: Vec<f64> = bursts.iter().map(|burst| burst.refused as f64).collect();
        let refused = median(&counts);
        let times = [first, middle, last].map(|ms| format!("{ms:.1}"));
        let counts = [SIZE as f64 - refused, refused].map(|count| format!("{count:.0}"));
        table.row([role.to_owned()].into_iter().chain(times).chain(counts));
        lines.extend(bursts.first().map(|burst| line(role, burst)));
        measured.figures.push(Figure::told(format!("burst, {role}: last answer"), last, "ms"));
        measured.figures.push(Figure::told(format!("burst, {role}: refused"), refused, ""));
        details.push(json!({
            "role": role, "first_ms": first, "median_ms": middle, "last_ms": last, "refused": refused,
            "bursts": bursts.len(),
        }));
    }
    measured.charts.push(Chart {
        file: "burst".to_owned(),
        title: "A burst of 100 Python handlers, the first one measured".to_owned(),
        x: Axis::linear("answers so far"),
        y: Axis::linear("ms since the burst"),
        lines,
    });
    measured.notes.push(format!("medians of {} bursts each", setup.effort.repeats()));
    measured.tables.push(table);
    measured.details = Value::Array(details);
    Ok(measured)
}

fn line(role: &str, burst: &Stream) -> Line {
    let mut latencies: Vec<f64> = burst.latencies.iter().copied().map(milliseconds).collect();
    latencies.sort_by(f64::total_cmp);
    Line::new(role, latencies.into_iter().enumerate().map(|(before, ms)| (before as f64 + 1.0, ms)))
}
