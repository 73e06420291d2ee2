//! Large answers: 10 MiB of output against bare bubblewrap, and a manifest of 10,000 files; and what they leave in memory.

use serde_json::json;

use crate::{
    client::Client,
    daemon::{Daemon, settings::Settings},
    error::{BenchError, Result, doing},
    load::{Side, closed::Quota},
    report::{Measured, figure::Figure, progress, table::Table, targets},
    setup::Setup,
    stats::{SUMMARY_HEAD, Samples, median},
    workloads,
};

pub(super) fn measure(setup: &Setup<'_>) -> Result<Measured> {
    let daemon = setup.daemon(Settings::cold())?;
    let workload = workloads::large_output();
    let mut sides = [Side::bare(&setup.bare, 1), Side::cold(&daemon, 1)?];
    let mut samples = [Samples::default(), Samples::default()];
    progress("large: 10 MiB of output");
    for turn in 0..=setup.effort.runs(&workload) {
        for place in 0..sides.len() {
            let which = (turn + place) % sides.len();
            let done = sides[which].closed(&workload, Quota::Runs(1))?;
            // The first warms up.
            if turn > 0 {
                samples[which].add_block(done.latencies, done.elapsed);
            }
        }
    }
    let [bare, cold] = samples.map(|samples| samples.summary());
    let mut table = Table::new(["large answers, ms", "side"].into_iter().chain(SUMMARY_HEAD));
    for (side, summary) in [("bare", &bare), ("cold", &cold)] {
        table.row([workload.name.to_owned(), side.to_owned()].into_iter().chain(summary.cells()));
    }
    progress("large: a manifest of 10,000 files");
    let manifest_ms = manifest(&daemon, setup.effort.repeats())?;
    let over = cold.p50_ms - bare.p50_ms;
    let collect = median(&manifest_ms);
    Ok(Measured {
        daemons: vec![daemon.settings.clone()],
        tables: vec![table],
        figures: vec![
            Figure::judged("10 MiB of stdout over bare, p50", over, "ms", targets::LARGE_OUTPUT_MS),
            Figure::judged("manifest of 10,000 files, p50", collect, "ms", targets::MANIFEST_MS),
            super::resident("resident memory after large answers", &daemon),
        ],
        details: json!({ "bare": bare, "cold": cold, "manifest_collect_ms": manifest_ms }),
        ..Measured::default()
    })
}

/// `phases_ms.collect` of runs that leave 10,000 files behind.
fn manifest(daemon: &Daemon, runs: usize) -> Result<Vec<f64>> {
    let mut client = Client::connect(daemon.address).map_err(doing("connect to the daemon"))?;
    (0..runs)
        .map(|_| {
            let record = client.execute(&workloads::many_files_request())?.json()?;
            let found = record["artifacts"].as_array().map_or(0, Vec::len);
            if record["status"] != "success" || found < 1000 {
                return Err(BenchError::WrongWork {
                    who: "the daemon",
                    workload: "manifest of 10,000 files",
                    why: format!("status {}, {found} artifacts, {}", record["status"], record["stderr"]),
                });
            }
            record["metrics"]["phases_ms"]["collect"].as_f64().ok_or_else(|| BenchError::NoNumber {
                field: "/metrics/phases_ms/collect",
                answer: record.to_string().chars().take(600).collect(),
            })
        })
        .collect()
}
