//! Thousands of results through a control plane that fails every third call, in every way it can.

use std::time::{Duration, Instant};

use conformance::Settings;
use control_plane_mock::Action;

use crate::client::{Client, script, threads};
use crate::report::{Section, clock, thousands};
use crate::tally::Tally;
use crate::{Soak, leftovers, plane};

const RUNS: usize = 10_000;

/// After the last run. The longest pause between two attempts is 12 s, and a few of thousands are unlucky often.
const DRAIN: Duration = Duration::from_secs(120);

pub(crate) fn run(soak: &Soak, section: &mut Section) {
    let runs = soak.size(RUNS);
    let mock = plane::mock();
    plane::fail(&mock, soak.seed, failures());
    let daemon = Settings::new().set("EXECUTOR_QUEUE", 100).calling(&mock).start();
    let client = Client::new(daemon.address());
    let began = Instant::now();
    let answers = client
        .execute_all(soak, threads(), runs, |n| script(&format!("exec_flaky_{n}"), &format!("echo {n}")));
    let ran = began.elapsed();
    drop(client);
    let drained = soak.eventually(DRAIN, || leftovers::names(&daemon.results()).is_empty());
    let left = leftovers::names(&daemon.results());
    let tally = Tally::of(&mock);

    section.exactly("runs answered with 200 and success", runs, answers.results.len());
    section.none("runs answered otherwise", &answers.surprises);
    section.exactly(
        "results accepted exactly once",
        runs,
        tally.accepted_once(answers.results.iter().map(|(id, _)| id)),
    );
    section.none("executions under two Idempotency-Keys", &tally.keyed_twice);
    section.none("retries with another body", &tally.changed);
    section.none("sent again after a final answer", &tally.stubborn);
    let pairs = answers.results.iter().map(|(id, answer)| (id, answer));
    section.none("results that differ from the caller's", &tally.contradicted(pairs));
    section.none("rules of the callbacks broken", &mock.violations());
    section.none("left in RESULTS_DIR", &left);
    leftovers::end(daemon, section);
    let share = 100.0 * tally.spoilt_calls() as f64 / tally.calls.max(1) as f64;
    section.must("calls spoilt on purpose", "≥ 30 %", format!("{share:.1} %"), share >= 30.0);
    section.told("calls", thousands(tally.calls));
    section.told("of them", tally.spoilt_words());
    section.told("accepted, then sent again", thousands(tally.duplicates));
    section.told("most attempts for one result", tally.most_attempts);
    let per_second = answers.results.len() as f64 / ran.as_secs_f64();
    section.told("runs took", format!("{}, {per_second:.0} a second", clock(ran)));
    section.told("all delivered after the last run", drained.map_or("never".to_owned(), clock));
}

/// 30 % of calls are not accepted, and 5 % are without the daemon hearing it.
fn failures() -> Vec<(f64, Action)> {
    vec![
        (0.05, plane::status(500)),
        (0.05, plane::come_back()),
        (0.05, Action::Stall { seconds: 3.0 }),
        (0.05, Action::Reset),
        (0.05, Action::CloseMidAnswer),
        (0.05, Action::CloseBeforeAnswer),
        (0.05, Action::AcceptThenClose),
    ]
}
