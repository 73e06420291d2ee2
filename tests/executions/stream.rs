//! Server-sent events, read from a connection that the test owns: it can be read slowly, cut anywhere and left at any time.
//! Every event is held against the OpenAPI document, and the story that they tell together against its promises.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::SystemTime;

use conformance::{Daemon, contract};
use serde_json::Value;

/// A stream that was answered with 200. Reading ends with the test's patience, see `Daemon::connect`.
pub(crate) struct Stream {
    pub(crate) head: String,
    lines: BufReader<Chunks>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: Value,
    pub(crate) arrived: SystemTime,
}

/// One thing that was said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    Event(Event),
    Comment(String),
}

impl Stream {
    /// `GET /executions/{id}/events`.
    pub(crate) fn of(daemon: &Daemon, execution_id: &str) -> Self {
        Self::ask(daemon, &format!("GET /executions/{execution_id}/events HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    /// The same, as somebody who has seen this event already.
    pub(crate) fn behind(daemon: &Daemon, execution_id: &str, last: &str) -> Self {
        Self::ask(
            daemon,
            &format!(
                "GET /executions/{execution_id}/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {last}\r\n\r\n"
            ),
        )
    }

    /// `POST /execute` by somebody who wants events.
    pub(crate) fn from_start(daemon: &Daemon, request: &Value) -> Self {
        let body = request.to_string();
        let head = "POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\n";
        Self::ask(daemon, &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
    }

    fn ask(daemon: &Daemon, request: &str) -> Self {
        let mut stream = daemon.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut source = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(source.read_line(&mut head).unwrap(), 0, "the connection ended within {head:?}");
        }
        let lower = head.to_ascii_lowercase();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        for line in [
            "\r\ncontent-type: text/event-stream\r\n",
            "\r\ncache-control: no-store\r\n",
            "\r\nx-request-id: ",
            "\r\ntransfer-encoding: chunked\r\n",
        ] {
            assert!(lower.contains(line), "no {line:?} in {head}");
        }
        Self { head, lines: BufReader::new(Chunks { source, left: 0, over: false }) }
    }

    /// The next event or comment; `None` at a proper end.
    pub(crate) fn listen(&mut self) -> Option<Said> {
        let mut block = String::new();
        while !block.ends_with("\n\n") {
            if self.lines.read_line(&mut block).unwrap() == 0 {
                assert_eq!(block, "", "half an event");
                return None;
            }
        }
        Some(parse(block.trim_end_matches('\n')))
    }

    /// The next event; `None` at a proper end.
    pub(crate) fn next(&mut self) -> Option<Event> {
        loop {
            match self.listen()? {
                Said::Event(event) => return Some(event),
                Said::Comment(_) => {}
            }
        }
    }

    /// Reads to the end.
    pub(crate) fn story(mut self) -> Story {
        let mut story = Story::default();
        while let Some(event) = self.next() {
            story.hear(&event);
        }
        story
    }

    /// At most so many bytes, then the connection is cut. The events that arrived whole, and whether the stream ended by itself.
    pub(crate) fn cut_after(mut self, bytes: usize) -> (Vec<Event>, bool) {
        let mut heard = vec![0; bytes];
        let mut length = 0;
        let mut ended = false;
        while length < bytes && !ended {
            let count = self.lines.read(&mut heard[length..]).unwrap();
            length += count;
            ended = count == 0;
        }
        let heard = &heard[..length];
        // What follows the last blank line is half an event, which a client drops.
        let whole = heard.windows(2).rposition(|pair| pair == b"\n\n").map_or(0, |end| end + 2);
        let blocks = std::str::from_utf8(&heard[..whole]).unwrap().split_terminator("\n\n");
        let events = blocks.filter_map(|block| match parse(block) {
            Said::Event(event) => Some(event),
            Said::Comment(_) => None,
        });
        (events.collect(), ended)
    }
}

fn parse(block: &str) -> Said {
    if let Some(comment) = block.strip_prefix(':') {
        return Said::Comment(comment.to_owned());
    }
    let (mut name, mut id, mut data) = (None, None, None);
    for line in block.split('\n') {
        let (field, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}"));
        let field = match field {
            "event" => &mut name,
            "id" => &mut id,
            "data" => &mut data,
            other => panic!("a field that nobody knows: {other:?}"),
        };
        assert!(field.replace(value.to_owned()).is_none(), "a field twice: {block:?}");
    }
    let (name, data) = (name.expect("an event has a name"), data.expect("an event has data"));
    let data = serde_json::from_str(&data).unwrap();
    contract::check_event(&name, &data);
    Said::Event(Event { name, id: id.expect("an event has an id"), data, arrived: SystemTime::now() })
}

/// A body in chunks (RFC 9112, 7.1). One that breaks off is an error, not an end.
struct Chunks {
    source: BufReader<TcpStream>,
    left: usize,
    over: bool,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.over || buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            let mut size = String::new();
            self.source.read_line(&mut size)?;
            self.left = usize::from_str_radix(size.trim_end(), 16).map_err(io::Error::other)?;
            if self.left == 0 {
                self.over = true;
                return self.end_of_chunk().map(|()| 0);
            }
        }
        let wanted = buffer.len().min(self.left);
        let count = self.source.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count;
        if self.left == 0 {
            self.end_of_chunk()?;
        }
        Ok(count)
    }
}

impl Chunks {
    fn end_of_chunk(&mut self) -> io::Result<()> {
        let mut end = [0; 2];
        self.source.read_exact(&mut end)?;
        if end == *b"\r\n" { Ok(()) } else { Err(io::Error::other("a chunk does not end")) }
    }
}

/// What a stream has told, from the beginning.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Story {
    pub(crate) execution_id: Option<String>,
    pub(crate) stdout: Told,
    pub(crate) stderr: Told,
    pub(crate) finished: Option<Value>,
    /// Of the last event.
    pub(crate) last_id: String,
}

/// What was told of one of the program's streams.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Told {
    pub(crate) text: String,
    pub(crate) missed: u64,
    /// Where the last piece ended, if its text says so: replaced bytes do not tell how many they were.
    end: Option<u64>,
    /// Where the last piece began.
    last: u64,
}

impl Story {
    /// Panics when this cannot come after what was heard before.
    pub(crate) fn hear(&mut self, event: &Event) {
        assert!(self.finished.is_none(), "after the end: {event:?}");
        assert_ne!(event.id, self.last_id, "two events with one id");
        self.last_id.clone_from(&event.id);
        if event.name == "started" {
            let id = event.data["execution_id"].as_str().unwrap().to_owned();
            assert_eq!(self.execution_id.replace(id), None, "started twice");
            return;
        }
        match event.name.as_str() {
            "stdout" | "stderr" => {
                assert!(self.execution_id.is_some(), "before it has started: {event:?}");
                let told = if event.name == "stdout" { &mut self.stdout } else { &mut self.stderr };
                told.hear(&event.data);
            }
            "finished" => self.finished = Some(event.data.clone()),
            other => panic!("an event that nobody knows: {other}"),
        }
    }

    /// The result that ended it. Panics when there was none.
    pub(crate) fn result(&self) -> &Value {
        self.finished.as_ref().unwrap_or_else(|| panic!("it did not finish: {self:?}"))
    }

    /// Panics unless it is the whole story: it began, nothing was missed, the text is that of the result, and it ended.
    pub(crate) fn is_whole(&self) {
        let result = self.result();
        assert_eq!(self.execution_id.as_deref(), result["execution_id"].as_str());
        assert_eq!((self.stdout.missed, self.stderr.missed), (0, 0), "something was missed");
        for (told, stream) in [(&self.stdout, "stdout"), (&self.stderr, "stderr")] {
            let expected = result[stream].as_str().unwrap();
            let differ = told.text.bytes().zip(expected.bytes()).position(|(told, wanted)| told != wanted);
            assert!(
                told.text == expected,
                "{stream}: {} bytes told, {} in the result, the first difference at {differ:?}",
                told.text.len(),
                expected.len()
            );
        }
    }
}

impl Told {
    fn hear(&mut self, piece: &Value) {
        let (offset, missed) = (piece["offset"].as_u64().unwrap(), piece["missed_bytes"].as_u64().unwrap());
        let text = piece["text"].as_str().unwrap();
        match self.end {
            _ if self.text.is_empty() && self.missed == 0 => assert_eq!(offset, missed),
            Some(end) => assert_eq!(offset, end + missed, "a gap that is not told: {piece}"),
            None => assert!(offset - missed > self.last, "it goes back: {piece}"),
        }
        self.last = offset;
        self.end = (!text.contains('\u{FFFD}')).then(|| offset + text.len() as u64);
        self.missed += missed;
        self.text.push_str(text);
    }
}
