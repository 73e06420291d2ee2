//! What is measured, one file each: a plain function from the [`Setup`] to what it has to say.
//!
//! A part starts the daemons it needs and ends them, and stands for itself: any of them can be run alone.

mod adds;
mod burst;
mod closed;
mod costs;
mod idle;
mod large;
mod long;
mod open;
mod preload;
mod start;
mod sustained;
mod timeouts;
mod warm;

use clap::ValueEnum;

pub(crate) use closed::bare_alone;

use crate::{
    daemon::Daemon,
    error::Result,
    report::{Measured, figure::Figure},
    setup::Setup,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Start-up, memory when idle, the binary's size
    Start,
    /// Cold and warm against bare, closed loop, at concurrency 1, 4, 16 and 64
    Closed,
    /// Warm against bare, one at a time, each when the pool is full and at rest
    Warm,
    /// Cold and warm against bare at a fixed rate of arrivals
    Open,
    /// Python handlers a second against the best of bare, and latencies at half of that rate
    Sustained,
    /// A hundred at once after a pause
    Burst,
    /// Cost against the size of workspace, output and event, and preloaded modules
    Costs,
    /// Processor time and memory of a full pool that nobody asks
    Idle,
    /// 10 MiB of output; a manifest of 10,000 files
    Large,
    /// What a control plane and a cgroup add to an answer
    Adds,
    /// How late a timeout is
    Timeouts,
    /// What the daemon holds after very many runs; takes long, and is not among the usual parts
    Long,
}

impl Part {
    /// All that `make bench` measures when nothing else is said.
    pub(crate) fn usual() -> Vec<Self> {
        Self::value_variants().iter().copied().filter(|part| *part != Part::Long).collect()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::Start => "start",
            Part::Closed => "closed",
            Part::Warm => "warm",
            Part::Open => "open",
            Part::Sustained => "sustained",
            Part::Burst => "burst",
            Part::Costs => "costs",
            Part::Idle => "idle",
            Part::Large => "large",
            Part::Adds => "adds",
            Part::Timeouts => "timeouts",
            Part::Long => "long",
        }
    }

    pub(crate) fn measure(self, setup: &Setup<'_>) -> Result<Measured> {
        match self {
            Part::Start => start::measure(setup),
            Part::Closed => closed::measure(setup),
            Part::Warm => warm::measure(setup),
            Part::Open => open::measure(setup),
            Part::Sustained => sustained::measure(setup),
            Part::Burst => burst::measure(setup),
            Part::Costs => costs::measure(setup),
            Part::Idle => idle::measure(setup),
            Part::Large => large::measure(setup),
            Part::Adds => adds::measure(setup),
            Part::Timeouts => timeouts::measure(setup),
            Part::Long => long::measure(setup),
        }
    }
}

const MEGABYTE: f64 = 1_000_000.0;

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / MEGABYTE
}

fn resident(name: &str, daemon: &Daemon) -> Figure {
    Figure::told(name, megabytes(daemon.memory().resident), "MB")
}
