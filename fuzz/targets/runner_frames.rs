//! The private channel between daemon and runner, read from both ends: any bytes as reports, and as a job.
//!
//! The runner's end is in the hands of user code. Reading never panics, never takes more than a frame announced, never
//! reads past an announcement that is too long; a value that comes out is JSON that strict readers take. A job that can be
//! read is the same when the daemon writes it again.

#![no_main]

mod pieces;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use sandbox::channel::{JobFrame, MAX_RESULT_BYTES, Report, encode, read_job, read_report, well_formed};
use sandbox::program::Mode;
use serde_json::value::RawValue;

use crate::pieces::Pieces;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((piece, frames)) = data.split_first() else { return };
    reports(Pieces { rest: frames, piece: usize::from(*piece).max(1) });
    job(frames);
});

fn reports(mut from: Pieces<'_>) {
    loop {
        let before = from.rest;
        let read = {
            let reading = pin!(read_report(&mut from));
            reading.poll(&mut Context::from_waker(Waker::noop()))
        };
        let Poll::Ready(read) = read else { panic!("it waits for bytes that are there") };
        let taken = before.len() - from.rest.len();
        let announced = before.first_chunk().map(|length| u32::from_be_bytes(*length) as usize);
        match (read, announced) {
            (Ok(Some(report)), Some(announced)) => {
                assert_eq!(taken, 4 + announced, "frames are read one by one");
                examine(&report, announced);
            }
            (Ok(Some(_)), None) => panic!("a report without a length"),
            (Ok(None), _) => return assert!(before.is_empty(), "the end came early"),
            (Err(_), Some(announced)) => {
                let most = if announced > MAX_RESULT_BYTES + 1024 { 4 } else { 4 + announced };
                return assert!(taken <= most, "{taken} bytes taken of a frame of {announced}");
            }
            (Err(_), None) => return,
        }
    }
}

fn examine(report: &Report, announced: usize) {
    match report {
        Report::Result { value } => {
            let text = value.get();
            // `null` may be left out; half of a surrogate pair, six bytes, becomes an escape of six.
            assert!(text == "null" || text.len() < announced);
            if text.starts_with('"') {
                assert!(serde_json::from_str::<String>(text).is_ok(), "{text}");
            }
            let again = well_formed(value.clone()).expect("it is JSON");
            assert_eq!(again.get(), text, "what is well-formed stays as it is");
        }
        Report::Ready | Report::Started | Report::Error { .. } | Report::Exit { .. } => {}
    }
}

fn job(frame: &[u8]) {
    let Ok(job) = read_job(frame) else { return };
    let event: &RawValue = &job.event;
    let written = encode(&JobFrame {
        execution_id: "exec_fuzz",
        mode: Mode::Script,
        code: &job.code,
        event,
        env: &job.env,
        files: &job.files,
        deadline_ms: 1,
        timeout_ms: 1.0,
        max_result_bytes: MAX_RESULT_BYTES,
        memory_bytes: 1,
        may_rest: false,
    })
    .expect("what was read can be written");
    let again = read_job(written.as_slice()).expect("what was written can be read");
    assert_eq!((again.code, again.env, again.files), (job.code, job.env, job.files));
    assert_eq!(again.event.get(), event.get());
}
