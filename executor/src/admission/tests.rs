use std::pin::pin;
use std::time::Duration;

use super::*;

fn admission(concurrency: usize, capacity: usize) -> Admission {
    Admission::new(NonZeroUsize::new(concurrency).unwrap(), capacity)
}

fn refusal(admission: &Admission) -> Refused {
    admission.submit(Place::Fresh).expect_err("refused")
}

/// Fails loudly instead of hanging when a wake-up is lost.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("a wake-up was lost")
}

#[tokio::test]
async fn a_dropped_ticket_wakes_the_one_that_waits() {
    let admission = admission(1, 1);
    let first = soon(admission.submit(Place::Fresh).unwrap().admitted()).await.unwrap();
    let second = tokio::spawn(admission.submit(Place::Fresh).unwrap().admitted());
    assert_eq!((admission.active(), admission.queued()), (1, 1));
    assert!(matches!(refusal(&admission), Refused::QueueFull { .. }));
    drop(first);
    let second = soon(second).await.unwrap().unwrap();
    assert_eq!((admission.active(), admission.queued()), (1, 0));
    drop(second);
    assert_eq!(admission.active(), 0);
}

#[tokio::test]
async fn a_dropped_wait_leaves_the_queue() {
    let admission = admission(1, 1);
    let running = soon(admission.submit(Place::Container).unwrap().admitted()).await.unwrap();
    drop(admission.submit(Place::Container).unwrap());
    assert_eq!(admission.queued(), 0);
    let mut polled = Box::pin(admission.submit(Place::Container).unwrap().admitted());
    assert!(futures_pending(&mut polled).await);
    drop(polled);
    assert_eq!((admission.active(), admission.queued()), (1, 0));
    drop(running);
    assert_eq!(admission.active(), 0);
}

/// Polls once; true when it is not ready.
async fn futures_pending<F: Future + Unpin>(future: &mut F) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = std::future::ready(()) => true,
    }
}

#[tokio::test]
async fn a_wait_dropped_after_its_wake_up_passes_the_slot_on() {
    let admission = admission(1, 2);
    let running = soon(admission.submit(Place::Fresh).unwrap().admitted()).await.unwrap();
    let woken = admission.submit(Place::Fresh).unwrap();
    let next = admission.submit(Place::Fresh).unwrap();
    drop(running);
    assert_eq!((admission.active(), admission.queued()), (1, 1), "the slot is already the woken one's");
    drop(woken);
    drop(soon(next.admitted()).await.unwrap());
    assert_eq!((admission.active(), admission.queued()), (0, 0));
}

#[tokio::test]
async fn closing_refuses_new_ones_and_those_who_wait_but_not_those_who_run() {
    let admission = admission(1, 5);
    let running = soon(admission.submit(Place::Fresh).unwrap().admitted()).await.unwrap();
    let polled = tokio::spawn(admission.submit(Place::Fresh).unwrap().admitted());
    let unpolled = admission.submit(Place::Fresh).unwrap();
    admission.close();
    assert!(matches!(soon(polled).await.unwrap(), Err(Refused::ShuttingDown { .. })));
    assert!(matches!(soon(unpolled.admitted()).await, Err(Refused::ShuttingDown { .. })));
    assert!(matches!(refusal(&admission), Refused::ShuttingDown { .. }));
    assert_eq!((admission.active(), admission.queued()), (1, 0));
    drop(running);
    assert_eq!(admission.active(), 0);
}

#[tokio::test]
async fn a_panicking_run_gives_its_slot_back() {
    let admission = admission(1, 1);
    let waiting = admission.submit(Place::Fresh).unwrap();
    let crashed = tokio::spawn(async move {
        let _ticket = waiting.admitted().await.unwrap();
        panic!("a bug");
    });
    assert!(soon(crashed).await.is_err());
    assert_eq!(admission.active(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_never_exceed_the_cap_and_all_finish() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let admission = admission(8, 200);
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let runs: Vec<_> = (0..200)
        .map(|number| {
            let place = if number % 2 == 0 { Place::Fresh } else { Place::Session((number % 5).to_string()) };
            let waiting = admission.submit(place).unwrap();
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            tokio::spawn(async move {
                let _ticket = waiting.admitted().await.unwrap();
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
            })
        })
        .collect();
    for run in runs {
        soon(pin!(run)).await.unwrap();
    }
    assert!(most.load(Ordering::SeqCst) <= 8);
    assert_eq!((admission.active(), admission.queued()), (0, 0));
}

#[tokio::test]
async fn whoever_waits_for_the_last_run_is_told_when_it_is_over() {
    let admission = admission(2, 0);
    soon(admission.idle()).await;
    let first = soon(admission.submit(Place::Fresh).unwrap().admitted()).await.unwrap();
    let second = soon(admission.submit(Place::Fresh).unwrap().admitted()).await.unwrap();
    let mut idle = Box::pin({
        let admission = admission.clone();
        async move { admission.idle().await }
    });
    assert!(futures_pending(&mut idle).await);
    drop(first);
    assert!(futures_pending(&mut idle).await, "one still runs");
    drop(second);
    soon(idle).await;
}
