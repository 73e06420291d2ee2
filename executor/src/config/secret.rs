//! Secrets: values that are compared and sent, and never shown.
//!
//! A [`Secret`] can stand in a header as it is: it is 1 to 4096 visible ASCII characters, no space, no newline. Nothing
//! here prints the value, not even in part, and no error message holds it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const LONGEST: usize = 4_096;

#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// # Errors
    /// What is wrong with it, without the value.
    pub fn new(text: &str) -> Result<Self, SecretProblem> {
        if text.is_empty() {
            return Err(SecretProblem::Empty);
        }
        if text.len() > LONGEST {
            return Err(SecretProblem::TooLong);
        }
        // A newline would end the header and start the next one; a space would make it two words.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SecretProblem::NotVisibleAscii);
        }
        Ok(Self(text.to_owned()))
    }

    /// The value, for a header or a comparison. Whoever calls this must not let it reach a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

/// Each continues "KEY ...".
#[derive(Debug, thiserror::Error)]
pub enum SecretProblem {
    #[error("is empty")]
    Empty,
    #[error("is too long")]
    TooLong,
    #[error(
        "holds whitespace, a control character or a character that is not ASCII, so it cannot be sent in a header"
    )]
    NotVisibleAscii,
    #[error("names {path:?}, which cannot be read: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
}

/// Reads a token file. Whitespace at its end is left out, as editors and `echo` put a newline there.
///
/// # Errors
/// The file cannot be read, or what it holds is no token.
pub fn read_file(path: &Path) -> Result<Secret, SecretProblem> {
    let unreadable = |source| SecretProblem::Unreadable { path: path.to_owned(), source };
    // One byte more than is allowed, so that a file without end is found out without being read to the end.
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(LONGEST as u64 + 64).read_to_end(&mut bytes).map_err(unreadable)?;
    match str::from_utf8(bytes.trim_ascii_end()) {
        Ok(text) => Secret::new(text),
        Err(_not_ascii_either) => Err(SecretProblem::NotVisibleAscii),
    }
}
