//! Bytes that become text, and the edges at which a character may have been cut in two.

pub(super) fn decode(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Without the beginning of a character whose rest was cut off.
pub(super) fn end_at_character(bytes: &[u8]) -> &[u8] {
    for back in 1..=bytes.len().min(3) {
        let needed = match bytes[bytes.len() - back] {
            0x80..=0xBF => continue,
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF7 => 4,
            _ => 1,
        };
        return if needed > back { &bytes[..bytes.len() - back] } else { bytes };
    }
    bytes
}

/// Without the rest of a character whose beginning was cut off.
pub(super) fn start_at_character(bytes: &[u8]) -> &[u8] {
    &bytes[left_of_a_character(bytes)..]
}

/// How many of the first bytes may be the rest of a character whose beginning was cut off.
pub(super) fn left_of_a_character<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> usize {
    bytes.into_iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count()
}

/// How many of the last bytes are the beginning of a character that more bytes may finish: exactly those that decoding would
/// still wait with.
pub(super) fn begun_at_end(bytes: &[u8]) -> usize {
    let begun = |back: &usize| {
        let last = &bytes[bytes.len() - back..];
        str::from_utf8(last).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    (1..=bytes.len().min(3)).find(begun).unwrap_or(0)
}
