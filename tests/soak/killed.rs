//! SIGKILL under load, again and again: what a daemon had accepted is reported exactly once by it or by its successors. Some
//! successors die while they still take over.
//!
//! Accepted is what its caller got an answer for, and what has a file in `RESULTS_DIR` when the daemon is dead. Some runs
//! never end by themselves and leave processes behind: whatever of a sandbox outlives its daemon is still there in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use conformance::{Daemon, INTERNAL_TOKEN, Remains, Settings, processes, settings};
use control_plane_mock::{Action, Mock};
use serde_json::{Value, json};

use crate::chance::Chance;
use crate::client::{Client, Heard, script};
use crate::report::{Section, clock, thousands};
use crate::tally::Tally;
use crate::{Soak, leftovers, plane};

const KILLS: usize = 200;
const CLIENTS: u64 = 4;

/// From the moment when a daemon is ready, in ms.
const EARLIEST: u64 = 5;
const LATEST: u64 = 300;

/// One in so many daemons is followed by one that is killed while it starts, up to so many ms after it was started.
const FALSE_START: u64 = 4;
const STARTING: u64 = 80;

/// How many kills there are from one look at the machine's processes to the next: looking takes a while.
const LOOK_EVERY: usize = 5;

/// After the last restart.
const DRAIN: Duration = Duration::from_secs(60);

/// What the world saw of all daemons together.
#[derive(Debug, Default)]
struct Books {
    posted: BTreeSet<String>,
    answered: BTreeMap<String, Value>,
    /// In `RESULTS_DIR` when a daemon was dead.
    on_disk: BTreeSet<String>,
    /// Of them, those whose run was not over.
    unfinished: BTreeSet<String>,
    /// At most, of processes of sandboxes while a daemon lived: that they can be seen is what makes none of them worth a figure.
    inhabitants: usize,
    /// Answers that were neither a result nor the end of a connection to a daemon that was killed.
    surprises: Vec<String>,
}

pub(crate) fn run(soak: &Soak, section: &mut Section) {
    let kills = soak.size(KILLS);
    let marker = format!("soak-{:x}-{:x}", std::process::id(), soak.seed);
    let mock = plane::mock();
    plane::fail(&mock, soak.seed, failures());
    let mut chance = Chance::new(soak.seed, 0);
    let mut books = Books::default();
    let mut errors = Vec::new();
    let (mut killed, mut false_starts) = (0, 0);
    let mut daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 4).calling(&mock).start();
    while killed < kills && !soak.is_over() {
        let moment = chance.milliseconds(EARLIEST, LATEST);
        let remains = round(daemon, killed, moment, soak.seed, &marker, &mut books, &mut errors);
        killed += 1;
        if chance.one_in(FALSE_START) && killed < kills {
            false_start(&remains, &mock, chance.milliseconds(0, STARTING));
            killed += 1;
            false_starts += 1;
        }
        daemon = remains.restart();
    }
    let drained = soak.eventually(DRAIN, || leftovers::names(&daemon.results()).is_empty());
    let sessions = daemon.home().join("sessions");
    let cleaned = soak.eventually(DRAIN, || leftovers::workspaces(&sessions).is_empty());
    let strays: Vec<String> = processes::mentioning(&marker).iter().map(ToString::to_string).collect();
    let tally = Tally::of(&mock);

    let accepted: BTreeSet<&String> = books.answered.keys().chain(&books.on_disk).collect();
    section.exactly("times killed", kills, killed);
    section.told("of them while they started", false_starts);
    section.none("answers that no kill explains", &books.surprises);
    section.exactly(
        "accepted, and reported exactly once",
        accepted.len(),
        tally.accepted_once(accepted.iter().copied()),
    );
    section.none("executions under two Idempotency-Keys", &tally.keyed_twice);
    let doubled = tally.accepted.iter().filter(|(_, results)| results.len() > 1);
    section.none("executions accepted twice", &doubled.map(|(id, _)| id.clone()).collect::<Vec<_>>());
    section.none("answers that the report contradicts", &tally.contradicted(&books.answered));
    section.none("unfinished, but not reported as crashed", &tally.not_crashed(&books.unfinished));
    let invented = tally.accepted.keys().filter(|id| !books.posted.contains(*id));
    section.none("reported, but never posted", &invented.cloned().collect::<Vec<_>>());
    section.none("retries with another body", &tally.changed);
    section.none("rules of the callbacks broken", &mock.violations());
    section.none("left in RESULTS_DIR", &leftovers::names(&daemon.results()));
    section.none("workspaces left", &leftovers::workspaces(&sessions));
    section.none("processes left", &strays);
    section.must("processes of one daemon, at most", "≥ 1", books.inhabitants, books.inhabitants > 0);
    section.none("errors in the logs of the killed", &errors);
    leftovers::end(daemon, section);
    let enough = killed / 2;
    let met = books.unfinished.len();
    section.must("runs that a kill met", format!("≥ {enough}"), thousands(met), met >= enough);
    section.told("runs posted", thousands(books.posted.len()));
    section.told("of them answered", thousands(books.answered.len()));
    section.told("found on disk after a kill", thousands(books.on_disk.len()));
    section.told("calls, and what was done to some", format!("{}; {}", tally.calls, tally.spoilt_words()));
    section.told("all delivered after the last restart", drained.map_or("never".to_owned(), clock));
    section.told("workspaces gone after that", cleaned.map_or("never".to_owned(), clock));
}

/// Load, a kill, and a look at what is left.
fn round(
    daemon: Daemon,
    number: usize,
    moment: Duration,
    seed: u64,
    marker: &str,
    books: &mut Books,
    errors: &mut Vec<String>,
) -> Remains {
    let dying = AtomicBool::new(false);
    let (address, dying) = (daemon.address(), &dying);
    let load = |client: u64| {
        let chance = Chance::new(seed, 1 + number as u64 * CLIENTS + client);
        load(address, &format!("exec_killed_{number}_{client}"), marker, chance, dying)
    };
    let remains = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || load(client))).collect();
        std::thread::sleep(moment);
        errors.extend(leftovers::errors(&daemon.log()));
        if number.is_multiple_of(LOOK_EVERY) {
            books.inhabitants = books.inhabitants.max(processes::mentioning(marker).len());
        }
        dying.store(true, Ordering::SeqCst);
        let remains = daemon.kill();
        for client in clients {
            let mut seen = client.join().unwrap();
            books.posted.append(&mut seen.posted);
            books.answered.append(&mut seen.answered);
            books.surprises.append(&mut seen.surprises);
        }
        remains
    });
    let names = leftovers::names(&remains.results());
    let with = |suffix: &str| -> BTreeSet<String> {
        names.iter().filter_map(|name| name.strip_suffix(suffix)).map(str::to_owned).collect()
    };
    let (finished, running) = (with(".json"), with(".running"));
    books.unfinished.extend(running.difference(&finished).cloned());
    books.on_disk.extend(finished.into_iter().chain(running));
    remains
}

/// The next daemon, killed before it is ready, or hardly later.
fn false_start(remains: &Remains, mock: &Mock, moment: Duration) {
    let results = remains.results();
    let home = results.parent().unwrap();
    let mut daemon = settings::command()
        .env_clear()
        .envs([
            ("PATH", "/usr/bin:/bin"),
            ("CONTAINER_ID", "conformance"),
            ("INTERNAL_API_TOKEN", INTERNAL_TOKEN),
        ])
        .envs([("EXECUTOR_HOST", "127.0.0.1"), ("EXECUTOR_PORT", "0"), ("CONTROL_PLANE_URL", &mock.url())])
        .env("WORKSPACE_PATH", home.join("workspace"))
        .env("SESSIONS_PATH", home.join("sessions"))
        .env("RESULTS_DIR", &results)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(moment);
    let ended = daemon.try_wait().unwrap();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert_eq!(ended, None, "a daemon ended by itself within {moment:?} of its start");
}

/// One client, until its daemon is gone.
fn load(address: SocketAddr, prefix: &str, marker: &str, mut chance: Chance, dying: &AtomicBool) -> Books {
    let client = Client::new(address);
    let mut books = Books::default();
    for number in 0.. {
        let id = format!("{prefix}_{number}");
        let mut run = script(&id, &code(&id, &mut chance));
        run["env_vars"] = json!({ "SOAK": marker });
        books.posted.insert(id.clone());
        match client.execute(&run) {
            Heard::Result(result) => {
                books.answered.insert(id, result);
            }
            Heard::Nothing(_) if dying.load(Ordering::SeqCst) => break,
            Heard::Refused(why) | Heard::Nothing(why) => {
                books.surprises.push(format!("{id}: {why}"));
                break;
            }
        }
    }
    books
}

fn code(id: &str, chance: &mut Chance) -> String {
    // Without an end, and with a process that belongs to nobody.
    if chance.one_in(20) {
        return format!("echo {id}; setsid sleep 600 & sleep 600");
    }
    let file = if chance.one_in(10) { "echo kept > artifact.txt; " } else { "" };
    let seconds = chance.milliseconds(0, 200).as_secs_f64();
    format!("echo {id}; {file}sleep {seconds:.3}; echo {id} is over")
}

/// 10 % of calls are not accepted, and 3 % are without the daemon hearing it.
fn failures() -> Vec<(f64, Action)> {
    vec![
        (0.04, plane::status(500)),
        (0.02, plane::come_back()),
        (0.02, Action::Reset),
        (0.02, Action::CloseMidAnswer),
        (0.03, Action::AcceptThenClose),
    ]
}
