//! The end of everything that takes too long, said aloud.
//!
//! ```text
//! budget of the scenario over ── 40 s to tell what it has ──► its daemons are killed ── 40 s to notice ──► the end, with 1
//! time of the whole over ───────────────────────────────────────────────────────────────────────────────► the end, with 1
//! ```
//! What is killed are processes below this one, by their ids.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use conformance::processes;

/// Longer than the harness waits for anything.
const GRACE: Duration = Duration::from_secs(40);

const LOOK_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Watchdog {
    guarded: Arc<Mutex<Option<Guarded>>>,
}

#[derive(Debug, Clone, Copy)]
struct Guarded {
    scenario: &'static str,
    /// When its daemons are killed.
    kill: Instant,
    barked: bool,
}

impl Watchdog {
    pub(crate) fn start(end: Instant) -> Self {
        let guarded = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&guarded);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(LOOK_INTERVAL);
                look(&seen, end);
            }
        });
        Self { guarded }
    }

    pub(crate) fn guard(&self, scenario: &'static str, deadline: Instant) {
        let guarded = Guarded { scenario, kill: deadline + GRACE, barked: false };
        *self.guarded.lock().unwrap() = Some(guarded);
    }

    pub(crate) fn release(&self) {
        *self.guarded.lock().unwrap() = None;
    }
}

fn look(guarded: &Mutex<Option<Guarded>>, end: Instant) {
    let now = Instant::now();
    // Held while it looks: a scenario that has just ended is not barked at.
    let mut guarded = guarded.lock().unwrap();
    let name = guarded.map_or("soak", |guarded| guarded.scenario);
    if now >= end {
        give_up(&format!("{name}: the time for everything is over"));
    }
    let Some(guarded) = guarded.as_mut().filter(|guarded| now >= guarded.kill) else { return };
    if !std::mem::replace(&mut guarded.barked, true) {
        eprintln!("{name}: ITS TIME IS OVER; its daemons are killed");
    }
    if now >= guarded.kill + GRACE {
        give_up(&format!("{name}: it did not end when its daemons were killed"));
    }
    kill_everything_below();
}

fn give_up(why: &str) -> ! {
    kill_everything_below();
    eprintln!("{why}\nsoak: MISSED");
    std::process::exit(1);
}

fn kill_everything_below() {
    let below = processes::below(std::process::id());
    let alive: Vec<String> =
        below.iter().filter(|process| process.state != 'Z').map(|process| process.pid.to_string()).collect();
    if !alive.is_empty() {
        #[expect(clippy::disallowed_methods, reason = "the test's own child, not the daemon's")]
        let mut kill = Command::new("/usr/bin/kill");
        // One that ended meanwhile is no failure.
        kill.arg("-KILL").args(alive).output().ok();
    }
}
