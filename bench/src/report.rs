//! Figures to paper: a table for people, JSON for machines, and each target of the issue with met or not met.

use std::{fmt::Write as _, io::Write as _, path::Path, thread};

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    daemon::Memory,
    error::{BenchError, Result},
    measure::{Comparison, ControlPlane, Warm},
    stats::{largest, median},
};

const MEGABYTE: f64 = 1_000_000.0;

/// The targets, in the order and words of the issue that set them.
const OVERHEAD_MS: f64 = 3.0;
const SHELL_RATIO: f64 = 1.6;
const START_MS: f64 = 250.0;
const IDLE_MB: f64 = 15.0;
const LARGE_OUTPUT_MS: f64 = 150.0;
const OUTBOX_MS: f64 = 0.3;
/// The filter takes 0.2 ms of the half millisecond that both may cost (docs/seccomp.md).
const CGROUP_MS: f64 = 0.3;
const MANIFEST_MS: f64 = 400.0;
const LATE_MS: f64 = 100.0;
/// Of what bare bubblewrap takes at the median; for Python's 95th percentile, too.
const WARM_RATIOS: [(&str, f64); 3] = [("shell true", 0.7), ("python handler", 0.16), ("node handler", 0.07)];
const WARM_PYTHON_P95: f64 = 0.35;

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) daemon: Option<DaemonFigures>,
}

/// What only the daemon has; nothing bare to compare it with.
#[derive(Debug)]
pub(crate) struct DaemonFigures {
    pub(crate) start_up_ms: Vec<f64>,
    pub(crate) idle: Memory,
    pub(crate) after_load: Memory,
    pub(crate) binary_bytes: u64,
    pub(crate) large_output: Comparison,
    /// What reporting to one adds to an answer.
    pub(crate) control_plane: ControlPlane,
    /// What a cgroup adds; absent where none can be made.
    pub(crate) cgroup_ms: Option<f64>,
    pub(crate) manifest_ms: Vec<f64>,
    pub(crate) late_ms: Vec<f64>,
    pub(crate) warm: Vec<Warm>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// "At most"; a figure without one is only told.
    pub(crate) target: Option<f64>,
    pub(crate) met: Option<bool>,
}

impl Figure {
    fn told(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, target: None, met: None }
    }

    fn at_most(name: impl Into<String>, value: f64, unit: &'static str, target: f64) -> Self {
        Self { target: Some(target), met: Some(value <= target), ..Self::told(name, value, unit) }
    }
}

impl Comparison {
    fn difference_ms(&self) -> Option<f64> {
        self.daemon.as_ref().map(|daemon| daemon.p50_ms - self.bare.p50_ms)
    }

    fn ratio(&self) -> Option<f64> {
        self.daemon.as_ref().map(|daemon| daemon.p50_ms / self.bare.p50_ms)
    }

    /// Median of each phase the daemon reports, in ms.
    fn phase_medians(&self) -> Value {
        ["queue", "prepare", "start", "run", "collect"]
            .into_iter()
            .map(|phase| {
                let values: Vec<f64> =
                    self.phases.iter().filter_map(|phases| phases[phase].as_f64()).collect();
                (phase.to_owned(), json!(median(&values)))
            })
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    fn to_json(&self) -> Value {
        json!({
            "workload": self.workload,
            "concurrency": self.concurrency,
            "bare": self.bare,
            "daemon": self.daemon,
            "ratio_p50": self.ratio(),
            "difference_p50_ms": self.difference_ms(),
            "daemon_phases_p50_ms": self.daemon.as_ref().map(|_| self.phase_medians()),
        })
    }
}

impl Warm {
    fn to_json(&self) -> Value {
        json!({ "workload": self.workload, "bare": self.bare, "daemon": self.daemon })
    }
}

impl Report {
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let Some(daemon) = &self.daemon else {
            return Vec::new();
        };
        let mut figures = Vec::new();
        for cold in self.comparisons.iter().filter(|comparison| comparison.concurrency == 1) {
            if cold.workload == "shell true" {
                let ratio = cold.ratio().unwrap_or(f64::INFINITY);
                figures.push(Figure::at_most("shell `true` over bare, p50", ratio, "×", SHELL_RATIO));
            } else {
                let name = format!("{} over bare, p50", cold.workload);
                figures.push(Figure::at_most(
                    name,
                    cold.difference_ms().unwrap_or(f64::INFINITY),
                    "ms",
                    OVERHEAD_MS,
                ));
            }
        }
        let megabytes = |bytes: u64| bytes as f64 / MEGABYTE;
        let output = daemon.large_output.difference_ms().unwrap_or(f64::INFINITY);
        figures.extend([
            Figure::at_most("start to /health answering, p50", median(&daemon.start_up_ms), "ms", START_MS),
            Figure::at_most("idle resident memory", megabytes(daemon.idle.resident), "MB", IDLE_MB),
        ]);
        figures.extend(
            daemon
                .idle
                .proportional
                .map(|pss| Figure::told("idle proportional memory", megabytes(pss), "MB")),
        );
        figures.extend([
            Figure::told("resident memory after the load", megabytes(daemon.after_load.resident), "MB"),
            Figure::told("binary size", megabytes(daemon.binary_bytes), "MB"),
            Figure::at_most("10 MiB of stdout over bare, p50", output, "ms", LARGE_OUTPUT_MS),
            Figure::at_most("the outbox adds, p50", daemon.control_plane.outbox_ms, "ms", OUTBOX_MS),
            Figure::told("a control plane adds, p50", daemon.control_plane.whole_ms, "ms"),
        ]);
        figures.extend(daemon.cgroup_ms.map(|ms| Figure::at_most("a cgroup adds, p50", ms, "ms", CGROUP_MS)));
        figures.extend([
            Figure::at_most("manifest of 10,000 files, p50", median(&daemon.manifest_ms), "ms", MANIFEST_MS),
            Figure::at_most("timeout late by, worst", largest(&daemon.late_ms), "ms", LATE_MS),
        ]);
        for (workload, target) in WARM_RATIOS {
            for warm in daemon.warm.iter().filter(|warm| warm.workload == workload) {
                let ratio = warm.daemon.p50_ms / warm.bare.p50_ms;
                figures.push(Figure::told(format!("warm {workload}, p50"), warm.daemon.p50_ms, "ms"));
                figures.push(Figure::at_most(format!("warm {workload} to bare, p50"), ratio, "×", target));
                if workload == "python handler" {
                    let ratio = warm.daemon.p95_ms / warm.bare.p50_ms;
                    let name = format!("warm {workload}, p95 to bare p50");
                    figures.push(Figure::at_most(name, ratio, "×", WARM_PYTHON_P95));
                }
            }
        }
        figures
    }

    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        line(
            &mut out,
            format_args!(
                "{:<16} {:>3}  {:>26}  {:>26}  {:>7} {:>8}",
                "", "", "bare bubblewrap", "daemon", "", ""
            ),
        );
        line(
            &mut out,
            format_args!(
                "{:<16} {:>3}  {:>6} {:>6} {:>6} {:>5}  {:>6} {:>6} {:>6} {:>5}  {:>7} {:>8}",
                "cold runs, ms", "at", "p50", "p95", "p99", "/s", "p50", "p95", "p99", "/s", "ratio", "+ p50"
            ),
        );
        let large = self.daemon.as_ref().map(|daemon| &daemon.large_output);
        for row in self.comparisons.iter().chain(large) {
            let side = |summary: &crate::stats::Summary| {
                let (p50, p95, p99) = (summary.p50_ms, summary.p95_ms, summary.p99_ms);
                format!("{p50:>6.1} {p95:>6.1} {p99:>6.1} {:>5.0}", summary.per_second)
            };
            let bare = side(&row.bare);
            let daemon = row.daemon.as_ref().map_or_else(|| format!("{:>26}", "–"), side);
            let ratio = row.ratio().map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2} ×"));
            let difference = row.difference_ms().map_or_else(|| "–".to_owned(), |ms| format!("{ms:+.1}"));
            let (name, at) = (row.workload, row.concurrency);
            line(&mut out, format_args!("{name:<16} {at:>3}  {bare}  {daemon}  {ratio:>7} {difference:>8}"));
        }
        let figures = self.figures();
        if !figures.is_empty() {
            line(&mut out, format_args!("\n{:<34} {:>12} {:>12}", "figure", "measured", "at most"));
        }
        for figure in figures {
            let with_unit = |value: f64| format!("{value:.2} {:<2}", figure.unit);
            let target = figure.target.map(with_unit).unwrap_or_default();
            let verdict = match figure.met {
                Some(true) => "met",
                Some(false) => "NOT MET",
                None => "",
            };
            let value = with_unit(figure.value);
            line(&mut out, format_args!("{:<34} {value:>12} {target:>12}  {verdict}", figure.name));
        }
        out
    }

    fn to_json(&self) -> Value {
        let figures = self.figures();
        json!({
            "machine": machine(),
            "comparisons": self.comparisons.iter().map(Comparison::to_json).collect::<Vec<_>>(),
            "large_output": self.daemon.as_ref().map(|daemon| daemon.large_output.to_json()),
            "start_up_ms": self.daemon.as_ref().map(|daemon| &daemon.start_up_ms),
            "manifest_collect_ms": self.daemon.as_ref().map(|daemon| &daemon.manifest_ms),
            "outbox_adds_ms": self.daemon.as_ref().map(|daemon| daemon.control_plane.outbox_ms),
            "cgroup_adds_ms": self.daemon.as_ref().and_then(|daemon| daemon.cgroup_ms),
            "control_plane_adds_ms": self.daemon.as_ref().map(|daemon| daemon.control_plane.whole_ms),
            "timeout_late_ms": self.daemon.as_ref().map(|daemon| &daemon.late_ms),
            "warm": self.daemon.as_ref().map(|daemon| daemon.warm.iter().map(Warm::to_json).collect::<Vec<_>>()),
            "figures": figures,
        })
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = format!("{:#}\n", self.to_json());
        let parent = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(path, text))
            .map_err(|source| BenchError::Report { path: path.to_owned(), source })
    }
}

fn line(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("a String takes all that is written to it");
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}

fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    json!({
        "kernel": read("/proc/sys/kernel/osrelease"),
        "cpu": model.trim_start_matches([' ', '\t', ':']),
        "cpus": thread::available_parallelism().map_or(0, usize::from),
        "as_root": crate::process::running_as_root(),
    })
}

/// One line on stderr. Progress that cannot be shown is no reason to stop measuring.
pub(crate) fn progress(text: &str) {
    writeln!(std::io::stderr(), "{text}").unwrap_or_default();
}
