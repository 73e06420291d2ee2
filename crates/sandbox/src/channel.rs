#![doc = include_str!("channel.md")]
//!
//! This file knows frames, their order and their caps, for both ends. It must never trust what a runner says about itself
//! beyond what the type below can hold.

use std::collections::BTreeMap;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::program::{InputFile, Mode};

/// The largest JSON text a handler may return.
pub const MAX_RESULT_BYTES: usize = 16 * 1024 * 1024;

/// A result frame is its value and a few bytes around it.
const MAX_REPORT_BYTES: usize = MAX_RESULT_BYTES + 1024;

/// The request body is at most as long as configured, and this is far above what may be configured.
const MAX_JOB_BYTES: usize = 256 * 1024 * 1024;

/// Frame 2, as the daemon writes it.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "job")]
pub struct JobFrame<'a> {
    pub execution_id: &'a str,
    pub mode: Mode,
    pub code: &'a str,
    pub event: &'a RawValue,
    pub env: &'a BTreeMap<String, String>,
    pub files: &'a [InputFile],
    pub deadline_ms: u64,
    pub timeout_ms: f64,
    pub max_result_bytes: usize,
    pub memory_bytes: u64,
    pub may_rest: bool,
}

/// Frame 2, as a runner written in Rust reads it.
#[derive(Debug, Deserialize)]
pub struct ReceivedJob {
    pub code: String,
    pub event: Box<RawValue>,
    pub env: BTreeMap<String, String>,
    pub files: Vec<InputFile>,
}

/// Frames 1, 3, 4 and 5.
#[derive(Debug)]
pub enum Report {
    Ready,
    Started,
    Result { value: Box<RawValue> },
    Error { kind: ErrorKind, limit: Option<InnerLimit> },
    Exit { code: u8 },
}

/// A report as it is written. One flat struct, because serde buffers tagged enums and would lose the raw text of `value`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ReportFrame {
    r#type: ReportType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<ErrorKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<InnerLimit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<u8>,
}

#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ReportType {
    #[default]
    Ready,
    Started,
    Result,
    Error,
    Exit,
}

impl ReportFrame {
    pub fn ready() -> Self {
        Self { r#type: ReportType::Ready, ..Self::default() }
    }

    pub fn started() -> Self {
        Self { r#type: ReportType::Started, ..Self::default() }
    }

    pub fn result(value: Box<RawValue>) -> Self {
        Self { r#type: ReportType::Result, value: Some(value), ..Self::default() }
    }

    pub fn error(kind: ErrorKind) -> Self {
        Self { r#type: ReportType::Error, kind: Some(kind), ..Self::default() }
    }

    fn checked(self) -> io::Result<Report> {
        Ok(match self.r#type {
            ReportType::Ready => Report::Ready,
            ReportType::Started => Report::Started,
            ReportType::Result => Report::Result { value: well_formed(self.value.unwrap_or_else(null))? },
            ReportType::Error => Report::Error {
                kind: self.kind.ok_or_else(|| io::Error::other("an error frame without a kind"))?,
                limit: self.limit,
            },
            ReportType::Exit => Report::Exit {
                code: self.code.ok_or_else(|| io::Error::other("an exit frame without a code"))?,
            },
        })
    }
}

/// JSON `null`: what a program that returns nothing returns.
pub fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    Exception,
    NoHandler,
    Result,
    Input,
}

/// A limit that shows as a refused call inside, and as nothing outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InnerLimit {
    Memory,
    Processes,
    FileSize,
}

pub fn encode(frame: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, frame)?;
    let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

/// Reads the job, in a runner.
pub fn read_job(mut from: impl Read) -> io::Result<ReceivedJob> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = checked_length(length, MAX_JOB_BYTES)?;
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// Reads the next report, in the daemon. `None` once the other end is closed.
///
/// # Errors
/// A frame that is too long, cut off, or not one of [`Report`]; nothing that follows can be trusted then.
pub async fn read_report(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Report>> {
    let mut length = [0; 4];
    if from.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut length[1..]).await?;
    let length = checked_length(length, MAX_REPORT_BYTES)?;
    // Grows with what arrives, not with what was announced.
    let mut body = Vec::new();
    if from.take(length as u64).read_to_end(&mut body).await? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let frame: ReportFrame = serde_json::from_slice(&body)?;
    frame.checked().map(Some)
}

fn checked_length(length: [u8; 4], most: usize) -> io::Result<usize> {
    let length = u32::from_be_bytes(length) as usize;
    if length > most {
        return Err(io::Error::other(format!("a frame of {length} bytes; at most {most} are allowed")));
    }
    Ok(length)
}

/// JSON may spell half a surrogate pair (`"\ud800"`), and strict readers choke on it. Replaced by U+FFFD.
pub fn well_formed(value: Box<RawValue>) -> io::Result<Box<RawValue>> {
    let text = value.get();
    if !text.contains("\\u") {
        return Ok(value);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let unit = |text: &str| -> Option<u16> {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok()
    };
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                out.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            (Some(_), _) => 6,
            (None, _) => 2,
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out.push_str(rest);
    Ok(RawValue::from_string(out)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced_and_everything_else_kept() {
        for (given, expected) in [
            (r#""plain""#, r#""plain""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ud800""#, r#""\ufffd""#),
            (r#""\udc00\ud800x""#, r#""\ufffd\ufffdx""#),
            (r#""\ud800\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\\ud800""#, r#""\\ud800""#),
            (r#""\\\ud800\"""#, r#""\\\ufffd\"""#),
            (r#"{"\ud800":[1.50,"\u0041"]}"#, r#"{"\ufffd":[1.50,"\u0041"]}"#),
        ] {
            assert_eq!(well_formed(raw(given)).unwrap().get(), expected, "{given}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_made_well_formed_parses_strictly(units in proptest::collection::vec(proptest::num::u16::ANY, 0..20)) {
            let text: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let fixed = well_formed(raw(&format!("\"{text}\""))).unwrap();
            proptest::prop_assert!(serde_json::from_str::<String>(fixed.get()).is_ok());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut from = bytes.as_slice();
                while let Ok(Some(_)) = read_report(&mut from).await {}
            });
        }
    }

    #[tokio::test]
    async fn frames_survive_the_trip_and_falsy_values_with_them() {
        for value in ["0", "false", "null", "\"\"", "[]", "1e400", "123456789012345678901234567890"] {
            let bytes = encode(&ReportFrame::result(raw(value))).unwrap();
            let Some(Report::Result { value: got }) = read_report(&mut bytes.as_slice()).await.unwrap()
            else {
                panic!("not a result");
            };
            assert_eq!(got.get(), value);
        }
    }

    #[tokio::test]
    async fn an_exit_has_a_code_that_a_process_can_have() {
        for (text, expected) in [
            (r#"{"type":"exit","code":0}"#, Some(0)),
            (r#"{"type":"exit","code":255}"#, Some(255)),
            (r#"{"type":"exit","code":256}"#, None),
            (r#"{"type":"exit","code":-1}"#, None),
            (r#"{"type":"exit"}"#, None),
        ] {
            let bytes = encode(&raw(text)).unwrap();
            let read = read_report(&mut bytes.as_slice()).await.ok().flatten();
            assert_eq!(
                read.map(|report| matches!(report, Report::Exit { code } if Some(code) == expected)),
                expected.map(|_| true),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn a_frame_that_announces_too_much_is_refused_before_it_is_read() {
        let error = read_report(&mut [0xff_u8, 0xff, 0xff, 0xff].as_slice()).await.unwrap_err();
        assert!(error.to_string().contains("at most"), "{error}");
    }

    #[tokio::test]
    async fn a_frame_that_is_cut_off_is_an_error() {
        let bytes = encode(&ReportFrame::ready()).unwrap();
        assert!(read_report(&mut &bytes[..bytes.len() - 1]).await.is_err());
    }
}
