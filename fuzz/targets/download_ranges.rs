//! `Range`, `If-Range` and `If-None-Match` of a download: a size, then the three headers, a line each.
//!
//! Never a panic. A part lies within the file and is not empty; it is only ever given for GET, and only when `If-Range` is
//! absent or names the file.

#![no_main]

use executor::http::artifacts::entity_tag::EntityTag;
use executor::http::artifacts::range::{Wanted, wanted};
use http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let size = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.parse().ok()).unwrap_or(10);
    let mut headers = HeaderMap::new();
    for (name, line) in [RANGE, IF_RANGE, IF_NONE_MATCH].into_iter().zip(lines) {
        if let (false, Ok(value)) = (line.is_empty(), HeaderValue::from_bytes(line)) {
            headers.append(name, value);
        }
    }
    let tag = EntityTag::new(&[0xab; 32]);
    if tag.is_in_if_none_match(&headers) {
        let list = &headers[IF_NONE_MATCH];
        let named = list.as_bytes().windows(66).any(|window| window == tag.as_str().as_bytes());
        assert!(named || list.as_bytes().trim_ascii() == b"*", "{list:?}");
    }
    assert_eq!(wanted(&Method::HEAD, &headers, Some(&tag), size), Wanted::Whole);
    let condition = headers.get(IF_RANGE).map(|condition| condition.as_bytes() == tag.as_str().as_bytes());
    match wanted(&Method::GET, &headers, Some(&tag), size) {
        Wanted::Whole => {}
        Wanted::Part(part) => {
            assert!(part.start < part.end && part.end <= size, "{part:?} of {size}");
            assert!(condition != Some(false), "a part of another file");
        }
        Wanted::Unsatisfiable => assert!(condition != Some(false), "a refusal for another file"),
    }
});
