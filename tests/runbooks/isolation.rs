//! Isolation degraded.

use conformance::{Settings, can, is_root};
use serde_json::json;

use crate::alert::Alert;

#[test]
fn a_container_that_masks_proc_is_seen_and_over_when_it_is_started_otherwise() {
    if !can(is_root(), "mounting takes root") {
        return;
    }
    let alert = Alert::named("ExecutorIsolationDegraded");
    let less = "sandbox_executor_isolation_info{tier!=\"full\"}";
    let full = "sandbox_executor_isolation_info{tier=\"full\"}";
    let masked = Settings::new().behind_masked_proc().start();
    assert_eq!((alert.sees(&masked, less), alert.also(&masked, full)), (1.0, 0.0));
    alert.is_logged(&masked, "isolation_reduced");
    assert_eq!(alert.health(&masked, "isolation.tier"), "shared-proc");
    assert_eq!(alert.health(&masked, "isolation.proc"), "shared");
    let result = masked.run("shell", "true");
    assert_eq!(result["isolation"]["tier"], "shared-proc", "{result:#}");
    drop(masked);
    let open = Settings::new().with_the_most().start();
    assert_eq!((alert.sees(&open, less), alert.also(&open, full)), (0.0, 1.0));
    assert_eq!(alert.health(&open, "isolation.tier"), json!("full"));
    assert!(
        open.events("isolation_reduced").iter().all(|line| !line["missing"].to_string().contains("/proc"))
    );
}
