//! Takes the measurements, each a plain function from a running daemon (or none) to figures. Judges nothing.
//!
//! Daemon and bare bubblewrap take turns in short blocks, and every second pair of turns is the other way round, so that a
//! machine that warms up, or a neighbour who comes and goes, is felt by both sides alike.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    bare::Bare,
    client::{Answer, Client},
    daemon::{Daemon, Memory},
    error::{BenchError, Result, doing},
    stats::{Samples, Summary, milliseconds},
    workloads::{self, Expect, Workload},
};

/// One workload at one concurrency, both sides. The daemon's side is absent in a bare-only run.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) workload: &'static str,
    pub(crate) concurrency: usize,
    pub(crate) bare: Summary,
    pub(crate) daemon: Option<Summary>,
    /// Each run's `metrics.phases_ms`, as the daemon reports them.
    pub(crate) phases: Vec<Value>,
}

pub(crate) fn compare(
    workload: &Workload,
    concurrency: usize,
    runs: usize,
    bare: &Bare,
    daemon: Option<&Daemon>,
) -> Result<Comparison> {
    let mut clients = match daemon {
        Some(daemon) => connect(daemon, concurrency)?,
        None => Vec::new(),
    };
    // Warm-up: page cache, connections, the daemon's own first times.
    bare_block(workload, bare, concurrency, concurrency.max(3), &mut Samples::default())?;
    if daemon.is_some() {
        daemon_block(workload, &mut clients, concurrency.max(3), &mut Samples::default(), &mut Vec::new())?;
    }
    let (mut bare_samples, mut daemon_samples, mut phases) =
        (Samples::default(), Samples::default(), Vec::new());
    // Long enough that the tail of a block, when not every worker is busy, weighs little.
    let block = (4 * concurrency).max(10).min(runs);
    for turn in 0..runs.div_ceil(block) {
        let bare_first = turn % 2 == 0;
        if bare_first {
            bare_block(workload, bare, concurrency, block, &mut bare_samples)?;
        }
        if daemon.is_some() {
            daemon_block(workload, &mut clients, block, &mut daemon_samples, &mut phases)?;
        }
        if !bare_first {
            bare_block(workload, bare, concurrency, block, &mut bare_samples)?;
        }
    }
    Ok(Comparison {
        workload: workload.name,
        concurrency,
        bare: bare_samples.summary(),
        daemon: daemon.map(|_| daemon_samples.summary()),
        phases,
    })
}

fn connect(daemon: &Daemon, count: usize) -> Result<Vec<Client>> {
    (0..count).map(|_| Client::connect(daemon.address).map_err(doing("connect to the daemon"))).collect()
}

fn bare_block(
    workload: &Workload,
    bare: &Bare,
    workers: usize,
    runs: usize,
    into: &mut Samples,
) -> Result<()> {
    let mut workers = vec![(); workers];
    let (latencies, elapsed) = share_out(&mut workers, runs, |()| bare.run(workload))?;
    into.add_block(latencies, elapsed);
    Ok(())
}

fn daemon_block(
    workload: &Workload,
    clients: &mut [Client],
    runs: usize,
    into: &mut Samples,
    phases: &mut Vec<Value>,
) -> Result<()> {
    let (answers, elapsed) = share_out(clients, runs, |client| {
        let answer = client.execute(&workload.request)?;
        let record = check(workload, &answer)?;
        Ok((answer.elapsed, record["metrics"]["phases_ms"].clone()))
    })?;
    let (latencies, reported): (Vec<Duration>, Vec<Value>) = answers.into_iter().unzip();
    into.add_block(latencies, elapsed);
    phases.extend(reported);
    Ok(())
}

/// Does `runs` pieces of work with all workers at once; whoever is free takes the next.
fn share_out<Worker: Send, Done: Send>(
    workers: &mut [Worker],
    runs: usize,
    work: impl Fn(&mut Worker) -> Result<Done> + Sync,
) -> Result<(Vec<Done>, Duration)> {
    let taken = AtomicUsize::new(0);
    let begin = Instant::now();
    let done = thread::scope(|scope| {
        let threads: Vec<_> = workers
            .iter_mut()
            .map(|worker| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    while taken.fetch_add(1, Ordering::Relaxed) < runs {
                        done.push(work(worker)?);
                    }
                    Ok(done)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread.join().expect("a worker of the benchmark returns its failures, it does not panic")
            })
            .collect::<Result<Vec<Vec<Done>>>>()
    })?;
    Ok((done.into_iter().flatten().collect(), begin.elapsed()))
}

fn check(workload: &Workload, answer: &Answer) -> Result<Value> {
    let record = parse(answer)?;
    let right = record["status"] == "success"
        && match &workload.expect {
            Expect::Json(value) => record["return_value"] == *value,
            Expect::StdoutBytes(bytes) => record["stdout"].as_str().is_some_and(|text| text.len() == *bytes),
            Expect::Nothing => record["stdout"] == "",
        };
    if right {
        return Ok(record);
    }
    let why: String = record.to_string().chars().take(600).collect();
    Err(BenchError::WrongWork { who: "the daemon", workload: workload.name, why })
}

fn parse(answer: &Answer) -> Result<Value> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| BenchError::Protocol { why: format!("the body is not JSON: {error}") })
}

fn number(record: &Value, field: &'static str) -> Result<f64> {
    record
        .pointer(field)
        .and_then(Value::as_f64)
        .ok_or_else(|| BenchError::NoNumber { field, answer: record.to_string().chars().take(600).collect() })
}

/// Start-up times of `starts` new daemons, in ms, and the idle memory of the last, a second after it answered.
pub(crate) fn start_up(binary: &Path, parent: &Path, starts: usize) -> Result<(Vec<f64>, Memory)> {
    let mut times = Vec::new();
    for _ in 1..starts {
        times.push(milliseconds(Daemon::start(binary, parent)?.start_up));
    }
    let last = Daemon::start(binary, parent)?;
    times.push(milliseconds(last.start_up));
    // Not waiting for an event: "idle" means that nothing has happened for a while.
    thread::sleep(Duration::from_secs(1));
    Ok((times, last.memory()?))
}

/// `phases_ms.collect` of runs that leave 10,000 files behind.
pub(crate) fn manifest(daemon: &Daemon, runs: usize) -> Result<Vec<f64>> {
    let mut client = Client::connect(daemon.address).map_err(doing("connect to the daemon"))?;
    (0..runs)
        .map(|_| {
            let record = parse(&client.execute(&workloads::many_files_request())?)?;
            let found = record["artifacts"].as_array().map_or(0, Vec::len);
            if record["status"] != "success" || found < 1000 {
                return Err(BenchError::WrongWork {
                    who: "the daemon",
                    workload: "manifest of 10,000 files",
                    why: format!("status {}, {found} artifacts, {}", record["status"], record["stderr"]),
                });
            }
            number(&record, "/metrics/phases_ms/collect")
        })
        .collect()
}

/// How much later than its limit of 1 s an endless program's answer came, seen from outside: ms, one per run. Building the
/// sandbox is in it, so the daemon cannot look better by starting its clock late.
pub(crate) fn timeout_lateness(daemon: &Daemon, rounds: usize) -> Result<Vec<f64>> {
    let mut client = Client::connect(daemon.address).map_err(doing("connect to the daemon"))?;
    let mut late = Vec::new();
    for _ in 0..rounds {
        for request in workloads::endless_requests() {
            let answer = client.execute(&request)?;
            let record = parse(&answer)?;
            if record["status"] != "timeout" {
                return Err(BenchError::WrongWork {
                    who: "the daemon",
                    workload: "timeout",
                    why: record.to_string().chars().take(600).collect(),
                });
            }
            late.push(milliseconds(answer.elapsed) - 1000.0);
        }
    }
    Ok(late)
}
