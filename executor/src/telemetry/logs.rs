//! Turns logging on, once, at start.
//!
//! Lines go to standard error: standard output belongs to what a command answers. Libraries are heard from `warn` up,
//! whatever `LOG_LEVEL` is, because what they say at lower levels may hold headers and addresses.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use super::events;
use super::floods::Floods;
use super::lines::{Lines, OWN};
use super::render::Paint;
use crate::config::{LogFormat, LogLevel};

#[derive(Debug, thiserror::Error)]
#[error("cannot start logging: it was already started in this process; start it once, in main")]
pub struct AlreadyStarted(#[from] tracing::subscriber::SetGlobalDefaultError);

/// From here on every event of this process is a line on standard error, and so is every panic.
///
/// # Errors
/// It was called before.
pub fn start(level: LogLevel, format: LogFormat, container_id: &str) -> Result<(), AlreadyStarted> {
    let paint = if std::io::stderr().is_terminal() { Paint::Coloured } else { Paint::Plain };
    tracing::subscriber::set_global_default(subscriber(level, format, paint, container_id, std::io::stderr))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn subscriber<W>(
    level: LogLevel,
    format: LogFormat,
    paint: Paint,
    container_id: &str,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let ours = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let libraries = ours.min(LevelFilter::WARN);
    let targets = Targets::new().with_default(libraries).with_targets(OWN.map(|name| (name, ours)));
    let lines =
        Lines { format, paint, container_id: container_id.to_owned(), writer, floods: Floods::default() };
    Registry::default().with(lines.with_filter(targets))
}

/// One line instead of the many that the standard hook prints past the log.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let said = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(
        location,
        thread = thread.name().unwrap_or("unnamed"),
        panic = said.unwrap_or("not a text"),
        "{}",
        events::PANICKED
    );
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
