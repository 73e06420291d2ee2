//! `serve`: the daemon.

use std::process::ExitCode;
use std::time::Duration;

use linux::orphans::{self, Orphans};
use linux::{memory, rlimits};
use protocol::ExitReason;

use super::{chain, complain};
use crate::app::{App, StartError};
use crate::config::Config;
use crate::control_plane::Client;
use crate::http::server::{self, Rules};
use crate::lifecycle::announce::Announcer;
use crate::lifecycle::ground::{self, Ground};
use crate::lifecycle::signals::{Ended, Signals};
use crate::telemetry::{events, logs};

/// The daemon could not start.
const FAILED: u8 = 1;

/// What telling the control plane of that may take.
const FAREWELL: Duration = Duration::from_millis(1_500);

pub(super) fn serve(config: Config) -> ExitCode {
    // A connection is a descriptor, and so are six pipes of every run. What cannot be raised is what there is.
    rlimits::raise_open_files().ok();
    // Answers can be large, and are rare: what one cost is not kept for the next.
    memory::return_large_buffers();
    let ground = match ground::settle(&config) {
        Ok(ground) => ground,
        Err(error) => return complain(&chain(&error), FAILED),
    };
    let started = logs::start(config.log_level, config.log_format, &config.container_id);
    if let Err(error) = started {
        return complain(&chain(&error), FAILED);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start the runtime: {error}"), FAILED),
    };
    let code = match runtime.block_on(until_ended(config, ground)) {
        Ok(ended) => ExitCode::from(ended.exit_code()),
        Err(error) => complain(&chain(&error), FAILED),
    };
    // A blocking thread stuck in a file system must not keep the process.
    runtime.shutdown_background();
    code
}

async fn until_ended(config: Config, ground: Ground) -> Result<Ended, StartError> {
    let mut signals = Signals::listen().map_err(StartError::Signals)?;
    warn_when_unprotected(&config);
    if orphans::is_process_one() {
        tokio::spawn(Orphans::adopt().map_err(StartError::Signals)?.reap());
    }
    let listener = server::bind(config.host, config.port)?;
    let client = config.control_plane.as_ref().map(Client::open).transpose()?;
    let address = listener.local_addr().ok();
    let announcer =
        client.as_ref().zip(address).map(|(client, at)| Announcer::new(&config, client.clone(), at));
    let opened = tokio::select! {
        opened = App::open(config, ground, listener, client.as_ref(), announcer.clone()) => opened,
        ended = signals.next() => {
            farewell(announcer, ended.exit_code(), ended.reason()).await;
            return Ok(ended);
        }
    };
    let app = match opened {
        Ok(app) => app,
        Err(error) => {
            farewell(announcer, FAILED, ExitReason::Error).await;
            return Err(error);
        }
    };
    for shortfall in &app.host().shortfalls {
        tracing::warn!(missing = %shortfall, "{}", events::ISOLATION_REDUCED);
    }
    if let Ok(address) = app.address() {
        let max_connections = Rules::for_this_process().max_connections;
        tracing::info!(%address, max_connections, "{}", events::SERVER_LISTENING);
    }
    tracing::info!(from = "starting", to = "serving", reason = "ready", "{}", events::LIFECYCLE_CHANGED);
    let stop = async move {
        let first = signals.next().await;
        // The second one ends it at once. What runs dies with the daemon.
        signals.exit_at_the_next();
        first
    };
    Ok(app.serve(stop).await)
}

/// For a daemon that never served.
async fn farewell(announcer: Option<Announcer>, exit_code: u8, reason: ExitReason) {
    if let Some(announcer) = announcer {
        announcer.exited(exit_code, reason, FAREWELL).await;
    }
}

fn warn_when_unprotected(config: &Config) {
    if config.api_token.is_none() && !config.host.is_loopback() {
        tracing::warn!(host = %config.host, "{}", events::API_UNPROTECTED);
    }
}
