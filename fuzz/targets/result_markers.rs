//! Results that programs print between marker lines: any text as stdout.
//!
//! Never a panic. Without a value the text is what it was; with one, exactly one stretch of it, which holds the value, is
//! cut out.

#![no_main]

use executor::run::markers::take;

libfuzzer_sys::fuzz_target!(|stdout: String| {
    let mut rest = stdout.clone();
    let Some(value) = take(&mut rest) else {
        return assert_eq!(rest, stdout, "nothing was taken, and yet something is gone");
    };
    let kept = stdout.bytes().zip(rest.bytes()).take_while(|(before, after)| before == after).count();
    let behind =
        rest.len() - stdout.bytes().rev().zip(rest.bytes().rev()).take_while(|(b, a)| b == a).count();
    assert!(rest.len() < stdout.len() && behind <= kept, "more than one stretch is gone");
    if value.get().starts_with('"') {
        assert!(serde_json::from_str::<String>(value.get()).is_ok(), "{value}");
    }
});
