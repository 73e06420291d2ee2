//! What bubblewrap says on its status descriptor: the truth about whether the program ever started.
//!
//! One JSON object a line. `child-pid` comes once the namespaces exist; `exit-code` comes only if set-up finished and the
//! program was really executed. Death by signal n shows as 128 + n.

use std::io;

use serde::Deserialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// No line of bubblewrap is longer, and nobody else can write here.
const MAX_LINE: u64 = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The pid, as the daemon sees it, of the sandbox's first process.
    Child(u32),
    Exited(i32),
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "child-pid")]
    child_pid: Option<u32>,
    #[serde(rename = "exit-code")]
    exit_code: Option<i32>,
}

/// The next thing that is known, or `None` when bubblewrap is gone.
pub async fn next(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Status>> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if from.take(MAX_LINE).read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        if let Some(status) = parse(&line)? {
            return Ok(Some(status));
        }
    }
}

fn parse(line: &[u8]) -> io::Result<Option<Status>> {
    // serde takes an array for a struct, field by field.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(io::Error::other("bubblewrap's status is not a JSON object a line"));
    }
    let line: Line = serde_json::from_slice(line)?;
    Ok(line.child_pid.map(Status::Child).or(line.exit_code.map(Status::Exited)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_read_in_order_and_unknown_ones_skipped() {
        let text =
            b"{ \"child-pid\": 42, \"net-namespace\": 4026532281 }\n{\"new\": 1}\n{ \"exit-code\": 137 }\n";
        let mut from = text.as_slice();
        assert_eq!(next(&mut from).await.unwrap(), Some(Status::Child(42)));
        assert_eq!(next(&mut from).await.unwrap(), Some(Status::Exited(137)));
        assert_eq!(next(&mut from).await.unwrap(), None);
    }

    #[tokio::test]
    async fn garbage_is_an_error_and_not_a_status() {
        assert!(next(&mut b"exit-code 0\n".as_slice()).await.is_err());
    }

    #[tokio::test]
    async fn an_array_of_numbers_is_neither_a_pid_nor_an_exit_code() {
        for line in ["[1,5]\n", " [null, 0]\n", "\n", "0\n"] {
            assert!(next(&mut line.as_bytes()).await.is_err(), "{line:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
            if let Err(error) = parse(&bytes) {
                proptest::prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
