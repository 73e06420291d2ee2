//! What the daemon says about itself.

use conformance::{Daemon, Settings};
use serde_json::json;

use crate::program::Program;

const DOCUMENT: &str = include_str!("../../openapi/executor-api.yaml");

#[test]
fn the_api_description_is_the_file_and_what_the_command_prints() {
    let daemon = Daemon::default_settings();
    let served = daemon.get("/openapi.yaml");
    assert_eq!(served.header("content-type"), Some("application/yaml"));
    assert!(served.text() == DOCUMENT, "the daemon serves another document");
    let printed = Program::new(&["openapi"]).run();
    assert_eq!(printed.code, Some(0));
    assert!(printed.stdout == DOCUMENT, "the command prints another document");
}

#[test]
fn health_says_what_isolation_is_in_force() {
    let daemon = Daemon::default_settings();
    let health = daemon.get("/health").json();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&health["active_executions"], &health["queued_executions"]), (&json!(0), &json!(0)));
    let isolation = &health["isolation"];
    assert_eq!(isolation["userns"], true);
    assert!(isolation["bwrap_version"].as_str().unwrap().starts_with("0."), "{isolation}");
    // What it claims about /proc is what a program sees.
    let seen = daemon.run("shell", "ls -d /proc/[0-9]* | wc -l; cat /proc/1/comm");
    let count: usize = seen["stdout"].as_str().unwrap().lines().next().unwrap().trim().parse().unwrap();
    assert_eq!(isolation["proc"] == "private", count < 10, "{seen}");
    assert_eq!(&daemon.get("/info").json()["isolation"], isolation);
    let first = health["uptime_seconds"].as_f64().unwrap();
    assert!(daemon.get("/health").json()["uptime_seconds"].as_f64().unwrap() > first);
    assert_eq!(daemon.get("/health/live").json(), json!({"status": "live"}));
    assert_eq!(daemon.get("/health/ready").json(), json!({"status": "ready"}));
}

#[test]
fn info_names_the_languages_and_the_limits_in_force() {
    let daemon = Settings::new()
        .set("MAX_MEMORY_MB", 300)
        .set("MAX_PROCESSES", 60)
        .set("MAX_OPEN_FILES", 500)
        .set("MAX_FILE_MB", 7)
        .set("MAX_TMP_MB", 9)
        .set("MAX_OUTPUT_BYTES", 200_000)
        .set("MAX_REQUEST_BYTES", 3_000_000)
        .set("EXECUTOR_CONCURRENCY", 3)
        .set("EXECUTOR_QUEUE", 4)
        .start();
    let info = daemon.get("/info").json();
    let limits = &info["limits"];
    for (name, ceiling) in [
        ("memory_mb", 300),
        ("max_processes", 60),
        ("max_open_files", 500),
        ("max_file_mb", 7),
        ("max_output_bytes", 200_000),
    ] {
        assert_eq!(
            (&limits[name]["ceiling"], &limits[name]["default"]),
            (&json!(ceiling), &json!(ceiling)),
            "{name}"
        );
        let above = json!({"language": "shell", "code": "true", "limits": {name: ceiling + 1}});
        assert_eq!(daemon.execute(&above).json()["problems"][0]["field"], format!("limits.{name}"));
        let at = json!({"language": "shell", "code": "true", "limits": {name: ceiling}});
        assert_eq!(daemon.execute(&at).status, 200, "{name}");
    }
    for (name, value) in
        [("max_tmp_mb", 9), ("max_request_bytes", 3_000_000), ("concurrency", 3), ("queue", 4)]
    {
        assert_eq!(limits[name], json!(value), "{name}");
    }
    let platform = &info["platform"];
    assert_eq!((&platform["os"], &platform["arch"]), (&json!("linux"), &json!(std::env::consts::ARCH)));
    // Each language's version is what its programs see.
    for (language, code) in [
        ("python", "import platform\ndef handler(event): return platform.python_version()"),
        ("javascript", "exports.handler = () => process.versions.node"),
        (
            "shell",
            "echo ===SANDBOX_RESULT===\necho \"\\\"${BASH_VERSION%%(*}\\\"\"\necho ===SANDBOX_RESULT_END===",
        ),
    ] {
        let languages = info["languages"].as_array().unwrap();
        let said = languages.iter().find(|said| said["language"] == language).unwrap();
        assert_eq!(daemon.run(language, code)["return_value"], said["version"], "{language}");
    }
}
