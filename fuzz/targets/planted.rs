//! A bug that is there on purpose: the negative control of all the others.
//!
//! Chance does not make eight given bytes. A fuzzer that finds them was guided by coverage and by compared values, and one
//! that notices the overflow runs code with its checks on: if this is not found, silence elsewhere means nothing.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((magic, [first, second, ..])) = data.split_first_chunk::<4>() else { return };
    if u32::from_be_bytes(*magic) == 0x5ca1_ab1e && *first == b'#' && *second == 0xff {
        // Overflows, by design.
        let sum = std::hint::black_box(*second) + 1;
        std::hint::black_box(sum);
    }
});
