//! Server-sent events as they come from a connection: bytes in pieces of any size → events.
//!
//! As the HTML standard reads them (9.2.6): lines end with CR, LF or both; a line that begins with a colon says nothing; data lines
//! are joined; an event without data is none; what breaks off is not an event. Nothing is kept beyond one event, and that is
//! bounded: a server that never ends one cannot fill our memory.
//!
//! Our own, because the format is four rules, and what brings it as a crate brings a stack of streams or parsers with it.

/// What an event may hold. `finished` is the largest: both streams, of which a daemon keeps at most 100 MiB each, as JSON.
pub(super) const LONGEST_EVENT: usize = 256 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// `message` where the server names none.
    pub(super) name: String,
    /// Of this event, or of the last one before it that had one: where to go on.
    pub(super) id: String,
    pub(super) data: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {longest} bytes")]
pub(super) struct TooLong {
    longest: usize,
}

/// State of one connection.
#[derive(Debug)]
pub(super) struct Parser {
    longest: usize,
    /// The line under way.
    line: Vec<u8>,
    /// A line feed that comes next ends no line: it belongs to the carriage return before it.
    after_carriage_return: bool,
    /// No line has been seen yet: this one may begin with a byte order mark.
    first: bool,
    name: String,
    id: String,
    /// `None`: no data line yet.
    data: Option<String>,
}

impl Parser {
    /// `longest`: bytes of an event, at most.
    pub(super) fn new(longest: usize) -> Self {
        Self {
            longest,
            line: Vec::new(),
            after_carriage_return: false,
            first: true,
            name: String::new(),
            id: String::new(),
            data: None,
        }
    }

    /// Appends the events that these bytes complete.
    pub(super) fn feed(&mut self, mut bytes: &[u8], events: &mut impl Extend<Event>) -> Result<(), TooLong> {
        if self.after_carriage_return && !bytes.is_empty() {
            self.after_carriage_return = false;
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            self.keep(&bytes[..end])?;
            events.extend(self.end_line());
            let carriage_return = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if carriage_return {
                self.after_carriage_return = bytes.is_empty();
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
        }
        self.keep(bytes)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let data = self.data.as_ref().map_or(0, String::len);
        if data + self.name.len() + self.line.len() + bytes.len() > self.longest {
            return Err(TooLong { longest: self.longest });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let first = std::mem::take(&mut self.first);
        let line = if first { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line) } else { &line };
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let data = self.data.take()?;
            let name = if name.is_empty() { "message".to_owned() } else { name };
            return Some(Event { name, id: self.id.clone(), data });
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = String::from_utf8_lossy(value.strip_prefix(b" ").unwrap_or(value));
        match &line[..colon] {
            b"event" => self.name = value.into_owned(),
            b"data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(&value);
                }
                None => self.data = Some(value.into_owned()),
            },
            b"id" if !value.contains('\0') => self.id = value.into_owned(),
            // Comments have an empty name; `retry` is ours to decide; others may come one day.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(bytes: &[u8]) -> Vec<(String, String, String)> {
        pieces(&[bytes]).unwrap()
    }

    fn pieces(pieces: &[&[u8]]) -> Result<Vec<(String, String, String)>, TooLong> {
        let mut parser = Parser::new(1000);
        let mut events = Vec::new();
        for piece in pieces {
            parser.feed(piece, &mut events)?;
        }
        Ok(events.into_iter().map(|event| (event.name, event.id, event.data)).collect())
    }

    fn event(name: &str, id: &str, data: &str) -> (String, String, String) {
        (name.to_owned(), id.to_owned(), data.to_owned())
    }

    #[test]
    fn an_event_is_what_stands_before_an_empty_line() {
        for (text, expected) in [
            ("event: stdout\nid: 1-2-3\ndata: {}\n\n", vec![event("stdout", "1-2-3", "{}")]),
            ("event: a\r\nid: 1\r\ndata: x\r\n\r\n", vec![event("a", "1", "x")]),
            ("event: a\rid: 1\rdata: x\r\r", vec![event("a", "1", "x")]),
            ("\u{feff}data: x\n\n", vec![event("message", "", "x")]),
            ("data: \u{feff}x\n\n", vec![event("message", "", "\u{feff}x")]),
            ("data: a\ndata\ndata:  b\n\n", vec![event("message", "", "a\n\n b")]),
            ("data\n\n", vec![event("message", "", "")]),
            (": still here\n\ndata:x\n: between\n\n", vec![event("message", "", "x")]),
            ("event: lost\n\ndata: x\n\n", vec![event("message", "", "x")]),
            ("id: 1\ndata: a\n\ndata: b\n\n", vec![event("message", "1", "a"), event("message", "1", "b")]),
            (
                "id: 1\ndata: a\n\nid\ndata: b\n\n",
                vec![event("message", "1", "a"), event("message", "", "b")],
            ),
            ("id: 1\nid: 2\0\ndata: a\n\n", vec![event("message", "1", "a")]),
            ("retry: 5\nfoo: bar\nDATA: x\n data: y\ndata: z\n\n", vec![event("message", "", "z")]),
            ("data: unfinished\n", vec![]),
            ("data: unfinished", vec![]),
            ("\n\n\r\n\r", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(events(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(events(b"data: caf\xc3\xa9 \xff\n\n"), [event("message", "", "caf\u{e9} \u{fffd}")]);
    }

    #[test]
    fn what_never_ends_is_refused() {
        assert!(pieces(&[b"data: ", &[b'x'; 990], b"\n\n"]).is_ok());
        assert!(pieces(&[b"data: ", &[b'x'; 995]]).is_err(), "a line");
        assert!(pieces(&[b"data: xx\n".repeat(400).as_slice()]).is_err(), "an event");
        assert!(pieces(&[b"data: xx\n\n".repeat(400).as_slice()]).is_ok(), "many events are not one");
        assert!(pieces(&[b"data:\n".repeat(2000).as_slice()]).is_err(), "one of empty lines");
        assert!(pieces(&[b": comment\n".repeat(400).as_slice()]).is_ok());
    }

    fn line() -> impl Strategy<Value = String> {
        let word = prop_oneof!["event", "data", "id", "retry", "", "[a-z]{1,3}"];
        let value = prop_oneof!["", ": ?[a-z0-9: \u{e9}]{0,6}"];
        let end = prop_oneof!["\n", "\r\n", "\r", "\n\n", "\r\n\r\n", "\r\r"];
        (word, value, end).prop_map(|(word, value, end)| format!("{word}{value}{end}"))
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_same_events_come_out(
            lines in proptest::collection::vec(line(), 0..20),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let text = lines.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let cut: Vec<&[u8]> = cuts.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect();
            prop_assert_eq!(pieces(&cut).unwrap(), events(&text));
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            prop_assert_eq!(pieces(&bytes).unwrap(), events(&text));
        }

        #[test]
        fn an_event_that_was_written_is_read(
            events in proptest::collection::vec(("[a-z]{1,8}", "[0-9-]{1,8}", "[ -~\u{e9}\n]{0,40}"), 0..8)
        ) {
            let written: String = events
                .iter()
                .map(|(name, id, data)| {
                    let data = data.replace('\n', "\ndata: ");
                    format!("event: {name}\nid: {id}\ndata: {data}\n\n")
                })
                .collect();
            prop_assert_eq!(self::events(written.as_bytes()), events);
        }
    }
}
