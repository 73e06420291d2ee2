//! Which execution and which file a request names.
//!
//! Taken from the path as it was sent, and percent-decoded once. What does not decode to UTF-8 names nothing; `..`, NUL and
//! empty parts are not looked for here, because they only decide whether an entry of the manifest has this very name.

use crate::http::problem::Refusal;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub execution_id: String,
    pub path: String,
}

impl Address {
    /// `path`: of the request's URI, `/executions/{id}/artifacts/{path}`.
    pub fn of_file(path: &str) -> Result<Self, Refusal> {
        let parts = || {
            let (id, file) = path.strip_prefix("/executions/")?.split_once("/artifacts/")?;
            Some(Self { execution_id: decoded(id)?, path: decoded(file)? })
        };
        parts().ok_or_else(|| Refusal::NotFound { path: path.to_owned() })
    }

    /// `path`: of the request's URI, `/executions/{id}/artifacts.tar.zst`. Gives the execution's id.
    pub fn of_archive(path: &str) -> Result<String, Refusal> {
        let id = || decoded(path.strip_prefix("/executions/")?.strip_suffix("/artifacts.tar.zst")?);
        id().ok_or_else(|| Refusal::NotFound { path: path.to_owned() })
    }
}

/// RFC 3986, 2.1. `None` where a `%` is not followed by two hexadecimal digits, or the bytes are not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? * 16 + hex(rest.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(path: &str) -> Option<(String, String)> {
        Address::of_file(path).ok().map(|address| (address.execution_id, address.path))
    }

    #[test]
    fn a_path_is_decoded_once() {
        for (sent, named) in [
            ("a.txt", "a.txt"),
            ("out/a.txt", "out/a.txt"),
            ("out%2Fa.txt", "out/a.txt"),
            ("a%20b+c", "a b+c"),
            ("%C3%a4", "ä"),
            ("%252e%252e", "%2e%2e"),
            ("%2e%2e/%2e%2e/etc/passwd", "../../etc/passwd"),
            ("%00", "\0"),
            ("a//b", "a//b"),
            ("/etc/passwd", "/etc/passwd"),
            ("artifacts/a", "artifacts/a"),
        ] {
            let path = format!("/executions/exec_1/artifacts/{sent}");
            assert_eq!(file(&path), Some(("exec_1".to_owned(), named.to_owned())), "{sent}");
        }
    }

    #[test]
    fn what_is_not_utf_8_or_not_encoded_properly_names_nothing() {
        for sent in ["%ff", "%c3", "%", "a%2", "%zz", "%+1", "%%41"] {
            assert_eq!(file(&format!("/executions/exec_1/artifacts/{sent}")), None, "{sent}");
        }
        assert_eq!(Address::of_archive("/executions/exec_1/artifacts.tar.zst"), Ok("exec_1".to_owned()));
        assert!(Address::of_archive("/executions/%ff/artifacts.tar.zst").is_err());
    }

    proptest! {
        #[test]
        fn every_name_can_be_asked_for(name in "\\PC{1,40}") {
            let sent: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(decoded(&sent), Some(name));
        }
    }
}
