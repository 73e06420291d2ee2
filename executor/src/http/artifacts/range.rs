//! Which bytes a request wants: `Range` and `If-Range` (RFC 9110, 14.2 and 13.1.5).
//!
//! One range of bytes is honoured. Several, other units and what cannot be parsed are ignored, as the RFC allows: the answer
//! is then the whole file.

use std::ops::Range;

use axum::http::header::{IF_RANGE, RANGE};
use axum::http::{HeaderMap, Method};

use super::entity_tag::EntityTag;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    Whole,
    /// Not empty, and within the file.
    Part(Range<u64>),
    /// It lies outside.
    Unsatisfiable,
}

/// `tag`: of a file whose tag is known before it is read.
pub fn wanted(method: &Method, headers: &HeaderMap, tag: Option<&EntityTag>, size: u64) -> Wanted {
    let mut ranges = headers.get_all(RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else {
        return Wanted::Whole;
    };
    // Ranges are defined for GET alone.
    if *method != Method::GET || !still_the_same(headers, tag) {
        return Wanted::Whole;
    }
    range.to_str().map_or(Wanted::Whole, |range| parse(range, size))
}

/// Whether `If-Range` is absent or names this file. The comparison is the strong one; a date never matches, because no file
/// has one here.
fn still_the_same(headers: &HeaderMap, tag: Option<&EntityTag>) -> bool {
    let mut conditions = headers.get_all(IF_RANGE).iter();
    match (conditions.next(), conditions.next()) {
        (None, _) => true,
        (Some(one), None) => tag.is_some_and(|tag| one.as_bytes() == tag.as_str().as_bytes()),
        (Some(_), Some(_)) => false,
    }
}

fn parse(range: &str, size: u64) -> Wanted {
    let positions = range.split_once('=').filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"));
    let Some((first, last)) = positions.and_then(|(_, set)| set.trim_matches([' ', '\t']).split_once('-'))
    else {
        return Wanted::Whole;
    };
    match (first, last) {
        ("", last) => match number(last) {
            None => Wanted::Whole,
            Some(0) => Wanted::Unsatisfiable,
            // All of nothing is satisfiable, and cannot be written as a range.
            Some(_) if size == 0 => Wanted::Whole,
            Some(count) => Wanted::Part(size.saturating_sub(count)..size),
        },
        (first, last) => {
            let last = if last.is_empty() { Some(u64::MAX) } else { number(last) };
            match (number(first), last) {
                (Some(first), Some(last)) if first > last => Wanted::Whole,
                (Some(first), Some(_)) if first >= size => Wanted::Unsatisfiable,
                (Some(first), Some(last)) => Wanted::Part(first..last.saturating_add(1).min(size)),
                (None, _) | (_, None) => Wanted::Whole,
            }
        }
    }
}

/// Digits alone. A number beyond 64 bits is beyond every file, and stays so.
fn number(digits: &str) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_range_of_bytes_is_honoured() {
        for (range, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-9", 0..10),
            ("bytes=0-", 0..10),
            ("bytes=3-5", 3..6),
            ("bytes=3-500", 3..10),
            ("bytes=3-99999999999999999999999", 3..10),
            ("bytes=9-", 9..10),
            ("bytes=-1", 9..10),
            ("bytes=-10", 0..10),
            ("bytes=-11", 0..10),
            ("bytes=-99999999999999999999999", 0..10),
            ("BYTES=1-2", 1..3),
            ("bytes= 1-2 ", 1..3),
            ("bytes=001-002", 1..3),
        ] {
            assert_eq!(parse(range, 10), Wanted::Part(part), "{range}");
        }
    }

    #[test]
    fn a_range_outside_is_unsatisfiable() {
        for range in ["bytes=10-", "bytes=10-20", "bytes=99999999999999999999999-", "bytes=-0"] {
            assert_eq!(parse(range, 10), Wanted::Unsatisfiable, "{range}");
        }
        assert_eq!(parse("bytes=0-", 0), Wanted::Unsatisfiable);
        assert_eq!(parse("bytes=-5", 0), Wanted::Whole);
    }

    #[test]
    fn everything_else_is_ignored() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5",
            "bytes=5-3",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-+2",
            "bytes=0-1,3-4",
            "bytes=0-1,",
            "bytes=-1-2",
            "bytes=1--2",
            "bytes=0x1-2",
            "lines=1-2",
            "bytes =1-2",
            "bytes=1 -2",
            "bytes=٣-",
        ] {
            assert_eq!(parse(range, 10), Wanted::Whole, "{range}");
        }
    }

    fn headers(pairs: &[(axum::http::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_range_holds_for_get_and_for_the_file_that_if_range_names() {
        let tag = EntityTag::new(&[1; 32]);
        let weak = format!("W/{}", tag.as_str());
        let (get, part) = (Method::GET, Wanted::Part(1..3));
        let with = |condition: &str| headers(&[(RANGE, "bytes=1-2"), (IF_RANGE, condition)]);
        assert_eq!(wanted(&get, &headers(&[(RANGE, "bytes=1-2")]), None, 10), part);
        assert_eq!(wanted(&get, &with(tag.as_str()), Some(&tag), 10), part);
        assert_eq!(wanted(&Method::HEAD, &headers(&[(RANGE, "bytes=1-2")]), Some(&tag), 10), Wanted::Whole);
        assert_eq!(wanted(&get, &with(tag.as_str()), None, 10), Wanted::Whole);
        for condition in [weak.as_str(), "\"other\"", "*", "Tue, 15 Nov 1994 12:45:26 GMT"] {
            assert_eq!(wanted(&get, &with(condition), Some(&tag), 10), Wanted::Whole, "{condition}");
        }
        let mut twice = headers(&[(RANGE, "bytes=1-2")]);
        twice.append(RANGE, HeaderValue::from_static("bytes=1-2"));
        assert_eq!(wanted(&get, &twice, Some(&tag), 10), Wanted::Whole);
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_never_outside(range in "(bytes=)?[0-9,=-]{0,12}|\\PC*", size in 0_u64..1000) {
            if let Wanted::Part(part) = parse(&range, size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }

        #[test]
        fn what_is_asked_for_is_what_is_given(first in 0_u64..100, count in 0_u64..100, size in 1_u64..100) {
            let wanted = parse(&format!("bytes={first}-{}", first + count), size);
            let there: Vec<u64> = (first..=first + count).filter(|position| *position < size).collect();
            let given: Vec<u64> = match wanted {
                Wanted::Part(part) => part.collect(),
                Wanted::Unsatisfiable => Vec::new(),
                Wanted::Whole => panic!("a good range was ignored"),
            };
            prop_assert_eq!(given, there);
        }
    }
}
