//! `traceparent`, passed on to the control plane with everything that is said about the run. Not well-formed: ignored, as
//! W3C Trace Context (3.2.2) wants it.

use axum::http::HeaderMap;

/// The header as it came, if it is one and well-formed.
pub fn trace_parent(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all("traceparent").iter();
    let (Some(value), None) = (given.next(), given.next()) else { return None };
    value.to_str().ok().filter(|text| is_well_formed(text))
}

/// `version-trace id-parent id-flags`. A later version may have more behind a dash; 00 has not.
fn is_well_formed(text: &str) -> bool {
    let mut parts = text.splitn(5, '-');
    let (Some(version), Some(trace), Some(parent), Some(flags)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let hexadecimal = |part: &str, length| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let some = |part: &str| part.bytes().any(|byte| byte != b'0');
    let rest_fits = parts.next().is_none() || version != "00";
    text.len() <= 256
        && hexadecimal(version, 2)
        && version != "ff"
        && hexadecimal(trace, 32)
        && some(trace)
        && hexadecimal(parent, 16)
        && some(parent)
        && hexadecimal(flags, 2)
        && rest_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_well_formed_is_passed_on() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_well_formed(good));
        assert!(is_well_formed(&good.replacen("00", "cc", 1)));
        assert!(is_well_formed(&format!("{}-what-may-come", good.replacen("00", "cc", 1))));
        for bad in [
            "",
            "nonsense",
            &good[..54],
            &format!("{good}-more"),
            &good.to_uppercase(),
            &good.replacen("00", "ff", 1),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            &format!("cc{}-{}", &good[2..], "x".repeat(300)),
        ] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }

    #[test]
    fn two_of_them_are_none() {
        let mut headers = HeaderMap::new();
        let value = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        headers.append("traceparent", value);
        assert!(trace_parent(&headers).is_some());
        headers.append("traceparent", headers["traceparent"].clone());
        assert_eq!(trace_parent(&headers), None);
    }
}
