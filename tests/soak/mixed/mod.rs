//! Everything at once: jobs of every kind, every third of them hostile, while the control plane comes and goes. The good ones
//! do not notice, whoever asks how the daemon is gets an answer at once, and when it is quiet again nothing is left.
//!
//! ```text
//! load ──► quiet: a first look ──► load, measured ──► quiet: a second look, compared with the first
//! ```
//! Memory that is never given back shows as the difference of the two looks; what a daemon needs once is in both.

mod jobs;
mod still;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use conformance::{Daemon, Settings};
use control_plane_mock::{Action, Mock, Rule};
use serde_json::Value;

use crate::report::{Section, clock, thousands};
use crate::samples::Samples;
use crate::tally::Tally;
use crate::{Soak, leftovers, plane};
use jobs::{Came, Worker, is_hostile};
use still::{REMEMBERED, Still};

/// All of them busy, and a few callers in the queue.
const SLOTS: usize = 16;
const WORKERS: usize = 20;

/// Of each of the two parts.
const LOAD: Duration = Duration::from_secs(60);

/// The same, without a pool: there is a quarter of an hour for all scenarios.
const LOAD_COLD: Duration = Duration::from_secs(30);

/// With `--quick` less makes no sense.
const LEAST: Duration = Duration::from_secs(8);

const HEALTH_MS: f64 = 20.0;
const METRICS_MS: f64 = 5.0;

/// How much slower the good jobs of the last third may be than those of the first.
const DRIFT: f64 = 1.5;

const HEALTH_EVERY: Duration = Duration::from_millis(25);

/// The control plane is there for so long, and away for so long.
const THERE: Duration = Duration::from_secs(4);
const AWAY: Duration = Duration::from_secs(3);

const DRAIN: Duration = Duration::from_secs(30);

pub(crate) fn warm(soak: &Soak, section: &mut Section) {
    run(soak, section, Settings::new().warm(), LOAD);
}

pub(crate) fn cold(soak: &Soak, section: &mut Section) {
    run(soak, section, Settings::new(), LOAD_COLD);
}

/// What one part of the load saw.
#[derive(Debug, Default)]
struct Load {
    good: usize,
    hostile: usize,
    /// Of good jobs, in the order in which they ended, ms.
    latencies: Vec<f64>,
    surprises: Vec<String>,
    ids: Vec<String>,
    /// While every slot was taken, ms.
    health: Vec<f64>,
    metrics: Vec<f64>,
}

fn run(soak: &Soak, section: &mut Section, settings: Settings, time: Duration) {
    let time = soak.time(time).max(LEAST);
    let mock = plane::mock();
    plane::fail(&mock, soak.seed, failures());
    let daemon = settings
        .set("EXECUTOR_CONCURRENCY", SLOTS)
        .set("EXECUTOR_QUEUE", 100)
        .set("RETAINED_EXECUTIONS", REMEMBERED)
        // An artifact is fetched right after its run.
        .set("ARTIFACT_RETENTION_SECONDS", 2)
        .calling(&mock)
        .start();
    let http = conformance::daemon::client(Duration::from_secs(60));
    let url = format!("http://{}", daemon.address());
    let mut workers: Vec<_> =
        (0..WORKERS).map(|number| Worker::new(http.clone(), url.clone(), number)).collect();
    drop(http);

    let first = load(soak, &daemon, &mock, &mut workers, time, "first");
    let before = Still::of(soak, &daemon, "before");
    let measured = load(soak, &daemon, &mock, &mut workers, time, "measured");
    drop(workers);
    let delivered = soak.eventually(DRAIN, || leftovers::names(&daemon.results()).is_empty());
    let after = Still::of(soak, &daemon, "after");
    let tally = Tally::of(&mock);

    section.told(
        "good runs, hostile runs",
        format!("{}, {}", thousands(first.good + measured.good), thousands(first.hostile + measured.hostile)),
    );
    let surprises: Vec<String> = first.surprises.into_iter().chain(measured.surprises).collect();
    section.none("good runs that failed, hostile that broke us", &surprises);
    before.compare(&after, soak, section);
    let health = Samples::new(measured.health);
    let met = health.percentile(99.0) <= HEALTH_MS && health.percentile(100.0) > 0.0;
    section.must(
        "/health p99, every slot taken",
        format!("≤ {HEALTH_MS:.0} ms"),
        format!("{:.1} ms", health.percentile(99.0)),
        met,
    );
    section.told("/health", &health);
    let scrapes = Samples::new(measured.metrics);
    let median = scrapes.percentile(50.0);
    section.must(
        "/metrics, every slot taken",
        format!("≤ {METRICS_MS:.0} ms"),
        format!("{median:.1} ms"),
        median > 0.0 && median <= METRICS_MS,
    );
    section.told("/metrics", &scrapes);
    let third = measured.latencies.len() / 3;
    let early = Samples::new(measured.latencies[..third].to_vec());
    let late = Samples::new(measured.latencies[measured.latencies.len() - third..].to_vec());
    section.told("good runs, first third", &early);
    section.told("good runs, last third", &late);
    let drift = late.percentile(50.0) / early.percentile(50.0).max(0.1);
    // Of a few runs the median says more about the machine.
    let told = format!("{drift:.2} ×");
    if soak.quick {
        section.told("slower by", told);
    } else {
        section.must("slower by", format!("≤ {DRIFT} ×"), told, drift <= DRIFT);
    }
    let ids: Vec<String> = first.ids.into_iter().chain(measured.ids).collect();
    section.exactly("results accepted exactly once", ids.len(), tally.accepted_once(&ids));
    section.must(
        "all delivered",
        format!("≤ {}", clock(DRAIN)),
        delivered.map_or("never".to_owned(), clock),
        delivered.is_some(),
    );
    section.none("rules of the callbacks broken", &mock.violations());
    section.told("calls, and what was done to some", format!("{}; {}", tally.calls, tally.spoilt_words()));
    leftovers::end(daemon, section);
}

/// Keeps every slot busy for so long.
fn load(
    soak: &Soak,
    daemon: &Daemon,
    mock: &Mock,
    workers: &mut [Worker],
    time: Duration,
    name: &str,
) -> Load {
    let until = (Instant::now() + time).min(soak.deadline);
    let over = AtomicBool::new(false);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (next, over) = (&next, &over);
        let working: Vec<_> =
            workers.iter_mut().map(|worker| scope.spawn(move || work(worker, name, until, next))).collect();
        let watching = scope.spawn(|| watch(daemon, over));
        let flapping = scope.spawn(|| flap(mock, soak.seed, over));
        let mut all = Load::default();
        let mut seen: Vec<(Instant, f64)> = Vec::new();
        for worker in working {
            let (load, latencies) = worker.join().unwrap();
            all.good += load.good;
            all.hostile += load.hostile;
            all.surprises.extend(load.surprises);
            all.ids.extend(load.ids);
            seen.extend(latencies);
        }
        over.store(true, Ordering::SeqCst);
        (all.health, all.metrics) = watching.join().unwrap();
        flapping.join().unwrap();
        seen.sort_by_key(|(ended, _)| *ended);
        all.latencies = seen.into_iter().map(|(_, latency)| latency).collect();
        all
    })
}

fn work(worker: &mut Worker, name: &str, until: Instant, next: &AtomicUsize) -> (Load, Vec<(Instant, f64)>) {
    let (mut load, mut latencies) = (Load::default(), Vec::new());
    // Each begins elsewhere in the round, or all would be hostile at the same time.
    let mut job = worker.number;
    while Instant::now() < until {
        let id = format!("exec_{name}_{}", next.fetch_add(1, Ordering::Relaxed));
        let asked = Instant::now();
        let came = worker.do_one(job, &id);
        if is_hostile(job) {
            load.hostile += 1;
        } else {
            load.good += 1;
            latencies.push((Instant::now(), asked.elapsed().as_secs_f64() * 1e3));
        }
        match came {
            Came::AsItShould => load.ids.push(id),
            Came::Otherwise(why) => load.surprises.push(why),
        }
        job += 1;
    }
    (load, latencies)
}

/// How long answers take while every slot is taken: of `/health`, of `/metrics`.
fn watch(daemon: &Daemon, over: &AtomicBool) -> (Vec<f64>, Vec<f64>) {
    let http = conformance::daemon::client(Duration::from_secs(60));
    let get = |path: &str| {
        let asked = Instant::now();
        let answer = http.get(format!("http://{}{path}", daemon.address())).send().unwrap().text().unwrap();
        (answer, asked.elapsed().as_secs_f64() * 1e3)
    };
    let (mut health, mut metrics) = (Vec::new(), Vec::new());
    while !over.load(Ordering::SeqCst) {
        std::thread::sleep(HEALTH_EVERY);
        let (answer, took) = get("/health");
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        if answer["active_executions"] == SLOTS {
            health.push(took);
            metrics.push(get("/metrics").1);
        }
    }
    (health, metrics)
}

fn flap(mock: &Mock, seed: u64, over: &AtomicBool) {
    let pause = |time: Duration| {
        let until = Instant::now() + time;
        while Instant::now() < until && !over.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    while !over.load(Ordering::SeqCst) {
        pause(THERE);
        // Not `refuse_connections`: a call that it meets half-way is answered as one with half a body.
        mock.clear_script();
        mock.script(Rule::new(Action::Reset));
        pause(AWAY);
        mock.clear_script();
        plane::fail(mock, seed, failures());
    }
}

/// While it is there.
fn failures() -> Vec<(f64, Action)> {
    vec![
        (0.03, plane::status(500)),
        (0.02, plane::come_back()),
        (0.02, Action::Reset),
        (0.02, Action::CloseMidAnswer),
    ]
}
