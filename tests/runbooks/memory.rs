//! Memory kills.

use conformance::Daemon;
use serde_json::json;

use crate::alert::Alert;

#[test]
fn programs_that_are_ended_for_their_memory_are_seen_and_no_other_run_is_harmed() {
    let alert = Alert::named("ExecutorMemoryKills");
    let killed = "sandbox_executor_executions_total{cause=\"memory_limit\"}";
    let peaks = "sandbox_executor_execution_peak_memory_bytes";
    let daemon = Daemon::default_settings();
    let request = |code: &str| {
        json!({ "language": "python", "mode": "script", "code": code, "workspace": "fresh",
            "limits": { "memory_mb": 64 } })
    };
    assert_eq!(daemon.execute(&request("x = 1")).result()["status"], "success");
    assert_eq!(alert.sees(&daemon, killed), 0.0);
    let small = daemon.metric(&format!("{peaks}_bucket{{le=\"33554432.0\",language=\"python\"}}"));
    assert_eq!(small, 1.0);
    let hoard = "held = []\nwhile True: held.append(bytearray(b'x') * (4 << 20))";
    let result = daemon.execute(&request(hoard)).result();
    assert_eq!(
        (&result["status"], &result["cause"]),
        (&json!("error"), &json!("memory_limit")),
        "{result:#}"
    );
    assert_eq!(alert.sees(&daemon, killed), 1.0);
    alert.is_logged(&daemon, "execution_completed");
    let told = daemon.events("execution_completed");
    assert_eq!(told.last().unwrap()["cause"], "memory_limit");
    let holder = alert.health(&daemon, "isolation.memory");
    assert!(["cgroup", "poller"].map(|word| json!(word)).contains(&holder), "{holder}");
    // The page has its reader look here: the peak is at the limit, give or take what one look misses.
    let count = |le: &str| daemon.metric(&format!("{peaks}_bucket{{le=\"{le}\",language=\"python\"}}"));
    assert_eq!((count("33554432.0"), count("+Inf")), (1.0, 2.0));
    assert_eq!(daemon.execute(&request("x = 1")).result()["status"], "success");
    assert_eq!(alert.sees(&daemon, killed), 1.0);
}
