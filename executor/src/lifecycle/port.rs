//! Does the daemon on this machine answer on its port? Asked as anybody outside would ask.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(3);

/// An answer to `/health` is a few hundred bytes.
const LONGEST: u64 = 64 * 1024;

/// The body of the answer to `/health`, if it was 200. Blocks.
pub fn ask(listening: SocketAddr) -> io::Result<String> {
    let host = match listening.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address @ (IpAddr::V4(_) | IpAddr::V6(_)) => address,
    };
    let address = SocketAddr::new(host, listening.port());
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

/// Waits until it does.
pub async fn answers(listening: SocketAddr) {
    let ask = move || ask(listening).is_ok();
    while !tokio::task::spawn_blocking(ask).await.unwrap_or(false) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
