//! `Content-Disposition` for a file whose name a hostile program chose (RFC 6266, RFC 8187).
//!
//! Always an attachment, always the last part of the path alone, and two names: one of plain ASCII, for whoever knows no
//! better, and the real one. Invariant: whatever the name, the header is one line of printable ASCII in which nothing but
//! our own quotes ends the value.

use std::fmt::Write;

use axum::http::HeaderValue;

/// `path`: as the manifest has it.
pub(super) fn attachment(path: &str) -> HeaderValue {
    let name = path.rsplit('/').next().unwrap_or(path);
    let mut value = String::from("attachment; filename=\"");
    value.extend(name.chars().map(plain));
    value.push_str("\"; filename*=UTF-8''");
    for byte in name.chars().map(harmless).collect::<String>().bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            value.push(char::from(byte));
        } else {
            write!(value, "%{byte:02X}").expect("a String takes everything");
        }
    }
    HeaderValue::from_str(&value).expect("only printable ASCII was written")
}

/// What every client takes literally. Not `%`, which some decode; not what ends or escapes a quoted string.
fn plain(character: char) -> char {
    if character.is_ascii_alphanumeric() || " !#$&'()+,-.=@[]^_`{}~".contains(character) {
        character
    } else {
        '_'
    }
}

/// A name is kept as it is, except for what would not be one elsewhere, and for marks that make a reader see another name
/// than there is (`exe.txt` for `txt.exe`).
fn harmless(character: char) -> char {
    match character {
        '/'
        | '\\'
        | '\u{061c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => '_',
        character if character.is_control() => '_',
        character => character,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(path: &str) -> (String, String) {
        let value = attachment(path);
        let value = value.to_str().unwrap();
        let rest = value.strip_prefix("attachment; filename=\"").unwrap();
        let (plain, encoded) = rest.split_once("\"; filename*=UTF-8''").unwrap();
        (plain.to_owned(), encoded.to_owned())
    }

    #[test]
    fn a_name_is_given_plain_and_exactly() {
        for (path, plain, encoded) in [
            ("report.pdf", "report.pdf", "report.pdf"),
            ("out/january/report.pdf", "report.pdf", "report.pdf"),
            ("a b.txt", "a b.txt", "a%20b.txt"),
            ("größe.txt", "gr__e.txt", "gr%C3%B6%C3%9Fe.txt"),
            ("\"; filename=\"x.exe", "__ filename=_x.exe", "%22%3B%20filename%3D%22x.exe"),
            ("a\r\nSet-Cookie: b", "a__Set-Cookie_ b", "a__Set-Cookie%3A%20b"),
            ("a\\..\\b", "a_.._b", "a_.._b"),
            ("100%25.txt", "100_25.txt", "100%2525.txt"),
            ("\u{202e}txt.exe", "_txt.exe", "_txt.exe"),
            ("🙂", "_", "%F0%9F%99%82"),
            ("\u{7f}\u{1}", "__", "__"),
        ] {
            assert_eq!(names(path), (plain.to_owned(), encoded.to_owned()), "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn no_name_breaks_out(path in any::<String>()) {
            let (plain, encoded) = names(&path);
            prop_assert!(!plain.contains(['"', '\\', '/', '%', ';']));
            prop_assert!(plain.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert!(encoded.bytes().all(|byte| byte == b'%' || (byte.is_ascii_graphic() && !b"\"';,\\/".contains(&byte))));
            prop_assert_eq!(plain.chars().count(), path.rsplit('/').next().unwrap().chars().count());
        }
    }
}
