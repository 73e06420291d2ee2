//! Who may call: whoever sends `EXECUTOR_API_TOKEN`, where one is set.
//!
//! The token itself is not kept, only its digest; what is offered is hashed and compared in constant time, so neither
//! its length nor a matching beginning shows in how long an answer takes.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::Secret;
use crate::http::problem::Refusal;

/// For probes and scrapers, which have no token. Compared as written: `//health` is another path and stays closed.
const OPEN: [&str; 4] = ["/health", "/health/live", "/health/ready", "/metrics"];

/// Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    /// `None`: everybody is let in.
    expected: Option<[u8; 32]>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.expected.is_some() { "Gate(closed)" } else { "Gate(open)" })
    }
}

impl Gate {
    pub fn new(token: Option<&Secret>) -> Self {
        Self { expected: token.map(|token| digest(token.expose().as_bytes())) }
    }

    /// `path`: of the request's URI, not decoded.
    ///
    /// # Errors
    /// [`Refusal::Unauthorized`], the same for every reason.
    pub fn admit(&self, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(expected) = self.expected else {
            return Ok(());
        };
        if OPEN.contains(&path) {
            return Ok(());
        }
        let offered = offered(headers).ok_or(Refusal::Unauthorized)?;
        let same: bool = digest(offered).ct_eq(&expected).into();
        if same { Ok(()) } else { Err(Refusal::Unauthorized) }
    }
}

/// The token of the one `Authorization: Bearer` header there is. The scheme's case does not matter (RFC 9110, 11.1).
fn offered(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, rest) = only.as_bytes().split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn answer(path: &str, values: &[&[u8]]) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        Gate::new(Some(&Secret::new("right-token").unwrap())).admit(path, &headers)
    }

    #[test]
    fn the_token_opens_the_gate_whatever_the_case_of_the_scheme() {
        for value in ["Bearer right-token", "bearer right-token", "BEARER  right-token "] {
            assert_eq!(answer("/execute", &[value.as_bytes()]), Ok(()), "{value}");
        }
    }

    #[test]
    fn everything_else_is_refused_alike() {
        let cases: [&[&[u8]]; 12] = [
            &[],
            &[b""],
            &[b"Bearer"],
            &[b"Bearer "],
            &[b"Bearer wrong-token"],
            &[b"Bearer right-toke"],
            &[b"Bearer right-token2"],
            &[b"Bearer right-token right-token"],
            &[b"Basic right-token"],
            &[b"right-token"],
            &[b"Bearer \xff"],
            &[b"Bearer right-token", b"Bearer right-token"],
        ];
        for values in cases {
            assert_eq!(answer("/execute", values), Err(Refusal::Unauthorized), "{values:?}");
        }
    }

    #[test]
    fn health_and_metrics_are_open_and_look_alikes_are_not() {
        for path in OPEN {
            assert_eq!(answer(path, &[]), Ok(()), "{path}");
        }
        for path in
            ["/", "/info", "/health/", "//health", "/Health", "/health/../execute", "/%68ealth", "/metrics/x"]
        {
            assert_eq!(answer(path, &[]), Err(Refusal::Unauthorized), "{path}");
        }
    }

    #[test]
    fn without_a_token_the_gate_is_open() {
        assert_eq!(Gate::new(None).admit("/execute", &HeaderMap::new()), Ok(()));
    }

    #[test]
    fn a_gate_does_not_show_its_token() {
        assert_eq!(format!("{:?}", Gate::new(Some(&Secret::new("x").unwrap()))), "Gate(closed)");
    }
}
