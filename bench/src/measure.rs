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

use control_plane_mock::{Mock, Options};
use serde_json::Value;

use crate::{
    bare::Bare,
    client::{Answer, Client},
    daemon::{Daemon, Memory},
    error::{BenchError, Result, doing},
    stats::{Samples, Summary, median, milliseconds},
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

/// One language with a sandbox that waits, beside bare bubblewrap, asked for one at a time.
#[derive(Debug)]
pub(crate) struct Warm {
    pub(crate) workload: &'static str,
    pub(crate) bare: Summary,
    pub(crate) daemon: Summary,
}

/// Each request comes when the pool is full and at rest.
pub(crate) fn warm(binary: &Path, parent: &Path, bare: &Bare, runs: usize) -> Result<Vec<Warm>> {
    let daemon = Daemon::warm(binary, parent)?;
    let full = fullest(&daemon)?;
    let mut measured = Vec::new();
    for workload in workloads::languages() {
        let runs = (runs / workload.runs_divisor).max(2);
        let mut clients = connect(&daemon, 1)?;
        let (mut bare_samples, mut samples) = (Samples::default(), Samples::default());
        for turn in 0..=runs {
            daemon.wait_for_pool(&full)?;
            let (answers, elapsed) = share_out(&mut clients, 1, |client| {
                let answer = client.execute(&workload.request)?;
                let record = check(&workload, &answer)?;
                Ok((answer.elapsed, record["metrics"]["sandbox"] == "warm"))
            })?;
            // The first of a kind may find what was prepared for others.
            if turn == 0 {
                continue;
            }
            if answers.iter().any(|(_, warm)| !warm) {
                let why = "a run found no sandbox in a full pool".to_owned();
                return Err(BenchError::WrongWork { who: "the daemon", workload: workload.name, why });
            }
            samples.add_block(answers.into_iter().map(|(latency, _)| latency).collect(), elapsed);
            // What fills the pool must not slow the other side down.
            daemon.wait_for_pool(&full)?;
            bare_block(&workload, bare, 1, 1, &mut bare_samples)?;
        }
        let (bare, daemon) = (bare_samples.summary(), samples.summary());
        measured.push(Warm { workload: workload.name, bare, daemon });
    }
    Ok(measured)
}

/// How many wait when no more come.
fn fullest(daemon: &Daemon) -> Result<[u64; 3]> {
    let mut full = daemon.waiting()?;
    loop {
        thread::sleep(Duration::from_secs(1));
        let now = daemon.waiting()?;
        if now == full {
            return Ok(full);
        }
        full = now;
    }
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

/// What reporting to a control plane adds, as differences of two daemons' medians, in ms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ControlPlane {
    /// To the part of an answer that is in none of its phases: there the result is written to disk.
    pub(crate) outbox_ms: f64,
    /// To the whole answer. Everything that comes with it is in it: the heartbeat, the delivery, and the control plane
    /// itself, which shares the machine.
    pub(crate) whole_ms: f64,
}

pub(crate) fn control_plane(
    binary: &Path,
    parent: &Path,
    plain: &Daemon,
    runs: usize,
) -> Result<ControlPlane> {
    let mock = Mock::start(Options::default()).map_err(doing("start a control plane"))?;
    let calling = Daemon::calling(binary, parent, &mock)?;
    let sides = take_turns([plain, &calling], runs, |answer, result| {
        let phases = result["metrics"]["phases_ms"].as_object().into_iter();
        let in_phases: f64 = phases.flat_map(|phases| phases.values()).filter_map(Value::as_f64).sum();
        let whole = milliseconds(answer.elapsed);
        (whole, whole - in_phases)
    })?;
    let medians = sides.map(|samples| {
        let (whole, outside): (Vec<f64>, Vec<f64>) = samples.into_iter().unzip();
        (median(&whole), median(&outside))
    });
    let [(plain_whole, plain_outside), (whole, outside)] = medians;
    Ok(ControlPlane { outbox_ms: outside - plain_outside, whole_ms: whole - plain_whole })
}

/// What a cgroup for each run adds to a median answer, in milliseconds: beside a daemon that can make none. Nothing where
/// `plain` can make none either.
pub(crate) fn cgroup(binary: &Path, parent: &Path, plain: &Daemon, runs: usize) -> Result<Option<f64>> {
    if !plain.makes_cgroups()? {
        return Ok(None);
    }
    let without = Daemon::without_cgroups(binary, parent)?;
    let sides = take_turns([&without, plain], runs, |answer, _result| milliseconds(answer.elapsed))?;
    let [without, with] = sides.map(|samples| median(&samples));
    Ok(Some(with - without))
}

/// Runs of a shell's `true`, ten on one daemon, ten on the other; and what is read from each answer.
fn take_turns<T: Send>(
    daemons: [&Daemon; 2],
    runs: usize,
    read: impl Fn(&Answer, &Value) -> T + Sync,
) -> Result<[Vec<T>; 2]> {
    let shell = workloads::languages().remove(0);
    let [first, second] = daemons;
    let mut sides = [(connect(first, 1)?, Vec::new()), (connect(second, 1)?, Vec::new())];
    // The first ten of each warm it up. Whoever was second is first next time.
    for turn in 0..runs.div_ceil(10) + 1 {
        let order = if turn % 2 == 0 { [0, 1] } else { [1, 0] };
        for side in order {
            let (clients, samples) = &mut sides[side];
            let (answers, _) = share_out(clients, 10, |client| {
                let answer = client.execute(&shell.request)?;
                Ok(read(&answer, &check(&shell, &answer)?))
            })?;
            if turn > 0 {
                samples.extend(answers);
            }
        }
    }
    Ok(sides.map(|(_, samples)| samples))
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
