//! User code has every CPU; heartbeats keep their time all the same.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use conformance::Settings;
use control_plane_mock::{Call, Kind, Mock};
use serde_json::json;

use crate::client::{Client, Heard, script};
use crate::report::Section;
use crate::{Soak, leftovers, plane};

const RUNS: usize = 2;
const BUSY: Duration = Duration::from_secs(31);

/// With `--quick`: two intervals at least.
const BUSY_QUICK: Duration = Duration::from_secs(11);

const INTERVAL: f64 = 5.0;
const SLACK: f64 = 1.0;

/// "At once".
const FIRST: f64 = 1.0;

pub(crate) fn run(soak: &Soak, section: &mut Section) {
    let busy = if soak.quick { BUSY_QUICK } else { BUSY }.as_secs();
    let mock = plane::mock();
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", RUNS).calling(&mock).start();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let burners = (2 * cpus).clamp(4, 64);
    let code = format!(
        "for n in $(seq {burners}); do timeout {busy} sh -c 'while :; do :; done' & done; wait; echo done"
    );
    let client = Client::new(daemon.address());
    let (client, code) = (&client, code.as_str());
    let (began, posted_ms) = (Instant::now(), now_ms());
    let heard: Vec<(String, Heard)> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..RUNS)
            .map(|n| {
                scope.spawn(move || {
                    let id = format!("exec_busy_{n}");
                    let mut run = script(&id, code);
                    run["timeout"] = json!(busy + 20);
                    (id, client.execute(&run))
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    section.told("processes that never rest, on so many CPUs", format!("{}, {cpus}", RUNS * burners));
    section.told("time that they took", format!("{:.1} s", began.elapsed().as_secs_f64()));
    for (id, heard) in &heard {
        let done = matches!(heard, Heard::Result(result) if result["stdout"] == "done\n");
        section.must(
            format!("{id} is answered"),
            "done",
            if done { "done".to_owned() } else { format!("{heard:?}") },
            done,
        );
    }
    let delivered =
        soak.eventually(Duration::from_secs(20), || leftovers::names(&daemon.results()).is_empty());
    section.must(
        "results delivered",
        "yes",
        if delivered.is_some() { "yes" } else { "no" },
        delivered.is_some(),
    );
    for (id, _) in &heard {
        judge(&mock, id, posted_ms, busy, section);
    }
    section.none("rules of the callbacks broken", &mock.violations());
    leftovers::end(daemon, section);
}

/// The heartbeats of one run.
fn judge(mock: &Mock, id: &str, posted_ms: i64, busy: u64, section: &mut Section) {
    let of_it = |call: &&Call| call.execution_id.as_deref() == Some(id);
    let arrivals = |kind: Kind| {
        plane::look(mock, |calls| {
            let calls = calls.iter().filter(of_it).filter(|call| call.kind == kind);
            calls
                .map(|call| (call.arrived_after.as_secs_f64(), call.arrived.as_millisecond()))
                .collect::<Vec<_>>()
        })
    };
    let (beats, results) = (arrivals(Kind::Heartbeat), arrivals(Kind::Result));
    let expected = (busy as f64 / (INTERVAL + SLACK)) as usize + 1;
    section.must(format!("{id}: heartbeats"), format!("≥ {expected}"), beats.len(), beats.len() >= expected);
    let (Some(first), Some(last), Some(result)) = (beats.first(), beats.last(), results.first()) else {
        section.must(format!("{id}: heartbeats and a result"), "yes", "no", false);
        return;
    };
    let late = (first.1 - posted_ms) as f64 / 1e3;
    let bound = format!("≤ {FIRST:.1} s");
    section.must(format!("{id}: the first, after the request"), bound, format!("{late:.2} s"), late <= FIRST);
    let intervals: Vec<f64> = beats.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let least = intervals.iter().copied().fold(f64::INFINITY, f64::min);
    let most = intervals.iter().copied().fold(0.0, f64::max);
    let within = intervals.iter().all(|interval| (interval - INTERVAL).abs() <= SLACK);
    let bounds = format!("{:.1} to {:.1} s", INTERVAL - SLACK, INTERVAL + SLACK);
    section.must(format!("{id}: between two"), bounds, format!("{least:.2} to {most:.2} s"), within);
    let end = result.0 - last.0;
    let bound = format!("0 to {:.1} s", INTERVAL + SLACK);
    let in_time = (0.0..=INTERVAL + SLACK).contains(&end);
    section.must(format!("{id}: from the last to the result"), bound, format!("{end:.2} s"), in_time);
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
