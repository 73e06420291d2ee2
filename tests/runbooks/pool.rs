//! Pool empty: no room for any, and none that can be made.

use conformance::{Daemon, Settings, can, is_root};

use crate::alert::Alert;
use crate::sandbox::hide_bubblewrap;

const WAITING: &str = "sandbox_executor_waiting_sandboxes";
const SIZE: &str = "sandbox_executor_pool_size";
const COLD: &str = "sandbox_executor_sandboxes_total{sandbox=\"cold\"}";
const FAILURES: &str = "sandbox_executor_pool_failures_total";

fn refills(daemon: &Daemon) -> f64 {
    daemon.metric("sandbox_executor_pool_refill_seconds_count{language=\"shell\"}")
}

#[test]
fn a_pool_without_room_is_seen_and_runs_go_on() {
    let alert = Alert::named("ExecutorPoolEmpty");
    let daemon = Settings::new().set("POOL_SHELL", 2).set("POOL_MEMORY_MB", 0).start();
    assert_eq!(daemon.run("shell", "true")["metrics"]["sandbox"], "cold");
    assert_eq!((alert.sees(&daemon, WAITING), alert.sees(&daemon, SIZE)), (0.0, 2.0));
    assert_eq!((alert.also(&daemon, COLD), alert.also(&daemon, FAILURES)), (1.0, 0.0));
    let before = refills(&daemon);
    std::thread::sleep(std::time::Duration::from_secs(2));
    // The page tells the reasons apart by this.
    assert_eq!((alert.also(&daemon, FAILURES), refills(&daemon)), (0.0, before));
}

#[test]
fn a_pool_that_cannot_be_filled_is_seen_and_over_when_it_can() {
    if !can(is_root(), "only root can hide bubblewrap from a daemon") {
        return;
    }
    let alert = Alert::named("ExecutorPoolEmpty");
    // In mounts of its own.
    let daemon = Settings::new().without_cgroups().set("POOL_SHELL", 1).start();
    let is_full = |daemon: &Daemon| alert.sees(daemon, WAITING) == alert.sees(daemon, SIZE);
    daemon.eventually("it is full", is_full);
    assert_eq!(alert.also(&daemon, FAILURES), 0.0);
    let hidden = hide_bubblewrap(&daemon);
    // What was begun before is used up.
    daemon.eventually("none waits and none can be made", |daemon| {
        daemon.run("shell", "true");
        alert.sees(daemon, WAITING) == 0.0 && alert.also(daemon, FAILURES) > 0.0
    });
    alert.is_logged(&daemon, "pool_not_filled");
    drop(hidden);
    daemon.eventually("it is full again", is_full);
    assert_eq!(daemon.run("shell", "true")["status"], "success");
}
