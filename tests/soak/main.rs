//! The long failure tests: a control plane that fails, hangs and goes away, and a daemon that is killed again and again.
//!
//! `make soak` runs all of them within a quarter of an hour and ends with 1 when a figure is missed. A scenario owns its
//! daemon, its control plane and its directories; it notes what it saw, and goes on after a figure that is missed.
//!
//! | file | what it claims |
//! |---|---|
//! | `flaky.rs` | 10,000 results through a control plane that fails a third of its calls: each accepted once |
//! | `killed.rs` | 200 times SIGKILL under load: nothing that was accepted is lost, doubled or contradicted |
//! | `outage.rs` | a minute without a control plane: callers do not notice |
//! | `heartbeats.rs` | heartbeats keep their time while user code has every CPU |
//! | `hang.rs` | a control plane that answers nothing: callers do not notice, and memory stays bounded |
//! | `mixed/` | jobs of every kind, a third of them hostile: the good ones do not notice, and nothing is left, memory neither |
//!
//! The rest is what they share: `options.rs` (the command line), `watchdog.rs` (the end of everything that takes too long),
//! `report.rs` (the table), `client.rs` (who posts runs), `plane.rs` (the control plane), `tally.rs` (what it heard),
//! `leftovers.rs` (what is left behind), `chance.rs` (random numbers that can be repeated), `samples.rs` (latencies).

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helper functions too")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the report is for people who wait for it")]

mod options;
mod watchdog;
mod report;
mod client;
mod plane;
mod tally;
mod leftovers;
mod chance;
mod samples;

mod flaky;
mod killed;
mod outage;
mod heartbeats;
mod hang;
mod mixed;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use options::{Asked, Options};
use report::{Section, clock};
use watchdog::Watchdog;

/// Of everything together; what cargo needs to build it is not part of it.
const WHOLE: Duration = Duration::from_secs(15 * 60);

/// One of the long tests.
struct Scenario {
    name: &'static str,
    what: &'static str,
    /// Seconds. When they are over, it begins nothing more and tells what it has; see `watchdog.rs` for one that does not.
    budget: u64,
    run: fn(&Soak, &mut Section),
}

const SCENARIOS: [Scenario; 7] = [
    Scenario {
        name: "flaky",
        what: "results through a control plane that fails every third call",
        budget: 330,
        run: flaky::run,
    },
    Scenario {
        name: "killed",
        what: "SIGKILL under load, and a restart on the same directories",
        budget: 240,
        run: killed::run,
    },
    Scenario { name: "outage", what: "runs while there is no control plane", budget: 170, run: outage::run },
    Scenario {
        name: "heartbeats",
        what: "heartbeats while user code has every CPU",
        budget: 60,
        run: heartbeats::run,
    },
    Scenario {
        name: "hang",
        what: "runs while the control plane answers nothing",
        budget: 90,
        run: hang::run,
    },
    Scenario {
        name: "mixed",
        what: "jobs of every kind, a third of them hostile, from a pool",
        budget: 240,
        run: mixed::warm,
    },
    Scenario { name: "mixed-cold", what: "the same without a pool", budget: 180, run: mixed::cold },
];

/// What a scenario is told.
#[derive(Debug, Clone, Copy)]
struct Soak {
    quick: bool,
    seed: u64,
    /// When its budget is over.
    deadline: Instant,
}

impl Soak {
    /// A tenth of it with `--quick`.
    fn size(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(10) } else { full }
    }

    /// A tenth of it with `--quick`.
    fn time(&self, full: Duration) -> Duration {
        if self.quick { full / 10 } else { full }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Waits for something, at most so long and never beyond the budget. How long it took, or none.
    fn eventually(&self, patience: Duration, mut holds: impl FnMut() -> bool) -> Option<Duration> {
        let began = Instant::now();
        loop {
            if holds() {
                return Some(began.elapsed());
            }
            if began.elapsed() >= patience || self.is_over() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn main() -> ExitCode {
    let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    let options = match Options::read(std::env::args().skip(1), &names) {
        Ok(Asked::Run(options)) => options,
        Ok(Asked::Help(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            eprintln!("soak: {mistake}");
            return ExitCode::from(64);
        }
    };
    report::shorten_panics();
    match soak(&options) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// How many figures were missed.
fn soak(options: &Options) -> usize {
    let began = Instant::now();
    let watchdog = Watchdog::start(began + WHOLE);
    let size = if options.quick {
        ", a tenth of the size: shows that everything works, not that it lasts"
    } else {
        ""
    };
    println!("seed {}{size}", options.seed);
    let mut missed = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| options.wants(scenario.name)) {
        let deadline = Instant::now() + Duration::from_secs(scenario.budget);
        let soak = Soak { quick: options.quick, seed: options.seed, deadline };
        let mut section = Section::new(scenario.name, scenario.what);
        eprintln!("{}: at most {}", scenario.name, clock(Duration::from_secs(scenario.budget)));
        let scenario_began = Instant::now();
        watchdog.guard(scenario.name, deadline);
        let ended = catch_unwind(AssertUnwindSafe(|| (scenario.run)(&soak, &mut section)));
        watchdog.release();
        if let Err(panic) = ended {
            section.must("comes to its end", "yes", report::reason(&*panic), false);
        }
        let took = scenario_began.elapsed();
        let budget = format!("≤ {}", clock(Duration::from_secs(scenario.budget)));
        section.must("time", budget, clock(took), took <= Duration::from_secs(scenario.budget));
        print!("{section}");
        missed.extend(section.missed().map(|figure| format!("{}: {figure}", scenario.name)));
    }
    let took = clock(began.elapsed());
    match missed.as_slice() {
        [] => println!("\nsoak: all figures hold, in {took}"),
        some => println!("\nsoak: {} MISSED, in {took}:\n  {}", some.len(), some.join("\n  ")),
    }
    missed.len()
}
