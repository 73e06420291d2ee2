//! Opens the listening socket, and says plainly why it cannot.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// How many connections the kernel keeps for us while all slots are taken. It lowers this to `net.core.somaxconn`.
const BACKLOG: u32 = 4_096;

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "cannot listen on {address}: the port is taken (EADDRINUSE); stop the other program or set EXECUTOR_PORT"
    )]
    PortTaken { address: SocketAddr, source: io::Error },
    #[error(
        "cannot listen on {address}: not permitted (EACCES); ports below 1024 need the capability \
         CAP_NET_BIND_SERVICE, set EXECUTOR_PORT to a higher one"
    )]
    NotPermitted { address: SocketAddr, source: io::Error },
    #[error(
        "cannot listen on {address}: this host has no such address (EADDRNOTAVAIL); set EXECUTOR_HOST to one of its \
         own or to 0.0.0.0"
    )]
    NoSuchAddress { address: SocketAddr, source: io::Error },
    #[error(
        "cannot listen on {address}: {source}; set EXECUTOR_HOST and EXECUTOR_PORT to what this host can serve"
    )]
    Failed { address: SocketAddr, source: io::Error },
}

/// Listens on one address; `::` takes IPv4 too where the kernel is set up so. Port 0 lets the kernel choose one.
///
/// # Errors
/// One sentence for the operator: the port is taken, the address is not ours, or it is not permitted.
pub fn bind(host: IpAddr, port: u16) -> Result<TcpListener, BindError> {
    let address = SocketAddr::new(host, port);
    listen(address).map_err(|source| {
        let kind = source.kind();
        if kind == io::ErrorKind::AddrInUse {
            BindError::PortTaken { address, source }
        } else if kind == io::ErrorKind::PermissionDenied {
            BindError::NotPermitted { address, source }
        } else if kind == io::ErrorKind::AddrNotAvailable {
            BindError::NoSuchAddress { address, source }
        } else {
            BindError::Failed { address, source }
        }
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted daemon gets its port back while old connections are still in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_what_to_do() {
        let first = bind(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let port = first.local_addr().unwrap().port();
        let sentence = bind(Ipv4Addr::LOCALHOST.into(), port).expect_err("taken").to_string();
        let expected = format!(
            "cannot listen on 127.0.0.1:{port}: the port is taken (EADDRINUSE); stop the other program or set EXECUTOR_PORT"
        );
        assert_eq!(sentence, expected);
    }

    #[tokio::test]
    async fn an_address_of_another_host_is_named_with_what_to_do() {
        // TEST-NET-1 (RFC 5737): never an address of this host.
        let sentence = bind(Ipv4Addr::new(192, 0, 2, 1).into(), 0).expect_err("not ours").to_string();
        assert!(sentence.contains("192.0.2.1:0") && sentence.contains("EXECUTOR_HOST"), "{sentence}");
    }
}
