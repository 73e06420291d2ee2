//! A control plane that takes every call and answers none: callers do not notice, and memory stays bounded.

use std::time::{Duration, Instant};

use conformance::Settings;
use control_plane_mock::{Action, Rule};

use crate::client::{Client, script, threads};
use crate::report::{Section, clock};
use crate::tally::Tally;
use crate::{Soak, leftovers, plane};

const RUNS: usize = 100;

/// Longer than the daemon waits for an answer.
const STALL: f64 = 60.0;
const HANG: Duration = Duration::from_secs(30);

/// The calls that hang at the end have 30 s from their start, and are made again within a few seconds.
const DELIVERY: Duration = Duration::from_secs(40);

/// Much more than so few results take.
const GROWTH_MIB: f64 = 32.0;

pub(crate) fn run(soak: &Soak, section: &mut Section) {
    let runs = soak.size(RUNS);
    let mock = plane::mock();
    let daemon = Settings::new().set("EXECUTOR_QUEUE", 100).calling(&mock).start();
    let mib = || leftovers::resident_kib(daemon.pid()) as f64 / 1024.0;
    let client = Client::new(daemon.address());
    let named = |what: &'static str| move |n| script(&format!("exec_{what}_{n}"), "true");
    client.execute_all(soak, threads(), 20, named("warm"));
    let before = mib();
    mock.script(Rule::new(Action::Stall { seconds: STALL }));
    let began = Instant::now();
    let answers = client.execute_all(soak, threads(), runs, named("hang"));
    let ran = began.elapsed();
    let mut most = mib();
    while began.elapsed() < soak.time(HANG) && !soak.is_over() {
        std::thread::sleep(Duration::from_millis(100));
        most = most.max(mib());
    }
    let asked = Instant::now();
    let healthy = daemon.get("/health").status;
    let health_took = asked.elapsed();
    mock.clear_script();
    let delivered = soak.eventually(DELIVERY, || leftovers::names(&daemon.results()).is_empty());
    drop(client);
    let tally = Tally::of(&mock);

    section.exactly("runs answered with 200 and success", runs, answers.results.len());
    section.none("runs answered otherwise", &answers.surprises);
    section.must("all of them answered", "≤ 20.0 s", clock(ran), ran <= Duration::from_secs(20));
    let measured = format!("{healthy} in {:.1} ms", health_took.as_secs_f64() * 1e3);
    section.must("/health meanwhile", "200 in 1 s", measured, healthy == 200 && health_took.as_secs() < 1);
    let grown = most - before;
    section.must(
        "memory grown by",
        format!("≤ {GROWTH_MIB:.0} MiB"),
        format!("{grown:.1} MiB"),
        grown <= GROWTH_MIB,
    );
    section.told("memory at most", format!("{most:.1} MiB"));
    section.exactly(
        "results accepted exactly once",
        runs,
        tally.accepted_once(answers.results.iter().map(|(id, _)| id)),
    );
    let took = delivered.map_or("never".to_owned(), clock);
    section.must("all delivered after it", format!("≤ {}", clock(DELIVERY)), took, delivered.is_some());
    section.none("executions under two Idempotency-Keys", &tally.keyed_twice);
    section.none("rules of the callbacks broken", &mock.violations());
    section.told("calls, and what was done to some", format!("{}; {}", tally.calls, tally.spoilt_words()));
    leftovers::end(daemon, section);
}
