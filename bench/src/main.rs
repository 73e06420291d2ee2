//! What the daemon costs over bare bubblewrap, and the other figures it must keep.
//!
//! One command, one run, all sides on the same machine in the same minutes: `make bench`. It starts its own daemons on free
//! loopback ports, sends load nowhere else, and ends what it started.
//!
//! process → bare, daemon, client → workloads → load → stats → parts → report, charts

mod options;
mod error;
mod process;
mod bare;
mod client;
mod daemon;
mod workloads;
mod load;
mod stats;
mod charts;
mod setup;
mod parts;
mod report;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::Parser;

use crate::{
    bare::Bare,
    error::{BenchError, Result, doing},
    options::Options,
    report::{Report, progress},
    setup::Setup,
};

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(report) if options.check && report.misses_a_target() => {
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
    let directory = daemon::reachable_directory(&std::env::temp_dir())?;
    let binary = if options.bare_only { PathBuf::new() } else { daemon_binary(options)? };
    let setup = Setup {
        binary: &binary,
        directory: directory.path(),
        bare: Bare::new(directory.path())?,
        effort: options.effort(),
        overrides: options.settings.clone(),
    };
    let mut report = Report::new(setup.effort);
    let measured = measure(options, &setup, &mut report);
    // Also where a part failed: the minutes before it were not for nothing.
    report.write(&options.output)?;
    report.write_charts(&options.charts)?;
    let mut stdout = std::io::stdout();
    let (output, charts) = (options.output.display(), options.charts.display());
    writeln!(stdout, "{}\n{output}, charts in {charts}", report.tables())
        .map_err(doing("print the report"))?;
    measured.map(|()| report)
}

fn measure(options: &Options, setup: &Setup<'_>, report: &mut Report) -> Result<()> {
    if options.bare_only {
        report.add("bare", parts::bare_alone(setup)?);
        return Ok(());
    }
    for part in options.parts() {
        progress(part.name());
        let begin = Instant::now();
        let measured = part.measure(setup)?;
        progress(&format!("{}: done in {:.0} s", part.name(), begin.elapsed().as_secs_f64()));
        report.add(part.name(), measured);
    }
    Ok(())
}

fn daemon_binary(options: &Options) -> Result<PathBuf> {
    let path = match &options.binary {
        Some(path) => path.clone(),
        None => std::env::current_exe()
            .map_err(doing("find this program's own directory"))?
            .with_file_name("sandbox-executor"),
    };
    if Path::new(&path).is_file() {
        return Ok(path);
    }
    Err(BenchError::Missing {
        what: format!("the daemon at {}", path.display()),
        fix: "build it with `cargo build --release -p executor`, or say where it is with --binary",
    })
}
