//! SIGTERM and SIGINT: the first one asks for an orderly end, the second one for an end.

use std::io;

use protocol::ExitReason;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Which signal ended the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Terminated,
    Interrupted,
}

impl Ended {
    /// 128 + n, as shells report it.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Terminated => 143,
            Self::Interrupted => 130,
        }
    }

    /// An interrupt comes from a person who has had enough; that is as normal an end as a daemon has.
    pub const fn reason(self) -> ExitReason {
        match self {
            Self::Terminated => ExitReason::Sigterm,
            Self::Interrupted => ExitReason::Normal,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Terminated => "sigterm",
            Self::Interrupted => "sigint",
        }
    }
}

#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on the two no longer kill the process.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    pub async fn next(&mut self) -> Ended {
        tokio::select! {
            _ = self.terminate.recv() => Ended::Terminated,
            _ = self.interrupt.recv() => Ended::Interrupted,
        }
    }

    /// The next one ends this process where it stands.
    pub fn exit_at_the_next(mut self) {
        tokio::spawn(async move {
            let next = self.next().await;
            std::process::exit(next.exit_code().into());
        });
    }
}
