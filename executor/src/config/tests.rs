use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;

use super::*;

const CANARY: &str = "canary-5f0c2e";

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, OsString> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect()
}

fn command() -> clap::Command {
    flags(clap::Command::new("sandbox-executor"))
}

fn loaded(arguments: &[&str], pairs: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let arguments = [&["sandbox-executor"], arguments].concat();
    load(&command().try_get_matches_from(arguments).unwrap(), &environment(pairs))
}

fn refusal(pairs: &[(&str, &str)]) -> String {
    loaded(&[], pairs).expect_err("a mistake").to_string()
}

#[test]
fn nothing_written_gives_the_defaults_of_the_contract() {
    let config = loaded(&[], &[]).unwrap();
    assert!(config.control_plane.is_none() && config.api_token.is_none());
    assert_eq!((config.host.to_string().as_str(), config.port), ("0.0.0.0", 8080));
    assert_eq!((config.log_level, config.log_format), (LogLevel::Info, LogFormat::Json));
    assert_eq!(config.workspace_path, PathBuf::from("/workspace"));
    assert_eq!(config.workspace_origin, Origin::Default);
    assert_eq!(config.sessions_path, PathBuf::from("/var/lib/sandbox-executor/sessions"));
    assert_eq!(config.results_dir, PathBuf::from("/tmp/results"));
    assert_eq!(config.artifact_retention, Duration::from_secs(600));
    assert_eq!(config.max_request, Bytes::mib(16));
    assert_eq!(config.container_id, "unknown");
    assert_eq!((config.queue, config.shutdown_grace), (10, Duration::ZERO));
    assert_eq!(config.run_as, RunAs { uid: 1000, gid: 1000 });
    let ceilings = Ceilings {
        memory: Bytes::mib(512),
        processes: 128,
        open_files: 1024,
        file_size: Bytes::mib(100),
        tmp: Bytes::mib(64),
        output: Bytes::mib(10),
    };
    assert_eq!(config.ceilings, ceilings);
    assert_eq!(config.pool, pool::Sizes { python: 4, javascript: 2, shell: 2, memory: Bytes::mib(256) });
}

#[test]
fn a_flag_wins_over_the_environment() {
    let config =
        loaded(&["--executor-port", "9001"], &[("EXECUTOR_PORT", "9000"), ("EXECUTOR_QUEUE", "0")]).unwrap();
    assert_eq!((config.port, config.queue), (9001, 0));
}

#[test]
fn every_mistake_is_reported_at_once_with_key_value_and_what_is_allowed() {
    let report = loaded(
        &["--executor-port", "eighty"],
        &[
            ("MAX_MEMORY_MB", "1"),
            ("LOG_FORMAT", "xml"),
            ("EXECUTOR_RUN_AS", "0:0"),
            ("WORKSPACE_PATH", "here"),
        ],
    )
    .expect_err("five mistakes");
    assert_eq!(report.mistakes().len(), 5, "{report}");
    let report = report.to_string();
    for part in [
        "5 mistakes",
        "EXECUTOR_PORT (given as --executor-port) is \"eighty\", which is not a whole number in plain digits; allowed: 0 to 65535",
        "MAX_MEMORY_MB is \"1\", which is out of range; allowed: 16 to 1048576",
        "LOG_FORMAT is \"xml\", which is none of the allowed words; allowed: json, text",
        "EXECUTOR_RUN_AS is \"0:0\", which is root",
        "WORKSPACE_PATH is \"here\", which is not absolute",
    ] {
        assert!(report.contains(part), "{part:?} is missing in:\n{report}");
    }
}

#[test]
fn numbers_are_plain_digits_in_range() {
    for value in
        ["-1", "+1", " 1", "1.0", "1e3", "0x10", "1_000", "10MiB", "18446744073709551616", "65536", "١"]
    {
        assert!(loaded(&[], &[("EXECUTOR_PORT", value)]).is_err(), "{value}");
        assert!(loaded(&[&format!("--executor-port={value}")], &[]).is_err(), "--executor-port={value}");
    }
    assert_eq!(loaded(&[], &[("EXECUTOR_PORT", "0")]).unwrap().port, 0);
    assert!(loaded(&["--executor-queue", "-1"], &[]).is_err());
}

#[test]
fn an_empty_value_counts_as_not_set() {
    for setting in settings::ALL.iter().filter(|setting| !matches!(setting.kind, settings::Kind::Secret)) {
        assert!(loaded(&[], &[(setting.name, "")]).is_ok(), "{}", setting.name);
    }
    assert_eq!(loaded(&[], &[("WORKSPACE_PATH", "")]).unwrap().workspace_origin, Origin::Default);
    let chosen = loaded(&[], &[("WORKSPACE_PATH", "/workspace")]).unwrap();
    assert_eq!(chosen.workspace_origin, Origin::Explicit);
}

#[test]
fn a_token_that_cannot_be_a_header_is_refused_and_never_shown() {
    for key in ["INTERNAL_API_TOKEN", "EXECUTOR_API_TOKEN"] {
        assert!(refusal(&[(key, "")]).contains(&format!("{key} is empty")));
        for bad in [" ", "\n", "tab\t", "line\nX-Evil: 1", "schlüssel", "nul\u{1}", &"x".repeat(4097)] {
            let report = refusal(&[(key, &format!("{CANARY}{bad}"))]);
            assert!(report.contains(key) && !report.contains(CANARY), "{bad:?}: {report}");
        }
    }
    let not_text =
        BTreeMap::from([("EXECUTOR_API_TOKEN".to_owned(), OsString::from_vec(b"canary-\xff".to_vec()))]);
    let report = load(&command().get_matches_from(["x"]), &not_text).expect_err("not text").to_string();
    assert!(report.contains("not ASCII") && !report.contains("canary"), "{report}");
}

#[test]
fn a_secret_on_the_command_line_is_refused_and_never_shown() {
    for name in ["internal-api-token", "executor-api-token"] {
        let joined = format!("--{name}={CANARY}");
        let apart = [&*format!("--{name}"), CANARY];
        for arguments in [&[joined.as_str()][..], &apart[..], &apart[..1]] {
            let report = loaded(arguments, &[]).expect_err("a secret flag").to_string();
            assert!(
                report.contains("cannot be given on the command line") && !report.contains(CANARY),
                "{report}"
            );
        }
    }
    let help = command().render_long_help().to_string();
    assert!(!help.contains("--internal-api-token ") && help.contains("--internal-api-token-file"), "{help}");
}

#[test]
fn no_debug_output_shows_a_secret() {
    let pairs = [
        ("CONTROL_PLANE_URL", "http://cp"),
        ("INTERNAL_API_TOKEN", CANARY),
        ("EXECUTOR_API_TOKEN", "canary-5f0c2e-too"),
    ];
    let config = loaded(&[], &pairs).unwrap();
    assert_eq!(config.control_plane.as_ref().unwrap().token.expose(), CANARY);
    assert!(!format!("{config:?} {config:#?}").contains("canary"));
}

#[test]
fn a_control_plane_needs_a_token_and_only_one() {
    assert!(refusal(&[("CONTROL_PLANE_URL", "http://cp")]).contains("INTERNAL_API_TOKEN is not set"));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "from-the-file").unwrap();
    let path = file.path().to_str().unwrap();
    let config =
        loaded(&["--internal-api-token-file", path], &[("CONTROL_PLANE_URL", "https://[::1]:8000/base/")])
            .unwrap();
    let control_plane = config.control_plane.unwrap();
    assert_eq!(control_plane.token.expose(), "from-the-file");
    assert_eq!(control_plane.token_file.as_deref(), Some(file.path()));
    assert_eq!(control_plane.address("/internal/x"), "https://[::1]:8000/base/internal/x");
    let both = refusal(&[
        ("CONTROL_PLANE_URL", "http://cp"),
        ("INTERNAL_API_TOKEN", CANARY),
        ("INTERNAL_API_TOKEN_FILE", path),
    ]);
    assert!(both.contains("both set") && !both.contains(CANARY), "{both}");
}

#[test]
fn a_token_file_that_is_missing_empty_or_endless_is_a_mistake() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    for path in ["/nowhere/token", "/", "/dev/zero", empty.path().to_str().unwrap()] {
        let report = refusal(&[("INTERNAL_API_TOKEN_FILE", path)]);
        assert!(report.contains("INTERNAL_API_TOKEN_FILE"), "{report}");
    }
}

#[test]
fn userinfo_and_queries_of_the_control_plane_are_refused_and_never_shown() {
    for url in [
        format!("http://user:{CANARY}@cp"),
        format!("http://cp/?token={CANARY}"),
        format!("http://cp/#{CANARY}"),
    ] {
        let report = refusal(&[("CONTROL_PLANE_URL", &url)]);
        assert!(report.contains("CONTROL_PLANE_URL (not shown)") && !report.contains(CANARY), "{report}");
    }
}

#[test]
fn a_mistake_stays_on_one_line_and_short() {
    let report = refusal(&[("LOG_LEVEL", &format!("\u{1b}[31m\n{}", "x".repeat(10_000)))]);
    assert_eq!(report.lines().count(), 2, "{report}");
    assert!(report.len() < 500 && !report.contains('\u{1b}'), "{report}");
}

#[test]
fn the_container_is_named_by_container_id_then_hostname() {
    assert_eq!(loaded(&[], &[("HOSTNAME", "pod-7"), ("CONTAINER_ID", "c1")]).unwrap().container_id, "c1");
    assert_eq!(loaded(&[], &[("HOSTNAME", "pod-7")]).unwrap().container_id, "pod-7");
    assert_eq!(loaded(&[], &[("HOSTNAME", "line\nbreak")]).unwrap().container_id, "unknown");
    assert!(refusal(&[("CONTAINER_ID", "line\nbreak")]).contains("CONTAINER_ID"));
}

#[test]
fn debug_lowers_the_log_level_only_where_none_was_chosen() {
    assert_eq!(loaded(&["--debug"], &[]).unwrap().log_level, LogLevel::Debug);
    assert_eq!(loaded(&[], &[("DEBUG", "1")]).unwrap().log_level, LogLevel::Debug);
    assert_eq!(loaded(&["--debug=no"], &[("DEBUG", "1")]).unwrap().log_level, LogLevel::Info);
    assert_eq!(loaded(&[], &[("DEBUG", "1"), ("LOG_LEVEL", "WARNING")]).unwrap().log_level, LogLevel::Warn);
}

#[test]
fn directories_inside_one_another_are_refused() {
    for (name, path) in
        [("RESULTS_DIR", "/workspace/results"), ("SESSIONS_PATH", "/workspace"), ("WORKSPACE_PATH", "/tmp")]
    {
        assert!(refusal(&[(name, path)]).contains("one inside the other"), "{name}={path}");
    }
    assert!(loaded(&[], &[("RESULTS_DIR", "/workspace-results")]).is_ok());
}

#[test]
fn paths_are_absolute_and_go_nowhere_else() {
    for path in ["relative", "/", "//", "/a/../..", "."] {
        assert!(refusal(&[("WORKSPACE_PATH", path)]).contains("WORKSPACE_PATH"), "{path}");
    }
    assert_eq!(loaded(&[], &[("WORKSPACE_PATH", "/a//b/")]).unwrap().workspace_path, PathBuf::from("/a/b"));
}

#[test]
fn run_as_is_two_numbers_and_never_root() {
    for text in [
        "0:0",
        "0:1000",
        "1000:0",
        "1000",
        "1000:",
        ":",
        "a:b",
        "-1:1",
        "4294967295:1",
        "1:2:3",
        "1000: 1000",
    ] {
        assert!(refusal(&[("EXECUTOR_RUN_AS", text)]).contains("EXECUTOR_RUN_AS"), "{text}");
    }
    assert_eq!(
        loaded(&[], &[("EXECUTOR_RUN_AS", "65534:100")]).unwrap().run_as,
        RunAs { uid: 65534, gid: 100 }
    );
}

#[test]
fn every_word_in_the_table_is_understood() {
    for setting in settings::ALL {
        let settings::Kind::Choice(words) = setting.kind else {
            continue;
        };
        for word in words {
            assert!(loaded(&[], &[(setting.name, word)]).is_ok(), "{}={word}", setting.name);
            assert!(loaded(&[], &[(setting.name, &word.to_uppercase())]).is_ok(), "{}={word}", setting.name);
        }
    }
}

#[test]
fn an_unknown_flag_is_refused_with_the_nearest_known_one() {
    let refusal =
        command().try_get_matches_from(["x", "--executor-prot", "1"]).expect_err("unknown").to_string();
    assert!(refusal.contains("--executor-port"), "{refusal}");
}

/// One row of the table in docs/configuration.md, made from the table of settings.
fn row(setting: &settings::Setting) -> String {
    let flag = match setting.kind {
        settings::Kind::Secret => "none".to_owned(),
        settings::Kind::Whole { .. }
        | settings::Kind::Choice(_)
        | settings::Kind::Switch
        | settings::Kind::Address
        | settings::Kind::Url
        | settings::Kind::UrlPath
        | settings::Kind::Path
        | settings::Kind::Name
        | settings::Kind::Modules
        | settings::Kind::Identity => format!("`--{}`", setting.flag()),
    };
    let (name, default, help) = (setting.name, setting.shown_default(), setting.help);
    format!("| `{name}` | {flag} | {default} | {help} | {} | {} |", setting.unit(), setting.allowed())
}

#[test]
fn the_documentation_lists_every_setting_and_no_other() {
    let document = include_str!("../../../docs/configuration.md");
    let documented: BTreeSet<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
    let rows: Vec<String> = settings::ALL.iter().map(|setting| row(setting)).collect();
    let known: BTreeSet<&str> = rows.iter().map(String::as_str).collect();
    let missing: Vec<_> = known.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&known).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "add:\n{missing:#?}\ntake away:\n{unknown:#?}");
}

#[test]
fn a_collector_is_taken_only_by_a_build_that_can_speak_to_it() {
    let set = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/")];
    if cfg!(feature = "otlp") {
        let config = loaded(&[], &set).unwrap();
        assert_eq!(config.collector.as_deref(), Some("http://collector:4318"));
    } else {
        let report = refusal(&set);
        assert!(
            report.contains("built without the feature otlp") && report.contains("--features otlp"),
            "{report}"
        );
    }
    assert_eq!(loaded(&[], &[]).unwrap().collector, None);
    let hidden = refusal(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:canary@collector")]);
    assert!(!hidden.contains("canary"), "{hidden}");
}
