//! Real sockets on ports of their own. Times are short, and every wait has a deadline far beyond them.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

use super::*;

const BRIEF: Duration = Duration::from_millis(100);
const PATIENT: Duration = Duration::from_secs(20);

/// Far from every limit, so that a test only meets the one it sets.
fn rules() -> Rules {
    Rules { header_timeout: PATIENT, stall_timeout: PATIENT, linger: BRIEF, ..Rules::default() }
}

struct Daemon {
    address: SocketAddr,
    stop: Option<oneshot::Sender<Instant>>,
    ended: tokio::task::JoinHandle<Drained>,
}

impl Daemon {
    fn start(rules: Rules, router: Router) -> Self {
        let listener = bind(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(serve(listener, router, rules, async { stopped.await.unwrap() }));
        Self { address, stop: Some(stop), ended }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    fn stop_by(&mut self, deadline: Instant) {
        self.stop.take().unwrap().send(deadline).unwrap();
    }

    async fn drained(self) -> Drained {
        in_time(self.ended).await.unwrap()
    }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENT, future).await.expect("it took too long")
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Everything up to the end of the connection.
async fn to_the_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    in_time(stream.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// What has come once `end` has.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let byte = in_time(stream.read_u8()).await.unwrap();
        text.push(char::from(byte));
    }
    text
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn a_connection_that_never_finishes_its_headers_is_closed() {
    let daemon = Daemon::start(Rules { header_timeout: BRIEF, ..rules() }, hello());
    for sent in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let mut stream = daemon.connect().await;
        send(&mut stream, sent).await;
        assert_eq!(to_the_end(&mut stream).await, "", "{sent:?}");
    }
}

#[tokio::test]
async fn a_trickle_of_header_bytes_does_not_extend_the_deadline() {
    let daemon = Daemon::start(Rules { header_timeout: BRIEF, ..rules() }, hello());
    let mut stream = daemon.connect().await;
    send(&mut stream, "GET / HTTP/1.1\r\nX-Slow: ").await;
    let trickle = async {
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(BRIEF / 10).await;
        }
    };
    in_time(trickle).await;
}

#[tokio::test]
async fn an_idle_kept_alive_connection_is_closed_by_the_header_timeout() {
    let daemon = Daemon::start(Rules { header_timeout: BRIEF, ..rules() }, hello());
    let mut stream = daemon.connect().await;
    send(&mut stream, REQUEST).await;
    assert!(until(&mut stream, "hello").await.starts_with("HTTP/1.1 200"));
    assert_eq!(to_the_end(&mut stream).await, "");
}

#[tokio::test]
async fn a_slow_answer_is_not_cut_off_by_the_header_timeout() {
    let slow = Router::new().route(
        "/",
        get(|| async {
            tokio::time::sleep(BRIEF * 3).await;
            "hello"
        }),
    );
    let daemon = Daemon::start(Rules { header_timeout: BRIEF, ..rules() }, slow);
    let mut stream = daemon.connect().await;
    send(&mut stream, REQUEST).await;
    until(&mut stream, "hello").await;
}

#[tokio::test]
async fn headers_that_are_too_large_or_too_many_are_answered_with_431() {
    let daemon = Daemon::start(rules(), hello());
    let large = format!("GET / HTTP/1.1\r\nX-Large: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X-Many: 1\r\n".repeat(1_000));
    for request in [large, many] {
        let mut stream = daemon.connect().await;
        send(&mut stream, &request).await;
        let answer = to_the_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

#[tokio::test]
async fn broken_framing_is_never_taken_for_a_second_request() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let router = Router::new().route("/", post(|_: Bytes| async { "posted" })).route(
        "/smuggled",
        get(move || async move {
            counter.fetch_add(1, Ordering::SeqCst);
        }),
    );
    let daemon = Daemon::start(rules(), router);
    let inner = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for head in [
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Content-Length: +4",
        "Content-Length: four",
        "X-Null: \0",
        "X-Fold: a\r\n b",
    ] {
        let mut stream = daemon.connect().await;
        send(&mut stream, &format!("POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\nzz\r\n{inner}")).await;
        let answer = to_the_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{head}: {answer}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let router = Router::new().route("/{number}", get(|path: axum::extract::Path<String>| async { path.0 }));
    let daemon = Daemon::start(rules(), router);
    let mut stream = daemon.connect().await;
    let requests: String =
        (100..200).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    send(&mut stream, &requests).await;
    for number in 100..200 {
        until(&mut stream, &format!("\r\n\r\n{number}")).await;
    }
}

#[tokio::test]
async fn an_answer_given_before_the_body_came_reaches_the_client_and_ends_the_connection() {
    let router =
        Router::new().route("/", post(|| async { (axum::http::StatusCode::PAYLOAD_TOO_LARGE, "no") }));
    let daemon = Daemon::start(Rules { linger: PATIENT, ..rules() }, router);
    let (mut reading, mut writing) = daemon.connect().await.into_split();
    let upload = tokio::spawn(async move {
        writing.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 67108864\r\n\r\n").await?;
        for _ in 0..1_024 {
            writing.write_all(&[b'x'; 64 * 1024]).await?;
        }
        std::io::Result::Ok(())
    });
    let mut answer = Vec::new();
    in_time(reading.read_to_end(&mut answer)).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 413"));
    in_time(upload).await.unwrap().expect("the connection was not reset under the upload");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_dropped() {
    let gone = Arc::new(Notify::new());
    struct Told(Arc<Notify>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let told = Arc::new(std::sync::Mutex::new(Some(Told(Arc::clone(&gone)))));
    let router = Router::new().route(
        "/",
        get(move || async move {
            let told = told.lock().unwrap().take();
            // More than the socket buffers of both ends hold.
            Body::new(http_body_util::Full::new(Bytes::from_owner(Large(vec![0; 64 << 20], told))))
        }),
    );
    struct Large(Vec<u8>, #[expect(dead_code, reason = "its drop tells the test")] Option<Told>);
    impl AsRef<[u8]> for Large {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let daemon = Daemon::start(Rules { stall_timeout: BRIEF, ..rules() }, router);
    let mut stream = daemon.connect().await;
    send(&mut stream, REQUEST).await;
    in_time(gone.notified()).await;
    drop(stream);
}

#[tokio::test]
async fn beyond_the_cap_connections_wait_and_are_served_when_others_end() {
    let daemon = Daemon::start(Rules { max_connections: 2, ..rules() }, hello());
    let mut first = daemon.connect().await;
    let mut second = daemon.connect().await;
    for stream in [&mut first, &mut second] {
        send(stream, REQUEST).await;
        until(stream, "hello").await;
    }
    let mut third = daemon.connect().await;
    send(&mut third, REQUEST).await;
    let early = tokio::time::timeout(BRIEF, third.read_u8()).await;
    assert!(early.is_err(), "a third connection was served beside two");
    drop(first);
    until(&mut third, "hello").await;
}

#[tokio::test]
async fn stopping_closes_idle_connections_and_lets_running_answers_finish() {
    let started = Arc::new(Notify::new());
    let finish = Arc::new(Notify::new());
    let (begun, may_end) = (Arc::clone(&started), Arc::clone(&finish));
    let router = hello().route(
        "/slow",
        get(move || async move {
            begun.notify_one();
            may_end.notified().await;
            "slow"
        }),
    );
    let mut daemon = Daemon::start(rules(), router);
    let address = daemon.address;
    let mut idle = daemon.connect().await;
    send(&mut idle, REQUEST).await;
    until(&mut idle, "hello").await;
    let mut busy = daemon.connect().await;
    send(&mut busy, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    in_time(started.notified()).await;
    daemon.stop_by(Instant::now() + PATIENT);
    assert_eq!(to_the_end(&mut idle).await, "");
    assert!(TcpStream::connect(address).await.is_err(), "still accepting");
    finish.notify_one();
    let answer = to_the_end(&mut busy).await;
    assert!(answer.ends_with("slow") && answer.contains("connection: close"), "{answer}");
    assert_eq!(daemon.drained().await, Drained { dropped: 0 });
}

#[tokio::test]
async fn a_client_that_has_its_answer_and_keeps_the_connection_does_not_count_as_dropped() {
    let started = Arc::new(Notify::new());
    let finish = Arc::new(Notify::new());
    let (begun, may_end) = (Arc::clone(&started), Arc::clone(&finish));
    let router = Router::new().route(
        "/",
        get(move || async move {
            begun.notify_one();
            may_end.notified().await;
            "told"
        }),
    );
    let mut daemon = Daemon::start(Rules { linger: PATIENT, ..rules() }, router);
    let mut stream = daemon.connect().await;
    send(&mut stream, REQUEST).await;
    in_time(started.notified()).await;
    daemon.stop_by(Instant::now() + BRIEF * 5);
    finish.notify_one();
    // Read to the end, and never closed.
    assert!(to_the_end(&mut stream).await.ends_with("told"));
    assert_eq!(daemon.drained().await, Drained { dropped: 0 });
    drop(stream);
}

#[tokio::test]
async fn answers_that_are_not_finished_at_the_deadline_are_dropped() {
    let started = Arc::new(Notify::new());
    let begun = Arc::clone(&started);
    let router = Router::new().route(
        "/",
        get(move || async move {
            begun.notify_one();
            std::future::pending::<()>().await;
        }),
    );
    let mut daemon = Daemon::start(rules(), router);
    let mut stream = daemon.connect().await;
    send(&mut stream, REQUEST).await;
    in_time(started.notified()).await;
    daemon.stop_by(Instant::now() + BRIEF);
    assert_eq!(daemon.drained().await, Drained { dropped: 1 });
    assert_eq!(to_the_end(&mut stream).await, "");
}

#[tokio::test]
async fn a_panicking_handler_costs_one_connection() {
    let router = hello().route("/panic", get(async || -> &'static str { panic!("a bug") }));
    let daemon = Daemon::start(rules(), router);
    let mut stream = daemon.connect().await;
    send(&mut stream, "GET /panic HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(to_the_end(&mut stream).await, "");
    let mut next = daemon.connect().await;
    send(&mut next, REQUEST).await;
    until(&mut next, "hello").await;
}

// HT-06
#[tokio::test]
async fn want_of_descriptors_does_not_spin_and_a_lost_client_does_not_pause() {
    const EMFILE: i32 = 24;
    let slots = Arc::new(Semaphore::new(1));
    let trouble = Throttle::new(PATIENT);
    let calls = AtomicUsize::new(0);
    let failing = next(
        |_cx| -> Poll<io::Result<(TcpStream, SocketAddr)>> {
            // A loop without a pause never yields: only the fake itself can end it.
            assert!(calls.fetch_add(1, Ordering::SeqCst) < 1_000, "accept spins");
            Poll::Ready(Err(io::Error::from_raw_os_error(EMFILE)))
        },
        &slots,
        &trouble,
    );
    assert!(tokio::time::timeout(PAUSE * 2, failing).await.is_err());
    assert!((1..=3).contains(&calls.load(Ordering::SeqCst)), "{calls:?}");
    assert_eq!(slots.available_permits(), 1, "a dropped accept gives its slot back");
    let lost = AtomicUsize::new(0);
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let accepted = next(
        |_cx| match lost.fetch_add(1, Ordering::SeqCst) {
            0..1_000 => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            _ => Poll::Ready(Ok(("stream", peer))),
        },
        &slots,
        &trouble,
    );
    assert_eq!(in_time(accepted).await.0, "stream");
}

#[test]
fn a_quarter_of_the_descriptors_is_for_connections() {
    let limits = |soft: &str| {
        format!("Limit  Soft Limit  Hard Limit  Units\nMax open files   {soft}   524288   files\n")
    };
    for (soft, expected) in [("1024", 256), ("524288", 4_096), ("64", 32), ("unlimited", 4_096), ("?", 32)] {
        assert_eq!(connections_for(&limits(soft)), expected, "{soft}");
    }
    assert_eq!(connections_for(""), 32);
    assert!(Rules::for_this_process().max_connections >= 32);
}
