//! A collector on a port of its own, and what it gets of a run. What it gets is read as protobuf by the numbers of
//! opentelemetry/proto/trace/v1/trace.proto.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sandbox::host::{Capabilities, CgroupVersion, MemoryKeeper, ProcView, UserNamespaces};
use serde_json::json;

use super::*;
use crate::run::record::Phases;
use crate::telemetry::trace::{Spans, Trace};
use crate::{config, intake};

const PATIENCE: Duration = Duration::from_secs(20);
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Answers every call with this status. What it was posted: path and body.
fn collector(status: &'static str) -> (String, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (heard, calls) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut bytes = Vec::new();
            let mut piece = [0_u8; 4_096];
            let (head, length) = loop {
                let read = stream.read(&mut piece).unwrap();
                bytes.extend_from_slice(&piece[..read]);
                let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
                let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                break (head.clone(), end + 4 + length.parse::<usize>().unwrap());
            };
            while bytes.len() < length {
                let read = stream.read(&mut piece).unwrap();
                bytes.extend_from_slice(&piece[..read]);
            }
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            let body = bytes[bytes.len() - (length - head.len() - 4)..].to_vec();
            if heard.send((head.lines().next().unwrap().to_owned(), body)).is_err() {
                return;
            }
        }
    });
    (url, calls)
}

fn exporter(url: &str) -> Exporter {
    let matches = config::flags(clap::Command::new("x")).get_matches_from(["x"]);
    let set = [("OTEL_EXPORTER_OTLP_ENDPOINT", url), ("CONTAINER_ID", "container-1")];
    let environment: BTreeMap<String, std::ffi::OsString> =
        set.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    Exporter::start(&config::load(&matches, &environment).unwrap()).unwrap()
}

fn record() -> RunRecord {
    let request = json!({"language": "shell", "code": "echo canary", "execution_id": "exec_1"});
    let request = serde_json::from_value(request).unwrap();
    let job = intake::from_request(&request, &intake::Ceilings::default()).unwrap();
    let capabilities = Capabilities {
        proc: ProcView::Shared,
        user_namespaces: UserNamespaces::LeftToSeccomp,
        memory: MemoryKeeper::Cgroup(CgroupVersion::V2),
        binds_descriptors: true,
    };
    let mut record = RunRecord::of(&job, capabilities, jiff::Timestamp::from_second(1_700_000_000).unwrap());
    record.stdout.text = "canary".to_owned();
    let ms = Duration::from_millis;
    record.phases =
        Phases { queue: ms(1), prepare: ms(20), start: ms(3), run: ms(400), collect: ms(5), journal: ms(0) };
    record
}

fn origin(traceparent: &str) -> Origin {
    Origin::new("request-1", Trace::of(Some(traceparent), None, Spans::Exported))
}

/// The fields of a protobuf message: number, and bytes or number.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => Field::Number(u64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap())),
            2 => {
                let length = varint(&mut bytes);
                Field::Bytes(take(&mut bytes, usize::try_from(length).unwrap()))
            }
            5 => Field::Number(u64::from(u32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap()))),
            wire => panic!("wire type {wire}"),
        };
        found.push((key >> 3, field));
    }
    found
}

#[derive(Debug, Clone, Copy)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    taken
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let byte = take(bytes, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    number
}

fn within(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    fields(message).into_iter().filter_map(move |(at, field)| match field {
        Field::Bytes(bytes) if at == number => Some(bytes),
        Field::Bytes(_) | Field::Number(_) => None,
    })
}

fn number(message: &[u8], number: u64) -> u64 {
    let found = fields(message).into_iter().find_map(|(at, field)| match field {
        Field::Number(value) if at == number => Some(value),
        Field::Bytes(_) | Field::Number(_) => None,
    });
    found.unwrap_or_default()
}

fn text(message: &[u8], number: u64) -> String {
    within(message, number)
        .next()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_a_span_for_the_run_and_one_for_each_phase_it_reached() {
    let (url, calls) = collector("200 OK");
    let exporter = exporter(&url);
    let origin = origin(PARENT);
    exporter.tell(&origin, &record());
    exporter.end(PATIENCE).await;
    let (head, body) = calls.recv_timeout(PATIENCE).unwrap();
    assert_eq!(head, "post /v1/traces http/1.1");
    let resource = within(&body, 1).next().unwrap();
    let of_daemon: Vec<String> =
        within(within(resource, 1).next().unwrap(), 1).map(|attribute| text(attribute, 1)).collect();
    assert!(of_daemon.contains(&"service.name".to_owned()), "{of_daemon:?}");
    let spans: Vec<&[u8]> = within(resource, 2).flat_map(|scope| within(scope, 2)).collect();
    let names: Vec<String> = spans.iter().map(|span| text(span, 5)).collect();
    assert_eq!(names, ["execution", "queue", "prepare", "start", "run", "collect"]);
    let trace = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();
    let own = within(spans[0], 2).next().unwrap();
    let sent_on = origin.trace.headers().traceparent;
    assert!(sent_on.contains(&crate::outlet::hexadecimal(own)), "{sent_on}");
    let mut end = number(spans[0], 7);
    assert_eq!((end, number(spans[0], 8)), (1_700_000_000_000_000_000, 1_700_000_000_429_000_000));
    for (at, span) in spans.iter().enumerate() {
        assert_eq!(within(span, 1).next().unwrap(), trace);
        let parent = within(span, 4).next().unwrap();
        let expected = if at == 0 { &0xb7ad_6b71_6920_3331_u64.to_be_bytes() } else { own };
        assert_eq!(parent, expected, "{}", names[at]);
        if at > 0 {
            // Each begins where the one before it ended.
            assert_eq!(number(span, 7), end, "{}", names[at]);
            end = number(span, 8);
        }
    }
    let attributes: Vec<String> = within(spans[0], 9).map(|attribute| text(attribute, 1)).collect();
    for name in ["execution_id", "request_id", "language", "status", "cause"] {
        assert!(attributes.iter().any(|attribute| attribute == name), "{name}: {attributes:?}");
    }
    assert!(!String::from_utf8_lossy(&body).contains("canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_caller_does_not_want_kept_is_not_sent() {
    let (url, calls) = collector("200 OK");
    let exporter = exporter(&url);
    exporter.tell(&origin(&PARENT.replace("-01", "-00")), &record());
    exporter.end(PATIENCE).await;
    assert!(calls.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_refuses_or_is_away_costs_spans_and_no_time() {
    let (refusing, _calls) = collector("503 Service Unavailable");
    for url in [refusing.as_str(), "http://127.0.0.1:9"] {
        let exporter = exporter(url);
        let asked = Instant::now();
        for _ in 0..10_000 {
            exporter.tell(&origin(PARENT), &record());
        }
        // Ten thousand records have to be made for it, too.
        assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
        let asked = Instant::now();
        exporter.end(Duration::from_millis(500)).await;
        assert!(asked.elapsed() < PATIENCE / 2, "{:?}", asked.elapsed());
    }
}
