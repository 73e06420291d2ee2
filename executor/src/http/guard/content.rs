//! What the headers say about a body, before a byte of it is read. Pure.

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use sandbox::limits::Bytes;

use crate::http::problem::Refusal;

/// What a caller declared is repeated up to here.
const SHOWN: usize = 100;

/// JSON, in UTF-8, not compressed: nothing else is ever unpacked or guessed at.
pub(super) fn check_kind(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        let several = headers.contains_key(CONTENT_TYPE).then(|| "several types".to_owned());
        return Err(Refusal::UnsupportedMediaType { got: several });
    };
    if !only.to_str().is_ok_and(is_json) {
        return Err(Refusal::UnsupportedMediaType { got: Some(shown(only.as_bytes())) });
    }
    match headers.get_all(CONTENT_ENCODING).iter().find(|value| !is_identity(value.as_bytes())) {
        None => Ok(()),
        Some(coded) => {
            let got = format!("the Content-Encoding {}", shown(coded.as_bytes()));
            Err(Refusal::UnsupportedMediaType { got: Some(got) })
        }
    }
}

/// `Content-Length`, where there is one; hyper has refused what is not a number, and several that differ.
pub(super) fn check_length(headers: &HeaderMap, limit: Bytes) -> Result<Option<u64>, Refusal> {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    match length {
        Some(length) if length > limit.0 => Err(Refusal::PayloadTooLarge { limit }),
        declared => Ok(declared),
    }
}

/// `application/json` or `application/NAME+json`; a charset, if any, must be utf-8 (RFC 8259, 8.1).
fn is_json(value: &str) -> bool {
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = match essence.strip_prefix("application/") {
        Some("json") => true,
        Some(name) => name.strip_suffix("+json").is_some_and(is_token),
        None => false,
    };
    is_json && parts.all(|parameter| parameter.is_empty() || is_harmless(parameter))
}

fn is_harmless(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else {
        return false;
    };
    let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    is_token(name) && (!name.eq_ignore_ascii_case("charset") || bare.eq_ignore_ascii_case("utf-8"))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
}

fn is_identity(value: &[u8]) -> bool {
    value.trim_ascii().eq_ignore_ascii_case(b"identity")
}

fn shown(value: &[u8]) -> String {
    format!("\"{}\"", value[..value.len().min(SHOWN)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn json_in_utf_8_is_let_through() {
        for value in [
            "application/json",
            "Application/JSON",
            "application/json;charset=utf-8",
            "application/json; charset=\"UTF-8\"",
            "application/json ; charset=utf-8 ; profile=x",
            "application/cloudevents+json",
            "application/json;",
        ] {
            assert_eq!(check_kind(&headers(&[(CONTENT_TYPE, value)])), Ok(()), "{value}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for value in [
            "",
            "text/json",
            "text/plain",
            "application/jsonp",
            "application/x-www-form-urlencoded",
            "application/+json",
            "application/json, text/plain",
            "application/json; charset=utf-16",
            "application/json; charset",
            "application/json; charset=utf-8; charset=latin1",
            "json",
            "*/*",
            "application/x y+json",
        ] {
            assert!(check_kind(&headers(&[(CONTENT_TYPE, value)])).is_err(), "{value}");
        }
        assert!(check_kind(&HeaderMap::new()).is_err());
        let mut twice = headers(&[(CONTENT_TYPE, "application/json")]);
        twice.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        assert!(check_kind(&twice).is_err());
    }

    #[test]
    fn a_compressed_body_is_refused() {
        let json = (CONTENT_TYPE, "application/json");
        assert_eq!(check_kind(&headers(&[json.clone(), (CONTENT_ENCODING, "Identity")])), Ok(()));
        for coding in ["gzip", "br", "identity, gzip", "", "gzip, identity"] {
            assert!(check_kind(&headers(&[json.clone(), (CONTENT_ENCODING, coding)])).is_err(), "{coding}");
        }
    }

    #[test]
    fn what_the_caller_declared_is_repeated_short_and_escaped() {
        let long = format!("text/\t{}", "x".repeat(5_000));
        let Err(Refusal::UnsupportedMediaType { got: Some(got) }) =
            check_kind(&headers(&[(CONTENT_TYPE, &long)]))
        else {
            panic!("not refused");
        };
        assert!(got.len() < 120 && got.starts_with("\"text/\\txxx"), "{got}");
    }

    #[test]
    fn a_declared_length_above_the_limit_is_refused_and_one_at_the_limit_is_not() {
        let limit = Bytes(10);
        assert_eq!(check_length(&headers(&[(CONTENT_LENGTH, "10")]), limit), Ok(Some(10)));
        assert_eq!(check_length(&HeaderMap::new(), limit), Ok(None));
        for length in ["11", "10737418240", "18446744073709551615"] {
            let refusal = check_length(&headers(&[(CONTENT_LENGTH, length)]), limit);
            assert_eq!(refusal, Err(Refusal::PayloadTooLarge { limit }), "{length}");
        }
    }
}
