//! The sockets: one thread with a small tokio runtime, which nobody outside has to know of.
//!
//! `connection` drives one connection, `callback` and `control` answer its requests, and `sabotage` takes the connection away
//! from HTTP.
//!
//! The `serve` task owns the listener and all connections. It ends when it is told to stop or its owner is gone, and takes
//! them with it.

mod answer;
mod callback;
mod connection;
mod control;
mod sabotage;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use crate::journal::Journal;

/// Connections that the kernel takes while the mock is busy.
const BACKLOG: u32 = 1024;

/// What the owner asks for; it hears when that is done.
#[derive(Debug)]
pub(crate) enum Command {
    Refuse(mpsc::Sender<io::Result<()>>),
    Accept(mpsc::Sender<io::Result<()>>),
    Stop,
}

/// A port that stays this mock's while nobody listens on it.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
    /// Bound and never listening: nobody else is given the port, and who connects is refused.
    _kept: TcpSocket,
}

impl Port {
    pub(crate) fn keep(address: SocketAddr) -> io::Result<Self> {
        let kept = bound(address)?;
        Ok(Self { address: kept.local_addr()?, _kept: kept })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn listen(&self) -> io::Result<TcpListener> {
        bound(self.address)?.listen(BACKLOG)
    }
}

/// `SO_REUSEADDR` lets two sockets of which only one listens share a port (socket(7)).
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

pub(crate) async fn serve(
    journal: Arc<Journal>,
    port: Port,
    listener: TcpListener,
    mut commands: UnboundedReceiver<Command>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            command = commands.recv() => {
                let done = match command {
                    Some(Command::Refuse(done)) => {
                        listener = None;
                        // Returns when they are closed.
                        connections.shutdown().await;
                        done.send(Ok(()))
                    }
                    Some(Command::Accept(done)) if listener.is_some() => done.send(Ok(())),
                    Some(Command::Accept(done)) => done.send(port.listen().map(|opened| listener = Some(opened))),
                    Some(Command::Stop) | None => return,
                };
                if done.is_err() {
                    return;
                }
            }
            stream = accept(listener.as_ref()) => {
                connections.spawn(connection::drive(Arc::clone(&journal), stream));
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// Never returns while there is no listener.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        if let Ok((stream, _peer)) = listener.accept().await {
            return stream;
        }
        // The other side left already, or there are no file descriptors until some connection ends.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
