//! The trace that a run belongs to: W3C Trace Context (level 2, version 00), read from its request or begun here.
//!
//! Headers are the caller's, so nothing of them is kept but what they mean: 16 and 8 bytes, two flags, and a `tracestate` of
//! bounded length in visible ASCII. What is not well-formed is ignored, as the specification wants it (3.2.2), and a new trace
//! is begun. An id of a trace stands in log lines and headers, never in a metric.
//!
//! ```text
//! caller's span ──► span of the run (only where it is reported) ──► what the control plane does with its result
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

/// The most of a `tracestate` that is passed on; what is longer is dropped whole (3.3.1.5 wants at least this much).
pub const LONGEST_STATE: usize = 512;

/// Longer than any version so far; what a later one may put behind is not looked at.
const LONGEST_PARENT: usize = 256;

const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

/// Whether spans of this daemon reach a collector. Where they do not, a run is not put between its caller and what follows:
/// nobody would ever hear of the span that both hang on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spans {
    Exported,
    Unexported,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    id: u128,
    /// The caller's span. `None`: the trace begins here.
    parent: Option<u64>,
    /// The run's own.
    span: u64,
    flags: u8,
    state: Option<String>,
    spans: Spans,
}

/// What is sent with everything that is said about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceHeaders {
    pub traceparent: String,
    pub tracestate: Option<String>,
}

impl Trace {
    /// A new one. It asks to be kept: its id is in the log, where somebody may want the rest of it.
    pub fn begin(spans: Spans) -> Self {
        let (id, span) = random();
        Self { id, parent: None, span, flags: SAMPLED | RANDOM, state: None, spans }
    }

    /// The one that a request names, else a new one. A `tracestate` means nothing without the trace.
    pub fn of(traceparent: Option<&str>, tracestate: Option<&str>, spans: Spans) -> Self {
        let begun = Self::begin(spans);
        let Some((id, parent, flags)) = traceparent.and_then(parse) else { return begun };
        let state = tracestate
            .map(|state| state.trim_matches([' ', '\t']))
            .filter(|state| is_state(state))
            .map(str::to_owned);
        Self { id, parent: Some(parent), flags, state, ..begun }
    }

    /// 32 hexadecimal digits.
    pub fn id(&self) -> String {
        format!("{:032x}", self.id)
    }

    /// Its id, if a tracing system has it: elsewhere it would lead nowhere.
    pub fn recorded_id(&self) -> Option<String> {
        let is_recorded = self.flags & SAMPLED != 0 && (self.parent.is_some() || self.is_exported());
        is_recorded.then(|| self.id())
    }

    /// Written as version 00, whatever version was read, with the flags that 00 knows (3.2.4).
    pub fn headers(&self) -> TraceHeaders {
        let parent = self.parent.filter(|_| !self.is_exported()).unwrap_or(self.span);
        TraceHeaders {
            traceparent: format!("00-{:032x}-{parent:016x}-{:02x}", self.id, self.flags),
            tracestate: self.state.clone(),
        }
    }

    /// Whether the run's spans are to be sent to the collector: its caller may have decided against it.
    pub fn is_exported(&self) -> bool {
        self.spans == Spans::Exported && self.flags & SAMPLED != 0
    }

    /// Trace, parent and own span, for what exports them.
    #[cfg(feature = "otlp")]
    pub(super) fn numbers(&self) -> (u128, Option<u64>, u64, u8) {
        (self.id, self.parent, self.span, self.flags)
    }

    #[cfg(feature = "otlp")]
    pub(super) fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

impl TraceHeaders {
    /// The id in them, if they are what [`Trace::headers`] writes: they may have been on disk meanwhile.
    pub fn trace_id(&self) -> Option<&str> {
        parse(&self.traceparent)?;
        self.traceparent.get(3..35)
    }

    /// Can they stand in headers?
    pub fn are_sane(&self) -> bool {
        parse(&self.traceparent).is_some() && self.tracestate.as_deref().is_none_or(is_state)
    }
}

/// `version-trace id-parent id-flags`. A later version may have more behind a dash; 00 has not.
fn parse(text: &str) -> Option<(u128, u64, u8)> {
    if text.len() > LONGEST_PARENT {
        return None;
    }
    let mut parts = text.splitn(5, '-');
    let version = hexadecimal(parts.next()?, 2).filter(|version| *version != 0xff)?;
    let id = hexadecimal(parts.next()?, 32).filter(|id| *id != 0)?;
    let parent = hexadecimal(parts.next()?, 16).filter(|parent| *parent != 0)?;
    let flags = hexadecimal(parts.next()?, 2)?;
    if version == 0 && parts.next().is_some() {
        return None;
    }
    Some((id, u64::try_from(parent).ok()?, u8::try_from(flags).ok()? & (SAMPLED | RANDOM)))
}

/// Lower case only, and neither more nor fewer digits.
fn hexadecimal(part: &str, digits: usize) -> Option<u128> {
    let fits = part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    fits.then(|| u128::from_str_radix(part, 16).ok())?
}

/// Bounded, and something that a header may hold. What it says is for those whose entries are in it.
fn is_state(text: &str) -> bool {
    (1..=LONGEST_STATE).contains(&text.len())
        && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && text.split(',').all(|member| member.trim().is_empty() || member.contains('='))
}

/// Neither is zero, which would be none.
fn random() -> (u128, u64) {
    let mut bytes = [0_u8; 24];
    if getrandom::fill(&mut bytes).is_err() {
        // Unique within this process is better than none; they are no secrets.
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        return (u128::from(count), count);
    }
    let (id, span) = bytes.split_at(16);
    let number = |bytes: &[u8]| bytes.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    (number(id).max(1), u64::try_from(number(span)).unwrap_or(1).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const ID: &str = "0af7651916cd43dd8448eb211c80319c";

    fn of(traceparent: &str) -> Trace {
        Trace::of(Some(traceparent), None, Spans::Unexported)
    }

    #[test]
    fn what_is_well_formed_is_continued_and_passed_on_as_version_00() {
        for (given, passed_on) in [
            (PARENT.to_owned(), PARENT.to_owned()),
            (PARENT.replacen("00", "cc", 1), PARENT.to_owned()),
            (format!("{}-what-may-come", PARENT.replacen("00", "cc", 1)), PARENT.to_owned()),
            (PARENT.replace("-01", "-00"), PARENT.replace("-01", "-00")),
            (PARENT.replace("-01", "-03"), PARENT.replace("-01", "-03")),
            // Flags that version 00 does not know are not passed on.
            (PARENT.replace("-01", "-fd"), PARENT.to_owned()),
        ] {
            let trace = of(&given);
            assert_eq!((trace.id(), trace.headers().traceparent), (ID.to_owned(), passed_on), "{given}");
        }
    }

    #[test]
    fn what_is_not_begins_a_new_trace() {
        for bad in [
            "",
            "nonsense",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            &PARENT[..54],
            &format!("{PARENT}-more"),
            &format!("{PARENT}-"),
            &PARENT.to_uppercase(),
            &PARENT.replacen("00", "ff", 1),
            &PARENT.replacen("00", "0", 1),
            &PARENT.replacen("0af", "+af", 1),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            &format!("cc{}-{}", &PARENT[2..], "x".repeat(300)),
        ] {
            let (one, other) = (of(bad), of(bad));
            assert_eq!(one.parent, None, "{bad}");
            assert!(one.id != other.id && one.span != other.span, "{bad}");
            let headers = one.headers();
            assert!(headers.are_sane() && headers.traceparent.ends_with("-03"), "{bad}: {headers:?}");
            assert_eq!(headers.trace_id(), Some(&*one.id()));
        }
    }

    #[test]
    fn a_state_is_passed_on_with_its_trace_as_long_as_it_is_bounded() {
        let with = |parent, state: &str| {
            Trace::of(Some(parent), Some(state), Spans::Unexported).headers().tracestate
        };
        let longest = format!("a={}", "x".repeat(LONGEST_STATE - 2));
        for good in ["rojo=00f067aa0ba902b7", "rojo=1, congo=t61rcWkgMzE", "a@b=x y", &longest] {
            assert_eq!(with(PARENT, good), Some(good.to_owned()));
            assert_eq!(with("nonsense", good), None);
        }
        for bad in
            ["", " ", "nonsense", "a=1,nonsense", "a=\n", "a=\u{1b}[31m", "a=ü", &format!("{longest}x")]
        {
            assert_eq!(with(PARENT, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_run_stands_between_caller_and_callback_only_where_its_span_is_exported() {
        let exported = Trace::of(Some(PARENT), None, Spans::Exported);
        assert!(exported.is_exported());
        let expected = format!("00-{ID}-{:016x}-01", exported.span);
        assert_eq!(exported.headers().traceparent, expected);
        // The caller has decided that nobody keeps this trace.
        let unsampled = PARENT.replace("-01", "-00");
        let trace = Trace::of(Some(&unsampled), None, Spans::Exported);
        assert!(!trace.is_exported());
        assert_eq!(trace.headers().traceparent, unsampled);
        assert!(
            Trace::begin(Spans::Exported).is_exported() && !Trace::begin(Spans::Unexported).is_exported()
        );
    }

    #[test]
    fn headers_that_were_on_disk_are_not_believed() {
        let headers = |parent: &str, state: Option<&str>| TraceHeaders {
            traceparent: parent.to_owned(),
            tracestate: state.map(str::to_owned),
        };
        assert_eq!(headers(PARENT, Some("a=1")).trace_id(), Some(ID));
        assert!(headers(PARENT, Some("a=1")).are_sane());
        for bad in [headers("two words", None), headers(PARENT, Some("a=\r\nx: y")), headers("é", None)] {
            assert!(!bad.are_sane(), "{bad:?}");
        }
        assert_eq!(headers("é23456789012345678901234567890123456789", None).trace_id(), None);
    }
}
