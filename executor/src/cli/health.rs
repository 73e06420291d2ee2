//! `health`: asks the daemon on this machine how it is. For container healthchecks, where no curl is.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use super::{complain, say};
use crate::config::Config;

const PATIENCE: Duration = Duration::from_secs(3);

/// An answer to `/health` is a few hundred bytes.
const LONGEST: u64 = 64 * 1024;

pub(super) fn health(config: Config) -> ExitCode {
    match ask(&config) {
        Ok(answer) => say(&format!("{answer}\n")),
        Err(error) => complain(&format!("not healthy: {error}"), 1),
    }
}

/// The body of the answer, if it was 200.
pub(super) fn ask(config: &Config) -> io::Result<String> {
    let host = match config.host {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address @ (IpAddr::V4(_) | IpAddr::V6(_)) => address,
    };
    let address = SocketAddr::new(host, config.port);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    if head.starts_with("HTTP/1.1 200 ") {
        return Ok(body.to_owned());
    }
    Err(io::Error::other(format!("{} {body}", head.lines().next().unwrap_or("no answer"))))
}
