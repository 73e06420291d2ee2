//! Requests that are JSON and still wrong: each wrong field is named, all of them in one answer, and nothing is started.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use conformance::{Answer, Daemon};
use serde_json::{Value, json};

use crate::quiet::Quiet;

/// The raw text of one more field after two good ones.
fn with(field: &str, value: &str) -> String {
    format!(r#"{{"code":"true","language":"shell",{field:?}:{value}}}"#)
}

fn post(daemon: &Daemon, body: &str) -> Answer {
    daemon.post("/execute", "application/json", body.as_bytes().to_vec())
}

/// Everything in the daemon's directories.
fn files(daemon: &Daemon) -> BTreeSet<PathBuf> {
    let entries = |dir: &Path| -> Vec<PathBuf> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let mut found = entries(daemon.home());
    let mut all = BTreeSet::new();
    while let Some(path) = found.pop() {
        if path.is_dir() {
            found.extend(entries(&path));
        }
        all.insert(path);
    }
    all
}

/// Fields and messages of a 400.
fn problems(daemon: &Daemon, body: &str) -> Vec<(String, String)> {
    let shown: String = body.chars().take(300).collect();
    let answer = post(daemon, body);
    assert_eq!(answer.status, 400, "{shown}: {}", answer.text());
    assert_eq!(answer.error_code(), "Executor.ValidationError", "{shown}");
    let problems = answer.json()["problems"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    problems.iter().map(|problem| (text(&problem["field"]), text(&problem["message"]))).collect()
}

/// Each of `values`, as raw JSON, is refused because of `field` and of nothing else.
fn all_refused(daemon: &Daemon, field: &str, values: &[&str]) {
    for value in values {
        let found = problems(daemon, &with(field, value));
        let at_field = |(named, message): &(String, String)| {
            (named == field
                || named.starts_with(&format!("{field}."))
                || named.starts_with(&format!("{field}[")))
                && message.len() < 500
        };
        assert!(found.iter().all(at_field), "{field}: {value:.200}: {found:?}");
    }
}

// IN-02
#[test]
fn every_wrong_field_is_named_in_one_answer_with_the_nearest_name_for_a_typo() {
    let daemon = Daemon::default_settings();
    let quiet = Quiet::from_now(&daemon);
    let found = problems(
        &daemon,
        r#"{"languge":"python","timeout":"10","limits":{"memory_mb":9999,"cpu":1},"env_vars":{"1":"x","A":2},
            "files":[{"path":"../x","content":"?","encoding":"base64"},7],"execution_id":"../x","stdin":"\ud800",
            "session_id":"","mode":"Script","workspace":"clean"}"#,
    );
    let fields: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
    for expected in [
        "languge",
        "code",
        "language",
        "timeout",
        "limits.cpu",
        "limits.memory_mb",
        "execution_id",
        "session_id",
        "workspace",
        "mode",
        "stdin",
        "env_vars",
        "env_vars.A",
        "files[0].path",
        "files[1]",
    ] {
        assert!(fields.contains(&expected), "{expected} is missing in {fields:?}");
    }
    let hint = |field: &str| &found.iter().find(|(named, _)| named == field).unwrap().1;
    assert!(hint("languge").contains("did you mean \"language\"?"));
    assert!(hint("mode").contains("did you mean \"script\"?"));
    quiet.still(&daemon);
}

// IN-01
#[test]
fn an_execution_id_or_session_id_that_could_be_a_path_is_refused_and_leaves_no_file() {
    let daemon = Daemon::default_settings();
    let quiet = Quiet::from_now(&daemon);
    let before = files(&daemon);
    let long = format!("\"exec_{}\"", "a".repeat(10 * 1024));
    let ids = [
        r#""../../x""#,
        r#""/etc/x""#,
        r#""a/b""#,
        r#""..""#,
        r#"".""#,
        r#""""#,
        long.as_str(),
        r#""exec_a\u0000""#,
        r#""exec_a\n""#,
        r#""exec_a\r\nX-Injected: 1""#,
        r#""%2e%2e%2f""#,
        r#""exec_a?x=1#y""#,
        r#""exec_ü""#,
        r#""-exec_a""#,
        r#"" exec_a""#,
        r#""exec_a b""#,
        r#""exec_a\\b""#,
        "7",
        "{}",
        "[]",
        "true",
    ];
    all_refused(&daemon, "execution_id", &ids);
    all_refused(&daemon, "execution_id", &[r#""exec_""#, r#""exec""#, r#""EXEC_a""#, r#""a""#]);
    all_refused(&daemon, "session_id", &ids);
    quiet.still(&daemon);
    assert_eq!(files(&daemon), before);
}

// IN-03
#[test]
fn a_field_that_is_given_twice_is_refused() {
    let daemon = Daemon::default_settings();
    let quiet = Quiet::from_now(&daemon);
    for (body, field) in [
        (r#"{"language":"shell","language":"python","code":"1"}"#, "language"),
        (r#"{"language":"shell","code":"1","code":"1"}"#, "code"),
        (r#"{"language":"shell","code":"1","cod\u0065":"1"}"#, "code"),
        (r#"{"language":"shell","code":"1","env_vars":{"A":"1","A":"2"}}"#, "env_vars.A"),
        (r#"{"language":"shell","code":"1","limits":{"memory_mb":64,"memory_mb":64}}"#, "limits.memory_mb"),
        (
            r#"{"language":"shell","code":"1","files":[{"path":"a","path":"b","content":""}]}"#,
            "files[0].path",
        ),
    ] {
        let found = problems(&daemon, body);
        assert!(
            found.len() == 1 && found[0].0 == field && found[0].1.contains("more than once"),
            "{body}: {found:?}"
        );
    }
    quiet.still(&daemon);
}

// LC-13, IN-04
#[test]
fn numbers_are_taken_as_documented_or_refused() {
    let daemon = Daemon::default_settings();
    for good in ["1", "3600", "1e3", "10.0", "1.5", "null", "36e2"] {
        let answer = post(&daemon, &with("timeout", good));
        assert_eq!(answer.result()["status"], "success", "{good}");
    }
    daemon.settle();
    let quiet = Quiet::from_now(&daemon);
    all_refused(
        &daemon,
        "timeout",
        &[
            "-0",
            "0",
            "-1",
            "0.5",
            "0.9999999999999999",
            "3600.0000001",
            "3601",
            "1e308",
            "1e999",
            "-1e999",
            "99999999999999999999",
            "9223372036854775808",
            "\"10\"",
            "true",
            "[1]",
            "{}",
        ],
    );
    for not_json in ["NaN", "Infinity", "-Infinity", "+1", "01", "1.", ".5", "0x10", "1_0"] {
        let found = problems(&daemon, &with("timeout", not_json));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "body", "{not_json}");
    }
    all_refused(
        &daemon,
        "limits",
        &[
            r#"{"memory_mb":0}"#,
            r#"{"memory_mb":64.5}"#,
            r#"{"memory_mb":513}"#,
            r#"{"memory_mb":-64}"#,
            r#"{"memory_mb":1e300}"#,
            r#"{"max_processes":0}"#,
            r#"{"max_processes":129}"#,
            r#"{"cpu_seconds":0}"#,
            r#"{"max_open_files":4294967296}"#,
            r#"{"max_file_mb":"1"}"#,
            r#"{"max_output_bytes":10485761}"#,
            r#"{"max_tmp_mb":1}"#,
            "[]",
            "7",
        ],
    );
    quiet.still(&daemon);
}

// IN-06
#[test]
fn only_the_documented_words_are_languages() {
    let daemon = Daemon::default_settings();
    let quiet = Quiet::from_now(&daemon);
    let megabyte = format!("\"{}\"", "p".repeat(1 << 20));
    for language in [
        r#""Python""#,
        r#""python3""#,
        r#""py""#,
        r#"" python""#,
        r#""bash""#,
        r#""../sh""#,
        r#""python\u0000""#,
        r#""pуthon""#,
        r#""""#,
        "null",
        "1",
        "[\"python\"]",
        megabyte.as_str(),
    ] {
        let found = problems(&daemon, &format!(r#"{{"code":"1","language":{language}}}"#));
        assert!(found.len() == 1 && found[0].0 == "language", "{language:.50}: {found:?}");
        assert!(found[0].1.len() < 400);
    }
    quiet.still(&daemon);
}

// IN-05
#[test]
fn nesting_bombs_are_refused_quickly() {
    let daemon = Daemon::default_settings();
    let quiet = Quiet::from_now(&daemon);
    let open = "[".repeat(100_000);
    let nested = open.clone() + &"]".repeat(100_000);
    let objects = r#"{"a":"#.repeat(100_000) + "1" + &"}".repeat(100_000);
    let members: Vec<String> = (0..1_000_000).map(|number| format!("\"k{number}\":0")).collect();
    let wide = format!("{{{}}}", members.join(","));
    let timed = |body: &str| {
        let asked = Instant::now();
        let found = problems(&daemon, body);
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?} for {body:.60}");
        assert!(found.len() <= 101, "{} problems", found.len());
        found
    };
    for body in [&open, &nested, &objects, &wide, &with("event", &open)] {
        timed(body);
    }
    for field in ["event", "env_vars", "files", "limits", "code", "timeout", "unknown"] {
        let found = timed(&with(field, &nested));
        assert!(found.iter().all(|(named, _)| named.starts_with(field)), "{field}: {found:?}");
    }
    timed(&with("event", &objects));
    timed(&with("env_vars", &wide));
    quiet.still(&daemon);
}

// IN-07
#[test]
fn code_is_run_whole_or_not_at_all() {
    let daemon = Daemon::default_settings();
    let quiet = Quiet::from_now(&daemon);
    let largest = 1 << 20;
    for code in
        ["\"\"".to_owned(), json!("#".repeat(largest + 1)).to_string(), "null".to_owned(), "7".to_owned()]
    {
        let found = problems(&daemon, &format!(r#"{{"language":"python","code":{code}}}"#));
        assert!(found.len() == 1 && found[0].0 == "code", "{found:?}");
    }
    // Bytes of UTF-8 count, not characters.
    let found =
        problems(&daemon, &json!({"language": "python", "code": "ü".repeat(largest / 2 + 1)}).to_string());
    assert_eq!(found[0].0, "code");
    quiet.still(&daemon);

    let script = |code: &str| {
        let request = json!({"language": "python", "code": code, "mode": "script", "workspace": "fresh"});
        daemon.execute(&request).result()
    };
    for nothing in [" \n\t ", "# only a comment", "\r\r\r"] {
        let result = script(nothing);
        assert_eq!((&result["status"], &result["stdout"]), (&json!("success"), &json!("")), "{nothing:?}");
    }
    let ending = "print('the end')";
    let padded = format!("{}\n{ending}", "#".repeat(largest - ending.len() - 1));
    assert_eq!(padded.len(), largest);
    assert_eq!(script(&padded)["stdout"], "the end\n");
    let nul = script("print('before')\n\0print('after')");
    assert_eq!((&nul["status"], &nul["exit_code"]), (&json!("failed"), &json!(1)), "{nul}");
    assert_eq!(nul["stdout"], "", "a part of the program was run");
}

// IN-08
#[test]
fn neither_code_nor_event_nor_environment_meets_the_limits_of_argv() {
    let daemon = Daemon::default_settings();
    let event = "e".repeat(8 << 20);
    let code = format!(
        "{}\ndef handler(event):\n    import os\n    return [len(event), len(os.environ['V63'])]\n",
        "#".repeat(200 * 1024)
    );
    let variables: serde_json::Map<String, Value> =
        (0..64).map(|number| (format!("V{number}"), json!("v".repeat(500)))).collect();
    let request = json!({"language": "python", "code": code, "event": event, "env_vars": variables});
    assert_eq!(daemon.execute(&request).result()["return_value"], json!([8 << 20, 500]));
}

// IN-08, IN-10
#[test]
fn environment_variables_are_strings_with_names_a_shell_could_use() {
    let daemon = Daemon::default_settings();
    let quiet = Quiet::from_now(&daemon);
    let large = format!(r#"{{"A":"{}"}}"#, "v".repeat(64 * 1024));
    let members: Vec<String> = (0..5_000).map(|number| format!("\"V{number}\":\"\"")).collect();
    let many = format!("{{{}}}", members.join(","));
    all_refused(
        &daemon,
        "env_vars",
        &[
            r#"{"A":1}"#,
            r#"{"A":null}"#,
            r#"{"A":{"B":"c"}}"#,
            r#"{"A":["b"]}"#,
            r#"{"A":true}"#,
            r#"{"A=B":"c"}"#,
            r#"{"":"c"}"#,
            r#"{"1A":"c"}"#,
            r#"{"A B":"c"}"#,
            r#"{"A\u0000":"c"}"#,
            r#"{"A":"\u0000"}"#,
            r#"{"A":"\ud800"}"#,
            r#"{"Ä":"c"}"#,
            large.as_str(),
            many.as_str(),
            r#"["A=b"]"#,
            r#""A=b""#,
        ],
    );
    quiet.still(&daemon);
    let request = json!({"language": "shell", "code": "printf %s \"$lower$_x\"",
        "env_vars": {"lower": "a=b\n", "_x": ""}, "workspace": "fresh"});
    assert_eq!(daemon.execute(&request).result()["stdout"], "a=b\n");
}

#[test]
fn input_files_stay_inside_the_workspace() {
    let daemon = Daemon::default_settings();
    let quiet = Quiet::from_now(&daemon);
    let one = |path: &str| json!([{"path": path, "content": "x"}]).to_string();
    let paths =
        ["../../etc/passwd", "/etc/passwd", "a/../../b", "a/./b", "a//b", "a/", "", ".", "..", "a\0b"];
    let (part, whole) = ("p".repeat(256), "p/".repeat(2_100) + "p");
    let mut refused: Vec<String> = paths.iter().copied().chain([part.as_str(), &whole]).map(one).collect();
    refused.extend(
        [
            r#"[{"path":"a"}]"#,
            r#"[{"content":"a"}]"#,
            r#"[{"path":"a","content":7}]"#,
            r#"[{"path":"a","content":"%%%","encoding":"base64"}]"#,
            r#"[{"path":"a","content":"QQ","encoding":"base64"}]"#,
            r#"[{"path":"a","content":"","encoding":"hex"}]"#,
            r#"[{"path":"a","content":"","mode":"755"}]"#,
            r#"[{"path":"a","content":""},{"path":"a","content":""}]"#,
            r#"[{"path":"a","content":""},{"path":"a/b","content":""}]"#,
            "[null]",
            "{}",
        ]
        .map(str::to_owned),
    );
    let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
    all_refused(&daemon, "files", &refused);
    quiet.still(&daemon);
    // What only looks dangerous is a name like any other.
    let request = json!({"language": "shell", "code": "ls", "workspace": "fresh", "files": [
        {"path": "%2e%2e", "content": ""}, {"path": "a\\b", "content": ""}, {"path": "a..b", "content": ""}]});
    let listed = daemon.execute(&request).result();
    assert_eq!(listed["artifacts"].as_array().unwrap().len(), 3, "{listed}");
}
