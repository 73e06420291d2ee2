//! Where it was measured: figures of one machine mean little for another.

use std::thread;

use serde_json::{Value, json};

pub(crate) fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    json!({
        "kernel": read("/proc/sys/kernel/osrelease"),
        "cpu": model.trim_start_matches([' ', '\t', ':']),
        "cpus": thread::available_parallelism().map_or(0, usize::from),
        "as_root": crate::process::running_as_root(),
        "load_average_at_the_end": read("/proc/loadavg"),
    })
}
