//! Bytes on a socket, for what no HTTP client would send.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use conformance::Daemon;
use serde_json::Value;

/// One connection. Reading ends with the test's patience, see `Daemon::connect`.
pub(crate) struct Conversation {
    stream: BufReader<TcpStream>,
}

#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) status: u16,
    /// The status line and the headers, as they came.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Conversation {
    pub(crate) fn with(daemon: &Daemon) -> Self {
        Self { stream: BufReader::new(daemon.connect()) }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// False when the daemon has closed already. What it said is still there to be read.
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// The next answer; `None` when the connection ends before one.
    pub(crate) fn hear(&mut self) -> Option<Heard> {
        let mut heard = self.hear_head()?;
        let length = heard.header("content-length").map_or(0, |length| length.parse().unwrap());
        heard.body = vec![0; length];
        self.stream.read_exact(&mut heard.body).unwrap();
        Some(heard)
    }

    /// The same, for an answer to HEAD, which tells the length of a body that does not come.
    pub(crate) fn hear_head(&mut self) -> Option<Heard> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head).unwrap_or(0) == 0 {
                assert_eq!(head, "", "half an answer");
                return None;
            }
        }
        let status = head.split_whitespace().nth(1)?.parse().ok()?;
        Some(Heard { status, head, body: Vec::new() })
    }

    /// Waits for the daemon to close. Panics when it says anything more, or does not close in time.
    pub(crate) fn is_closed(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => assert_eq!(String::from_utf8_lossy(&rest), ""),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
        }
    }
}

impl Heard {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A whole `POST /execute` of JSON.
pub(crate) fn post(body: &str) -> String {
    post_with("", body)
}

/// `headers`: each ending in CRLF.
pub(crate) fn post_with(headers: &str, body: &str) -> String {
    format!(
        "POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
