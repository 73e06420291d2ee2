//! A minute without a control plane: callers do not notice, the log stays readable, and everything is delivered afterwards.
//!
//! Machines have good and bad minutes, so what is normal is measured in the same minute: by a twin, another daemon whose
//! control plane is there, in turns with the one that has none. Before the outage the two should not differ.

use std::time::{Duration, Instant};

use conformance::Settings;

use crate::client::{Answers, Client, script};
use crate::report::{Section, clock};
use crate::samples::Samples;
use crate::tally::Tally;
use crate::{Soak, leftovers, plane};

const WARM_UP: usize = 50;
const RUNS: usize = 500;
const OUTAGE: Duration = Duration::from_secs(60);

/// Two pauses between attempts, and a bit.
const DELIVERY: Duration = Duration::from_secs(25);

/// What a run may take in the outage, as a multiple of what it takes without.
const RATIO: f64 = 1.2;

/// The 99th percentile is the fifth worst of 500 runs: so much of it is the machine's.
const TAIL_MS: f64 = 2.0;

/// Of each kind, per second.
const LINES: f64 = 2.0;

/// One daemon's runs in one span of time.
#[derive(Debug, Default)]
struct Seen {
    answers: Answers,
    /// ms
    latencies: Vec<f64>,
}

pub(crate) fn run(soak: &Soak, section: &mut Section) {
    let (runs, time) = (soak.size(RUNS), soak.time(OUTAGE));
    let (mock, twin_mock) = (plane::mock(), plane::mock());
    let daemon = Settings::new().calling(&mock).start();
    let twin = Settings::new().calling(&twin_mock).start();
    let clients = [Client::new(daemon.address()), Client::new(twin.address())];
    for client in &clients {
        client.execute_all(soak, 1, WARM_UP, |n| script(&format!("exec_warm_{n}"), "true"));
    }
    let [before, twin_before] = in_turns(soak, &clients, time / 2, runs / 2, "before");

    mock.refuse_connections();
    let began = Instant::now();
    let [outage, twin_outage] = in_turns(soak, &clients, time, runs, "outage");
    std::thread::sleep(time.saturating_sub(began.elapsed()));
    let lasted = began.elapsed();
    let waiting = leftovers::names(&daemon.results()).len();
    let lines = ["callback_deferred", "heartbeat_missed"].map(|event| (event, daemon.events(event).len()));
    mock.accept_connections();

    let ids: Vec<String> = outage.answers.results.iter().map(|(id, _)| id.clone()).collect();
    let delivered = soak.eventually(DELIVERY * 2, || leftovers::names(&daemon.results()).is_empty());
    drop(clients);
    let tally = Tally::of(&mock);

    let all = [&before, &twin_before, &outage, &twin_outage];
    let answered = all.iter().map(|seen| seen.answers.results.len()).sum();
    let surprises: Vec<String> = all.iter().flat_map(|seen| seen.answers.surprises.clone()).collect();
    section.exactly("runs answered with 200 and success", 2 * (runs / 2 + runs), answered);
    section.none("runs answered otherwise", &surprises);
    let heard: Vec<_> = before.answers.results.into_iter().chain(outage.answers.results).collect();
    section.told("before the outage", Samples::new(before.latencies));
    section.told("its twin, meanwhile", Samples::new(twin_before.latencies));
    let (during, normal) = (Samples::new(outage.latencies), Samples::new(twin_outage.latencies));
    section.told("in the outage", &during);
    section.told("its twin, meanwhile", &normal);
    let bound = RATIO * normal.percentile(50.0);
    section.must(
        "p50 in the outage",
        format!("≤ {bound:.1} ms"),
        ms(&during, 50.0),
        during.percentile(50.0) <= bound,
    );
    let tail = RATIO * normal.percentile(99.0) + TAIL_MS;
    // Of a few runs it is the worst one, which says more about the machine.
    if soak.quick {
        section.told("p99 in the outage", ms(&during, 99.0));
    } else {
        let met = during.percentile(99.0) <= tail;
        section.must("p99 in the outage", format!("≤ {tail:.1} ms"), ms(&during, 99.0), met);
    }
    let counts = format!("{}, of its twin {}", during.above(bound), normal.above(bound));
    section.told(format!("runs above {RATIO} × the twin's p50"), counts);
    section.told("waiting at the end of the outage", waiting);
    section.exactly("results of the outage accepted exactly once", runs, tally.accepted_once(&ids));
    let took = delivered.map_or("never".to_owned(), clock);
    let in_time = delivered.is_some_and(|took| took <= DELIVERY);
    section.must("all delivered after the outage", format!("≤ {}", clock(DELIVERY)), took, in_time);
    for (event, count) in lines {
        let rate = count as f64 / lasted.as_secs_f64();
        let measured = format!("{rate:.2} a second");
        section.must(format!("{event} in the log"), format!("< {LINES:.0} a second"), measured, rate < LINES);
    }
    section.none("executions under two Idempotency-Keys", &tally.keyed_twice);
    let pairs = heard.iter().map(|(id, answer)| (id, answer));
    section.none("results that differ from the caller's", &tally.contradicted(pairs));
    section.none("rules of the callbacks broken", &mock.violations());
    section.none("rules of the callbacks broken by the twin", &twin_mock.violations());
    leftovers::end(twin, section);
    leftovers::end(daemon, section);
}

/// So many runs of each, evenly spread over this time, in turns.
fn in_turns(soak: &Soak, clients: &[Client; 2], time: Duration, runs: usize, name: &str) -> [Seen; 2] {
    let mut seen = [Seen::default(), Seen::default()];
    let began = Instant::now();
    for number in 0..runs {
        if soak.is_over() {
            break;
        }
        let due = began + time.mul_f64(number as f64 / runs as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let run = script(&format!("exec_{name}_{number}"), "true");
        // The second of the two may find the caches warm: each is the second half of the time.
        for which in [number % 2, (number + 1) % 2] {
            let asked = Instant::now();
            let heard = clients[which].execute(&run);
            seen[which].latencies.push(asked.elapsed().as_secs_f64() * 1e3);
            seen[which].answers.note(&run, heard);
        }
    }
    seen
}

fn ms(samples: &Samples, percent: f64) -> String {
    format!("{:.1} ms", samples.percentile(percent))
}
