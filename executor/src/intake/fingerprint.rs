//! Whether two requests with the same id ask for the same thing.
//!
//! A digest of each given field's raw text, without `execution_id`: cheap to keep, and nothing of the request can be
//! read back from it. `null` for a field is the same as leaving it out, except for `event`. The raw text decides, so
//! `1` and `1.0` are different requests; a client that retries sends the same bytes.

use sha2::{Digest, Sha256};

use super::{json::Fields, raw};
use crate::job::Fingerprint;

pub(super) fn fingerprint(fields: &Fields<'_>) -> Fingerprint {
    let mut digests: Vec<(String, [u8; 32])> = raw::FIELDS
        .into_iter()
        .filter(|name| *name != "execution_id")
        .filter_map(|name| {
            let value = if name == "event" { fields.written(name) } else { fields.given(name) };
            value.map(|value| (name.to_owned(), Sha256::digest(value.get()).into()))
        })
        .collect();
    digests.sort();
    Fingerprint(digests)
}
