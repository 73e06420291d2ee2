//! The daemon's own process, under the names that every exporter uses for it (prometheus.io, "Writing client libraries"). It is
//! looked at when somebody asks; what the kernel will not tell is left out rather than made up.

use std::fmt;

use procfs::process::{LimitValue, Process};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

#[derive(Debug)]
pub(super) struct OwnProcess;

impl Collector for OwnProcess {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut write = |name, help, metric: &dyn EncodeMetric| {
            let described = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            metric.encode(described)
        };
        let Ok(own) = Process::myself() else { return Ok(()) };
        if let Ok(stat) = own.stat() {
            let cpu = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
            let help = "CPU time of the executor itself, user and system, without its sandboxes.";
            write("process_cpu_seconds", help, &ConstCounter::new(cpu))?;
            let resident = ConstGauge::new(stat.rss.saturating_mul(procfs::page_size()));
            write("process_resident_memory_bytes", "Memory that the executor itself holds.", &resident)?;
            write("process_threads", "Its threads.", &ConstGauge::new(stat.num_threads))?;
        }
        if let Ok(open) = own.fd_count() {
            let open = ConstGauge::new(i64::try_from(open).unwrap_or(i64::MAX));
            write("process_open_fds", "Its open file descriptors.", &open)?;
        }
        if let Ok(limits) = own.limits() {
            let most = match limits.max_open_files.soft_limit {
                LimitValue::Value(most) => most as f64,
                LimitValue::Unlimited => f64::INFINITY,
            };
            write("process_max_fds", "How many it may have open.", &ConstGauge::new(most))?;
        }
        Ok(())
    }
}
