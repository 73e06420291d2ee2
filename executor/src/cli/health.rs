//! `health`: asks the daemon on this machine how it is. For container healthchecks, where no curl is.

use std::net::SocketAddr;
use std::process::ExitCode;

use super::{complain, say};
use crate::config::Config;
use crate::lifecycle::port;

pub(super) fn health(config: Config) -> ExitCode {
    match port::ask(SocketAddr::new(config.host, config.port)) {
        Ok(answer) => say(&format!("{answer}\n")),
        Err(error) => complain(&format!("not healthy: {error}"), 1),
    }
}
