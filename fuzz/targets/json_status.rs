//! What bubblewrap says on its status descriptor, made up: any bytes, in any pieces, read to the end.
//!
//! Reading ends, never panics, takes no line of more than 4 KiB into memory, and tells no more than there are lines.

#![no_main]

mod pieces;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use sandbox::bwrap::status::{Status, next};

use crate::pieces::Pieces;

const LONGEST_LINE: usize = 4096;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((piece, said)) = data.split_first() else { return };
    let mut from = Pieces { rest: said, piece: usize::from(*piece).max(1) };
    let mut told = 0;
    loop {
        let before = from.rest;
        let read = pin!(next(&mut from)).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(read) = read else { panic!("it waits for bytes that are there") };
        let taken = &before[..before.len() - from.rest.len()];
        match read {
            Ok(Some(Status::Child(_) | Status::Exited(_))) => {
                told += 1;
                assert!(!taken.is_empty(), "something was told from nothing");
            }
            Ok(None) => return assert!(from.rest.is_empty(), "the end came early"),
            // The line at fault is the last one taken, and not more than a line was looked at.
            Err(_) => {
                let line = taken.strip_suffix(b"\n").unwrap_or(taken).rsplit(|byte| *byte == b'\n').next();
                return assert!(line.is_none_or(|line| line.len() <= 2 * LONGEST_LINE));
            }
        }
        assert!(told <= said.len() / "{\"exit-code\":0}".len());
    }
});
