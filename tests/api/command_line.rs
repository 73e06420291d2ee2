//! The command line around the runs: flags, settings, help, and what is never on it.

use conformance::{Daemon, daemon};

use crate::program::Program;

const TOKEN: &str = "canary-of-a-secret-5d41402abc";

#[test]
fn several_wrong_settings_are_all_in_one_report() {
    let ended = Program::new(&["serve", "--executor-queue", "many"])
        .set("EXECUTOR_PORT", "99999")
        .set("MAX_MEMORY_MB", "1.5")
        .set("LOG_LEVEL", "loud")
        .set("WORKSPACE_PATH", "relative")
        .set("EXECUTOR_RUN_AS", "0:0")
        .set("EXECUTOR_HOST", "localhost")
        .set("CONTROL_PLANE_URL", format!("http://user:{TOKEN}@cp"))
        .run();
    assert_eq!(ended.code, Some(64), "{}", ended.stderr);
    assert!(ended.stderr.contains("the configuration has 8 mistakes:"), "{}", ended.stderr);
    for name in [
        "EXECUTOR_PORT",
        "MAX_MEMORY_MB",
        "LOG_LEVEL",
        "WORKSPACE_PATH",
        "EXECUTOR_RUN_AS",
        "EXECUTOR_HOST",
        "CONTROL_PLANE_URL",
        "EXECUTOR_QUEUE (given as --executor-queue)",
    ] {
        assert_eq!(ended.stderr.matches(&format!("\n  {name}")).count(), 1, "{name}: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains(TOKEN), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

// CP-09
#[test]
fn a_control_plane_address_that_could_hold_a_secret_or_is_none_is_refused() {
    for url in [
        "http://user:canary@cp",
        "http://canary@cp",
        "http://cp/?token=canary",
        "http://cp/#canary",
        "unix:///run/cp.sock",
        "ftp://cp",
        "cp:8000",
        "http://",
        "http://bücher.example",
    ] {
        let ended = Program::new(&[]).set("CONTROL_PLANE_URL", url).set("INTERNAL_API_TOKEN", TOKEN).run();
        assert_eq!(ended.code, Some(64), "{url}: {}", ended.stderr);
        assert!(ended.stderr.contains("CONTROL_PLANE_URL"), "{url}: {}", ended.stderr);
        assert!(!ended.stderr.contains("canary"), "{url}: {}", ended.stderr);
    }
}

// CP-10
#[test]
fn a_token_that_cannot_be_sent_is_refused_and_not_shown() {
    let large = TOKEN.repeat(200);
    for token in ["", " ", "canary\nX-Injected: 1", "canary value", "canäry", "canary\r", large.as_str()] {
        for name in ["EXECUTOR_API_TOKEN", "INTERNAL_API_TOKEN"] {
            let ended = Program::new(&[]).set(name, token).run();
            assert_eq!(ended.code, Some(64), "{name}={token:?}: {}", ended.stderr);
            assert!(
                ended.stderr.contains(name) && !ended.stderr.contains("canary"),
                "{name}={token:?}: {}",
                ended.stderr
            );
        }
    }
    let without = Program::new(&[]).set("CONTROL_PLANE_URL", "http://cp").run();
    assert_eq!(without.code, Some(64));
    assert!(without.stderr.contains("INTERNAL_API_TOKEN is not set"), "{}", without.stderr);
}

#[test]
fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
    for flag in ["--internal-api-token", "--executor-api-token"] {
        for arguments in [vec![flag.to_owned(), TOKEN.to_owned()], vec![format!("{flag}={TOKEN}")]] {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let ended = Program::new(&arguments).run();
            assert_eq!(ended.code, Some(64), "{arguments:?}: {}", ended.stderr);
            assert!(ended.stderr.contains("cannot be given on the command line"), "{}", ended.stderr);
            assert!(!ended.stderr.contains(TOKEN), "{}", ended.stderr);
        }
    }
}

#[test]
fn help_names_every_setting_but_shows_no_secret_and_no_value_of_the_environment() {
    for arguments in
        [&["--help"][..], &["serve", "--help"], &["run", "--help"], &["doctor", "--help"], &["health", "-h"]]
    {
        let ended = Program::new(arguments)
            .set("INTERNAL_API_TOKEN", TOKEN)
            .set("EXECUTOR_API_TOKEN", TOKEN)
            .set("CONTROL_PLANE_URL", "http://canary-host")
            .run();
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{arguments:?}");
        assert!(!ended.stdout.contains("canary"), "{}", ended.stdout);
        assert!(!ended.stdout.contains("api-token "), "{}", ended.stdout);
        for flag in ["--executor-port", "--max-memory-mb", "--internal-api-token-file", "--executor-run-as"] {
            assert!(ended.stdout.contains(flag), "{arguments:?} lacks {flag}");
        }
    }
    let whole = Program::new(&["--help"]).run().stdout;
    for command in ["serve", "run", "exec", "doctor", "openapi", "health"] {
        assert!(whole.contains(&format!("  {command} ")), "{command}");
    }
}

#[test]
fn the_version_is_one_line() {
    let ended = Program::new(&["--version"]).run();
    let expected = format!("sandbox-executor {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((ended.code, ended.stdout), (Some(0), expected));
}

#[test]
fn a_wrong_flag_or_command_is_64_with_the_nearest_one() {
    for (arguments, nearest) in [
        (&["--executor-prot", "1"][..], "--executor-port"),
        (&["serve", "--max-memory", "1"], "--max-memory-mb"),
        (&["doktor"], "doctor"),
        (&["helth"], "health"),
    ] {
        let ended = Program::new(arguments).run();
        assert_eq!((ended.code, &*ended.stdout), (Some(64), ""), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(nearest), "{arguments:?}: {}", ended.stderr);
    }
    for arguments in [&["openapi", "extra"][..], &["serve", "extra"], &["--executor-port"]] {
        assert_eq!(Program::new(arguments).run().code, Some(64), "{arguments:?}");
    }
}

#[test]
fn a_flag_wins_over_the_environment() {
    let ended = Program::new(&["--executor-port", "flag"]).set("EXECUTOR_PORT", "environment").run();
    assert!(ended.stderr.contains("\"flag\"") && !ended.stderr.contains("environment\""), "{}", ended.stderr);
}

#[test]
fn health_asks_the_daemon_on_this_machine() {
    let daemon = Daemon::default_settings();
    let port = daemon.address().port().to_string();
    let well = Program::new(&["health"]).set("EXECUTOR_PORT", &port).run();
    assert_eq!(well.code, Some(0), "{}", well.stderr);
    let said: serde_json::Value = serde_json::from_str(&well.stdout).unwrap();
    assert_eq!(said["status"], "healthy");
    let flag = Program::new(&["health", "--executor-port", &port]).unset("EXECUTOR_HOST").run();
    assert_eq!(flag.code, Some(0), "0.0.0.0 means this machine: {}", flag.stderr);
    drop(daemon);
    let nobody = Program::new(&["health"]).set("EXECUTOR_PORT", &port).run();
    assert_eq!((nobody.code, &*nobody.stdout), (Some(1), ""));
    assert!(
        nobody.stderr.contains("not healthy: ") && nobody.stderr.contains("refused"),
        "{}",
        nobody.stderr
    );
}

#[test]
fn a_reader_that_leaves_is_no_reason_to_panic() {
    #[expect(clippy::disallowed_methods, reason = "the test's own child, not the daemon's")]
    let piped = std::process::Command::new("/bin/sh")
        .args(["-c", "\"$0\" openapi | head -n 1; \"$0\" --help | head -n 1"])
        .arg(daemon::binary())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&piped.stderr);
    assert!(piped.status.success() && !stderr.contains("panicked"), "{stderr}");
}
