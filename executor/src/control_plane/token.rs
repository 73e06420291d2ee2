//! The token of every message. Tokens rotate: after a refusal its file is read again.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use reqwest::header::HeaderValue;

use crate::config::secret::{self, SecretProblem};
use crate::config::{ControlPlane, Secret};

#[derive(Debug)]
pub(super) struct Token {
    header: RwLock<HeaderValue>,
    /// A token from the environment cannot change in a running process.
    file: Option<PathBuf>,
}

impl Token {
    pub(super) fn of(config: &ControlPlane) -> Self {
        Self { header: RwLock::new(bearer(&config.token)), file: config.token_file.clone() }
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.header.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file, if there is one. The old token stays when that fails.
    pub(super) fn renew(&self) -> Result<(), SecretProblem> {
        let Some(file) = &self.file else { return Ok(()) };
        let header = bearer(&secret::read_file(file)?);
        *self.header.write().unwrap_or_else(PoisonError::into_inner) = header;
        Ok(())
    }
}

fn bearer(token: &Secret) -> HeaderValue {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        .expect("a Secret is visible ASCII, which can stand in a header");
    value.set_sensitive(true);
    value
}
