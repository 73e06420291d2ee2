//! `serve`: the daemon.

use std::process::ExitCode;

use linux::{memory, rlimits};

use super::{chain, complain};
use crate::app::{App, StartError};
use crate::config::Config;
use crate::http::server::Rules;
use crate::lifecycle::ground::{self, Ground};
use crate::lifecycle::signals::{Ended, Signals};
use crate::telemetry::{events, logs};

pub(super) fn serve(config: Config) -> ExitCode {
    // A connection is a descriptor, and so are six pipes of every run. What cannot be raised is what there is.
    rlimits::raise_open_files().ok();
    // Answers can be large, and are rare: what one cost is not kept for the next.
    memory::return_large_buffers();
    let ground = match ground::settle(&config) {
        Ok(ground) => ground,
        Err(error) => return complain(&chain(&error), 1),
    };
    let started = logs::start(config.log_level, config.log_format, &config.container_id);
    if let Err(error) = started {
        return complain(&chain(&error), 1);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start the runtime: {error}"), 1),
    };
    let code = match runtime.block_on(until_ended(config, ground)) {
        Ok(ended) => ExitCode::from(ended.exit_code()),
        Err(error) => complain(&chain(&error), 1),
    };
    // A blocking thread stuck in a file system must not keep the process.
    runtime.shutdown_background();
    code
}

async fn until_ended(config: Config, ground: Ground) -> Result<Ended, StartError> {
    let mut signals = Signals::listen().map_err(StartError::Signals)?;
    warn_when_unprotected(&config);
    let app = tokio::select! {
        opened = App::open(config, ground) => opened?,
        ended = signals.next() => return Ok(ended),
    };
    for shortfall in &app.host().shortfalls {
        tracing::warn!(missing = %shortfall, "{}", events::ISOLATION_REDUCED);
    }
    if let Ok(address) = app.address() {
        let max_connections = Rules::for_this_process().max_connections;
        tracing::info!(%address, max_connections, "{}", events::SERVER_LISTENING);
    }
    tracing::info!(from = "starting", to = "serving", reason = "ready", "{}", events::LIFECYCLE_CHANGED);
    let (said, ended) = tokio::sync::oneshot::channel();
    let stop = async move {
        let first = signals.next().await;
        tracing::info!(
            from = "serving",
            to = "draining",
            reason = first.name(),
            "{}",
            events::LIFECYCLE_CHANGED
        );
        said.send(first).ok();
        // The second one ends it at once. What runs dies with the daemon.
        tokio::spawn(async move {
            let second = signals.next().await;
            std::process::exit(second.exit_code().into());
        });
    };
    app.serve(stop).await;
    Ok(ended.await.unwrap_or(Ended::Terminated))
}

fn warn_when_unprotected(config: &Config) {
    if config.api_token.is_none() && !config.host.is_loopback() {
        tracing::warn!(host = %config.host, "{}", events::API_UNPROTECTED);
    }
}
