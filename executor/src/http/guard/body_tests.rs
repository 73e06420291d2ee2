use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::*;

const LONG: Duration = Duration::from_secs(60);
const LIMIT: Bytes = Bytes(256 * 1024);

fn budget() -> Budget {
    Budget::new(Bytes::mib(1))
}

fn request(body: Body) -> Request {
    Request::post("/execute").header(CONTENT_TYPE, "application/json").body(body).unwrap()
}

/// A body whose pieces come when the test sends them; it ends when the sender is dropped.
struct Trickle(mpsc::UnboundedReceiver<Frame<Chunk>>);

impl hyper::body::Body for Trickle {
    type Data = Chunk;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

fn trickle() -> (mpsc::UnboundedSender<Frame<Chunk>>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Body::new(Trickle(receiver)))
}

fn zeros(count: usize) -> Frame<Chunk> {
    Frame::data(vec![0; count].into())
}

#[tokio::test]
async fn a_body_at_the_limit_is_read_whole() {
    let whole = vec![7_u8; 256 * 1024];
    let received = read_body(request(whole.clone().into()), LIMIT, LONG, &budget()).await.unwrap();
    assert_eq!(&*received, &whole);
    assert!(read_body(request(Body::empty()), LIMIT, LONG, &budget()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_body_declared_too_large_is_refused_before_it_is_read() {
    let (_never_sends, body) = trickle();
    let mut request = request(body);
    request.headers_mut().insert(CONTENT_LENGTH, "10737418240".parse().unwrap());
    let refusal = read_body(request, LIMIT, LONG, &budget()).await.expect_err("too large");
    assert_eq!(refusal, Refusal::PayloadTooLarge { limit: LIMIT });
}

#[tokio::test]
async fn a_body_without_end_is_refused_as_soon_as_it_is_too_large() {
    let (sender, body) = trickle();
    (0..5).for_each(|_| sender.send(zeros(64 * 1024)).unwrap());
    // The sender is still there: only the count can end this.
    let refusal = read_body(request(body), LIMIT, LONG, &budget()).await.expect_err("too large");
    assert_eq!(refusal, Refusal::PayloadTooLarge { limit: LIMIT });
    drop(sender);
}

#[tokio::test]
async fn a_slow_body_is_refused_when_its_time_is_up() {
    let (sender, body) = trickle();
    sender.send(zeros(10)).unwrap();
    let after = Duration::from_millis(30);
    let refusal = read_body(request(body), LIMIT, after, &budget()).await.expect_err("too slow");
    assert_eq!(refusal, Refusal::RequestTimeout { limit: after });
    drop(sender);
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_without_reading() {
    let (_never_sends, body) = trickle();
    let request = Request::post("/execute").body(body).unwrap();
    let refusal = read_body(request, LIMIT, LONG, &budget()).await.expect_err("no type");
    assert_eq!(refusal, Refusal::UnsupportedMediaType { got: None });
}

#[tokio::test]
async fn large_bodies_wait_for_memory_until_their_time_is_up() {
    let budget = Budget::new(LIMIT);
    let large = || request(vec![0_u8; 128 * 1024].into());
    let held = read_body(large(), LIMIT, LONG, &budget).await.unwrap();
    let refusal = read_body(large(), LIMIT, Duration::from_millis(30), &budget).await.expect_err("no memory");
    assert_eq!(refusal, Refusal::QueueFull { retry_after: RETRY_AFTER });
    drop(held);
    assert_eq!(read_body(large(), LIMIT, LONG, &budget).await.unwrap().len(), 128 * 1024);
}

#[tokio::test]
async fn a_thousand_slow_uploads_hold_up_neither_small_nor_large_ones() {
    let budget = budget();
    let mut slow = Vec::new();
    let mut senders = Vec::new();
    for _ in 0..1_000 {
        let (sender, body) = trickle();
        sender.send(zeros(1)).unwrap();
        senders.push(sender);
        let budget = budget.clone();
        slow.push(tokio::spawn(
            async move { read_body(request(body), LIMIT, LONG, &budget).await.map(drop) },
        ));
    }
    tokio::task::yield_now().await;
    for size in [10, 200 * 1024] {
        let whole = read_body(request(vec![0_u8; size].into()), LIMIT, Duration::from_secs(20), &budget)
            .await
            .unwrap();
        assert_eq!(whole.len(), size);
    }
    drop(senders);
    for upload in slow {
        upload.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_dropped_upload_gives_its_memory_back() {
    let budget = Budget::new(LIMIT);
    let (sender, body) = trickle();
    sender.send(zeros(100 * 1024)).unwrap();
    let mut reading = Box::pin(read_body(request(body), LIMIT, LONG, &budget));
    tokio::select! {
        biased;
        _ = &mut reading => panic!("it cannot be finished"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(budget.kibibytes.available_permits(), 0);
    drop(reading);
    assert_eq!(budget.kibibytes.available_permits(), 256);
}
