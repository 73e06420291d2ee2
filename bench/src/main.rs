//! What the daemon costs over bare bubblewrap, and the other figures it must keep.
//!
//! One command, one run, both sides on the same machine in the same minute: `make bench`. It starts its own daemon on a free
//! loopback port, sends load nowhere else, ends what it started, and is done within five minutes.
//!
//! process → bare, daemon, client → workloads → measure → stats → report

mod bare;
mod client;
mod daemon;
mod error;
mod measure;
mod process;
mod report;
mod stats;
mod workloads;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;

use crate::{
    bare::Bare,
    daemon::Daemon,
    error::{BenchError, Result, doing},
    measure::Comparison,
    report::{DaemonFigures, Report, progress},
};

const CONCURRENCIES: [usize; 3] = [1, 4, 16];

/// Measures the daemon against bare bubblewrap
#[derive(Debug, Parser)]
struct Options {
    /// Runs per side, workload and concurrency (node takes half of it)
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=5000))]
    runs: u32,
    /// A tenth of the runs: shows that everything works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// Only bare bubblewrap, without a daemon
    #[arg(long)]
    bare_only: bool,
    /// End with 1 when a target is not met
    #[arg(long)]
    check: bool,
    /// The daemon's binary [default: sandbox-executor beside this program]
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Where the JSON report goes
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results/latest.json"))]
    output: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(report) if options.check && report.figures().iter().any(|figure| figure.met == Some(false)) => {
            progress("bench: a target is not met");
            ExitCode::FAILURE
        }
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<Report> {
    let runs = if options.quick { (options.runs as usize / 10).max(4) } else { options.runs as usize };
    let directory = daemon::reachable_directory(&std::env::temp_dir())?;
    let bare = Bare::new(directory.path())?;
    let report = if options.bare_only {
        Report { comparisons: compare_languages(runs, &bare, None)?, daemon: None }
    } else {
        against_daemon(options, runs, directory.path(), &bare)?
    };
    report.write(&options.output)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}\n{}", report.table(), options.output.display())
        .map_err(doing("print the report"))?;
    Ok(report)
}

fn against_daemon(options: &Options, runs: usize, directory: &Path, bare: &Bare) -> Result<Report> {
    let binary = match &options.binary {
        Some(path) => path.clone(),
        None => std::env::current_exe()
            .map_err(doing("find this program's own directory"))?
            .with_file_name("sandbox-executor"),
    };
    let binary_bytes =
        std::fs::metadata(&binary).map(|file| file.len()).map_err(|_missing| BenchError::Missing {
            what: format!("the daemon at {}", binary.display()),
            fix: "build it with `cargo build --release -p executor`, or say where it is with --binary",
        })?;
    let repeats = if options.quick { 2 } else { 5 };
    progress("start-up and idle memory");
    let (start_up_ms, idle) = measure::start_up(&binary, directory, repeats)?;
    let daemon = Daemon::start(&binary, directory)?;
    let comparisons = compare_languages(runs, bare, Some(&daemon))?;
    progress("10 MiB of stdout");
    let large = workloads::large_output();
    let large_output = measure::compare(&large, 1, (runs / large.runs_divisor).max(2), bare, Some(&daemon))?;
    progress("reporting to a control plane");
    let control_plane = measure::control_plane(&binary, directory, &daemon, runs * 2)?;
    progress("a cgroup for each run");
    let cgroup_ms = measure::cgroup(&binary, directory, &daemon, runs * 2)?;
    progress("timeouts");
    let late_ms = measure::timeout_lateness(&daemon, repeats.div_ceil(2))?;
    progress("manifest of 10,000 files");
    let manifest_ms = measure::manifest(&daemon, repeats)?;
    let after_load = daemon.memory()?;
    progress("sandboxes that wait");
    let warm = measure::warm(&binary, directory, bare, runs)?;
    Ok(Report {
        comparisons,
        daemon: Some(DaemonFigures {
            start_up_ms,
            idle,
            after_load,
            binary_bytes,
            large_output,
            control_plane,
            cgroup_ms,
            manifest_ms,
            late_ms,
            warm,
        }),
    })
}

fn compare_languages(runs: usize, bare: &Bare, daemon: Option<&Daemon>) -> Result<Vec<Comparison>> {
    let mut comparisons = Vec::new();
    for workload in workloads::languages() {
        for concurrency in CONCURRENCIES {
            progress(&format!("{} at {concurrency}", workload.name));
            let runs = (runs / workload.runs_divisor).max(2);
            comparisons.push(measure::compare(&workload, concurrency, runs, bare, daemon)?);
        }
    }
    Ok(comparisons)
}
