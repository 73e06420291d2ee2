//! What HTTP never does: bytes of our choice, in our time, and the end of a connection as we like it.
//!
//! The other side leaving is the end of every act, and never an error.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Debug)]
pub(super) enum Sabotage {
    /// Nothing for so long, then the connection is closed.
    Silence(Duration),
    /// RST.
    Reset,
    /// These, then the connection is closed.
    Bytes(Vec<u8>),
    Drip {
        bytes: Vec<u8>,
        bytes_per_second: u32,
    },
    /// The head, and then so many bytes.
    Flood {
        head: Vec<u8>,
        bytes: u64,
    },
}

/// The other side left.
struct Left;

pub(super) async fn carry_out(sabotage: Sabotage, mut stream: TcpStream) {
    let done = match sabotage {
        Sabotage::Silence(time) => {
            tokio::time::timeout(time, until_closed(&mut stream)).await.ok();
            Ok(())
        }
        Sabotage::Reset => {
            // With nothing to linger for, closing sends RST (tcp(7), SO_LINGER in socket(7)).
            stream.set_zero_linger().ok();
            return;
        }
        Sabotage::Bytes(bytes) => write(&mut stream, &bytes).await,
        Sabotage::Drip { bytes, bytes_per_second } => drip(&mut stream, &bytes, bytes_per_second).await,
        Sabotage::Flood { head, bytes } => flood(&mut stream, &head, bytes).await,
    };
    if let Ok(()) = done {
        stream.shutdown().await.ok();
    }
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), Left> {
    stream.write_all(bytes).await.or(Err(Left))
}

async fn until_closed(stream: &mut TcpStream) {
    let mut ignored = [0; 4096];
    while let Ok(1..) = stream.read(&mut ignored).await {}
}

/// At most twenty writes a second.
async fn drip(stream: &mut TcpStream, bytes: &[u8], bytes_per_second: u32) -> Result<(), Left> {
    let size = usize::try_from(bytes_per_second.div_ceil(20)).unwrap_or(usize::MAX);
    for drop in bytes.chunks(size) {
        write(stream, drop).await?;
        let share = drop.len() as f64 / f64::from(bytes_per_second);
        tokio::time::sleep(Duration::from_secs_f64(share)).await;
    }
    Ok(())
}

async fn flood(stream: &mut TcpStream, head: &[u8], bytes: u64) -> Result<(), Left> {
    static WAVE: [u8; 64 << 10] = [b' '; 64 << 10];
    write(stream, head).await?;
    let mut left = bytes;
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(WAVE.len());
        write(stream, &WAVE[..size]).await?;
        left -= size as u64;
    }
    Ok(())
}
