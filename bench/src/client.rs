//! Just enough HTTP/1.1 to ask the daemon over one kept-alive connection: blocking, Content-Length only.
//!
//! Small on purpose: whatever a client costs is counted as the daemon's time, and must be next to nothing.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::error::{BenchError, Result, doing};

/// Longer than any run of the benchmark: reaching it is a failure to report, not a measurement.
const PATIENCE: Duration = Duration::from_secs(120);

/// The daemon closes a connection that is idle for longer than it gives a caller for the head of a request: well before that it
/// is replaced, outside of what is measured.
const IDLE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    address: SocketAddr,
    buffer: Vec<u8>,
    last_used: Instant,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// From the first byte sent to the last one received.
    pub(crate) elapsed: Duration,
    pub(crate) ended: Instant,
}

impl Answer {
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .map_err(|error| BenchError::Protocol { why: format!("the body is not JSON: {error}") })
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = open(address)?;
        Ok(Self { stream, address, buffer: Vec::new(), last_used: Instant::now() })
    }

    pub(crate) fn get(&mut self, path: &str) -> Result<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        self.exchange(request.as_bytes())
    }

    /// Posts to `/execute`; everything but 200 is a failure of the measurement.
    pub(crate) fn execute(&mut self, request: &Value) -> Result<Answer> {
        let body = request.to_string();
        let mut message = format!(
            "POST /execute HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        message.push_str(&body);
        let answer = self.exchange(message.as_bytes())?;
        if answer.status == 200 {
            return Ok(answer);
        }
        Err(BenchError::Refused {
            status: answer.status,
            body: String::from_utf8_lossy(&answer.body).into_owned(),
        })
    }

    fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        if self.last_used.elapsed() > IDLE {
            self.stream = open(self.address).map_err(doing("connect to the daemon again"))?;
        }
        let begin = Instant::now();
        self.stream.write_all(request).map_err(doing("send a request to the daemon"))?;
        let head_end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more()?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).into_owned();
        let (status, length) = parse_head(&head)?;
        self.buffer.reserve((head_end + length).saturating_sub(self.buffer.len()));
        while self.buffer.len() < head_end + length {
            self.read_more()?;
        }
        let ended = Instant::now();
        self.last_used = ended;
        let body = self.buffer[head_end..head_end + length].to_vec();
        self.buffer.drain(..head_end + length);
        Ok(Answer { status, body, elapsed: ended - begin, ended })
    }

    fn read_more(&mut self) -> Result<()> {
        let mut chunk = [0; 64 * 1024];
        let count = self.stream.read(&mut chunk).map_err(doing("read the daemon's answer"))?;
        if count == 0 {
            return Err(BenchError::Protocol {
                why: "the connection closed before the answer was complete".to_owned(),
            });
        }
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(())
    }
}

fn open(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Status and Content-Length.
fn parse_head(head: &str) -> Result<(u16, usize)> {
    let wrong = || BenchError::Protocol { why: head.to_owned() };
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(wrong)?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or_else(wrong)?;
    Ok((status, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_gives_status_and_length() {
        let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nContent-LENGTH: 12\r\n\r\n";
        assert_eq!(parse_head(head).unwrap(), (503, 12));
    }

    #[test]
    fn an_answer_without_a_length_is_refused_not_guessed() {
        assert!(parse_head("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
