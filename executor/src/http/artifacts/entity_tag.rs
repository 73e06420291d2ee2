//! `ETag`, and `If-None-Match` against it (RFC 9110, 8.8.3 and 13.1.2).

use std::fmt::Write;

use axum::http::header::IF_NONE_MATCH;
use axum::http::{HeaderMap, HeaderValue};

use crate::artifacts::download::Sha256Digest;

/// A strong one: the SHA-256 of what it stands for, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityTag(String);

impl EntityTag {
    pub fn new(sha256: &Sha256Digest) -> Self {
        let mut tag = String::with_capacity(66);
        tag.push('"');
        for byte in sha256 {
            write!(tag, "{byte:02x}").expect("a String takes everything");
        }
        tag.push('"');
        Self(tag)
    }

    /// With its quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("hexadecimal digits can stand in a header")
    }

    /// Whether the caller says that it has this already. Weak tags count: the comparison is the weak one.
    pub fn is_in_if_none_match(&self, headers: &HeaderMap) -> bool {
        headers.get_all(IF_NONE_MATCH).iter().any(|value| self.is_among(value.as_bytes()))
    }

    fn is_among(&self, list: &[u8]) -> bool {
        if list.trim_ascii() == b"*" {
            return true;
        }
        let mut rest = list;
        loop {
            while let [b' ' | b'\t' | b',', after @ ..] = rest {
                rest = after;
            }
            let opaque = rest.strip_prefix(b"W/").unwrap_or(rest);
            // A tag may hold commas: only its quotes end it. What is not a tag ends the list.
            let Some(length) =
                opaque.strip_prefix(b"\"").and_then(|tag| tag.iter().position(|byte| *byte == b'"'))
            else {
                return false;
            };
            let (tag, after) = opaque.split_at(length + 2);
            if tag == self.0.as_bytes() {
                return true;
            }
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tag() -> EntityTag {
        EntityTag::new(&[0xab; 32])
    }

    #[test]
    fn a_list_is_searched_for_the_tag() {
        let own = tag().as_str().to_owned();
        for list in [
            own.clone(),
            "*".into(),
            " * ".into(),
            format!("W/{own}"),
            format!("\"other\", {own}"),
            format!("\"a,b\" ,, W/\"\",\t{own} , \"c\""),
        ] {
            assert!(tag().is_among(list.as_bytes()), "{list}");
        }
        let bare = own.trim_matches('"').to_owned();
        for list in [
            String::new(),
            ",".into(),
            "\"other\"".into(),
            bare.clone(),
            format!("\"{bare}"),
            format!("w/{own}"),
            format!("*, {own}x \""),
            format!("\"x{bare}\""),
            "\"".into(),
            "W/".into(),
        ] {
            assert!(!tag().is_among(list.as_bytes()), "{list}");
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        let mut headers = HeaderMap::new();
        assert!(!tag().is_in_if_none_match(&headers));
        headers.append(IF_NONE_MATCH, HeaderValue::from_static("\"other\""));
        assert!(!tag().is_in_if_none_match(&headers));
        headers.append(IF_NONE_MATCH, tag().header());
        assert!(tag().is_in_if_none_match(&headers));
    }

    proptest! {
        #[test]
        fn no_list_is_too_strange(list in any::<Vec<u8>>()) {
            tag().is_among(&list);
        }

        #[test]
        fn a_tag_is_found_wherever_it_stands(
            before in proptest::collection::vec("(W/)?\"[!#-~]{0,5}\"", 0..5),
            after in proptest::collection::vec("(W/)?\"[!#-~]{0,5}\"", 0..5),
        ) {
            let list = [before, vec![tag().as_str().to_owned()], after].concat().join(", ");
            prop_assert!(tag().is_among(list.as_bytes()));
        }
    }
}
