//! Spans of runs, for an OpenTelemetry collector: one for each run and one for each of its phases.
//!
//! They are made when a run is over, of what its record says, so a run pays nothing for them while it runs; and nothing at all
//! where there is no collector, or the feature `otlp` was not built in. Telling never waits: a collector that is slow or away
//! costs spans, not runs.

#[cfg(feature = "otlp")]
mod client;
#[cfg(feature = "otlp")]
mod spans;
#[cfg(feature = "otlp")]
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::config::Config;
use crate::run::execution::Origin;
use crate::run::record::RunRecord;

#[derive(Debug, thiserror::Error)]
#[error("cannot export spans to OTEL_EXPORTER_OTLP_ENDPOINT: {0}")]
pub struct ExportError(String);

/// Cheap to clone. Without a collector it takes everything and does nothing.
#[derive(Debug, Clone)]
pub struct Exporter(
    #[cfg(feature = "otlp")] Option<std::sync::Arc<spans::Collector>>,
    #[cfg(not(feature = "otlp"))] (),
);

#[cfg(feature = "otlp")]
impl Exporter {
    /// Inside the runtime, which does the talking.
    pub fn start(config: &Config) -> Result<Self, ExportError> {
        let Some(url) = &config.collector else { return Ok(Self(None)) };
        let collector = spans::Collector::open(url, config).map_err(ExportError)?;
        Ok(Self(Some(std::sync::Arc::new(collector))))
    }

    /// A run is over.
    pub fn tell(&self, origin: &Origin, record: &RunRecord) {
        if let Some(collector) = self.0.as_ref().filter(|_| origin.trace.is_exported()) {
            collector.tell(origin, record);
        }
    }

    /// Sends what waits, at most so long. Nothing is sent after that.
    pub async fn end(&self, patience: Duration) {
        if let Some(collector) = self.0.clone() {
            // A panic in there loses spans, which is all that it may.
            drop(tokio::task::spawn_blocking(move || collector.end(patience)).await);
        }
    }
}

#[cfg(not(feature = "otlp"))]
impl Exporter {
    /// The configuration has refused a collector.
    pub fn start(_config: &Config) -> Result<Self, ExportError> {
        Ok(Self(()))
    }

    pub fn tell(&self, _origin: &Origin, _record: &RunRecord) {}

    pub async fn end(&self, _patience: Duration) {}
}
