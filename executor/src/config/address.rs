//! Reads `CONTROL_PLANE_URL` and `CONTROL_PLANE_PREFIX`, and the `--url` of the command line.
//!
//! Only an address that cannot carry a secret gets through: user names, passwords, queries and fragments are refused,
//! and a text that might hold one is never repeated in a message. Pure; nothing is looked up.

use std::net::Ipv6Addr;

use axum::http::Uri;

/// Why an address is refused. Each continues "CONTROL_PLANE_URL is VALUE, ..." or, where the value must not be shown,
/// "CONTROL_PLANE_URL ..."; what may hold a secret has words of its own for `--url`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UrlProblem {
    MayHoldSecret(&'static str),
    Shown(&'static str),
}

/// The address without a trailing slash.
pub(crate) fn url(text: &str) -> Result<String, UrlProblem> {
    use UrlProblem::{MayHoldSecret, Shown};
    // These three first, and on the bare text: nothing after them can print a password or a token by mistake.
    if text.contains('@') {
        return Err(MayHoldSecret("holds a user name or password; the token belongs in INTERNAL_API_TOKEN"));
    }
    if text.contains('?') {
        return Err(MayHoldSecret("holds a query"));
    }
    if text.contains('#') {
        return Err(MayHoldSecret("holds a fragment"));
    }
    if !text.is_ascii() {
        return Err(Shown(
            "which is not ASCII: write a host name in its punycode form, a path percent-encoded",
        ));
    }
    let Ok(uri) = text.parse::<Uri>() else {
        return Err(Shown("which is not a URL"));
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(Shown("which starts with neither http:// nor https://"));
    }
    let Some(authority) = uri.authority() else {
        return Err(Shown("which names no host"));
    };
    if !is_host(authority.host()) {
        return Err(Shown("which names no usable host"));
    }
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    if !port.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
        return Err(Shown("whose port is not a number from 1 to 65535"));
    }
    if path_has_dots(uri.path()) {
        return Err(Shown("whose path holds a . or .. part"));
    }
    let scheme = uri.scheme_str().unwrap_or_default();
    Ok(format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/')))
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        && !host.starts_with(['.', '-'])
}

/// A leading slash is added where it is missing and trailing ones are taken off; `/` alone is none at all.
pub(super) fn prefix(text: &str) -> Result<String, &'static str> {
    let inner = text.trim_matches('/');
    if inner.is_empty() {
        return Ok(String::new());
    }
    if !inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte)) {
        return Err("which holds a character that does not belong in a path");
    }
    if path_has_dots(inner) || inner.contains("//") {
        return Err("which holds an empty, . or .. part");
    }
    Ok(format!("/{inner}"))
}

fn path_has_dots(path: &str) -> bool {
    path.split('/').any(|part| part == "." || part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses_lose_only_their_trailing_slash() {
        for (text, meant) in [
            ("http://control-plane:8000", "http://control-plane:8000"),
            ("http://control-plane:8000/", "http://control-plane:8000"),
            ("https://cp.example/base//", "https://cp.example/base"),
            ("HTTP://cp.example/base", "http://cp.example/base"),
            ("http://[::1]:8000/", "http://[::1]:8000"),
            ("http://10.0.0.1", "http://10.0.0.1"),
            ("http://control_plane", "http://control_plane"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ] {
            assert_eq!(url(text), Ok(meant.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_may_hold_a_secret_is_refused_without_being_shown() {
        for text in
            ["http://user:pw@cp", "http://token@cp", "user:pw@cp", "http://cp/?token=x", "http://cp/#token"]
        {
            assert!(matches!(url(text), Err(UrlProblem::MayHoldSecret(_))), "{text}: {:?}", url(text));
        }
    }

    #[test]
    fn what_is_no_http_address_is_refused() {
        for text in [
            "control-plane",
            "control-plane:8000",
            "ftp://cp",
            "unix:///run/cp.sock",
            "http://",
            "http:///path",
            "http://cp:",
            "http://cp:0",
            "http://cp:99999",
            "http://cp:http",
            "http://[::1",
            "http://[nonsense]",
            "http://bücher.example",
            "http://c p",
            "http://cp/a/../b",
            "http://-cp",
            "/internal",
            "http:cp",
        ] {
            assert!(matches!(url(text), Err(UrlProblem::Shown(_))), "{text}: {:?}", url(text));
        }
    }

    #[test]
    fn a_prefix_gets_one_leading_slash_and_no_trailing_one() {
        for (text, meant) in [("/", ""), ("api", "/api"), ("/api/v1/", "/api/v1"), ("//api", "/api")] {
            assert_eq!(prefix(text), Ok(meant.to_owned()), "{text}");
        }
        for text in ["/a/../b", "/a//b", "/a?b", "/a b", "/a%2e", "http://cp", "/ü"] {
            assert!(prefix(text).is_err(), "{text}");
        }
    }
}
