//! A value returned by printing it between two marker lines.

use serde_json::{Value, json};

use crate::ask::{assert_end, run, run_all, shown, wide};

#[test]
fn any_language_can_return_a_value_by_printing_it() {
    let daemon = wide();
    let results = run_all(
        &daemon,
        &[
            (
                "python",
                "print('a')\nprint('===SANDBOX_RESULT===')\nprint('{\"n\": 1}')\nprint('===SANDBOX_RESULT_END===')\nprint('b')",
                json!({ "mode": "script" }),
            ),
            (
                "javascript",
                "console.log('a\\n===SANDBOX_RESULT===\\n{\"n\": 1}\\n===SANDBOX_RESULT_END===\\nb')",
                Value::Null,
            ),
            (
                "shell",
                "echo a; echo ===SANDBOX_RESULT===; echo '{\"n\": 1}'; echo ===SANDBOX_RESULT_END===; echo b",
                Value::Null,
            ),
        ],
    );
    for result in &results {
        assert_end(result, "success", 0, "exit");
        assert_eq!(result["return_value"], json!({ "n": 1 }), "{}", shown(result));
        assert_eq!(result["stdout"], "a\nb\n");
    }
}

#[test]
fn the_last_complete_pair_wins_and_only_it_is_cut_out() {
    let daemon = wide();
    let pair =
        |value: &str| format!("echo ===SANDBOX_RESULT===; echo '{value}'; echo ===SANDBOX_RESULT_END===;");
    let result = run(
        &daemon,
        "shell",
        &format!("{} {} echo ===SANDBOX_RESULT===", pair("1"), pair("false")),
        &Value::Null,
    );
    assert_eq!(result["return_value"], false);
    assert_eq!(result["stdout"], "===SANDBOX_RESULT===\n1\n===SANDBOX_RESULT_END===\n===SANDBOX_RESULT===\n");
    let broken = run(&daemon, "shell", &pair("not json"), &Value::Null);
    assert_eq!(broken["return_value"], Value::Null);
    assert!(broken["stdout"].as_str().unwrap().contains("not json"));
}

#[test]
fn what_a_handler_returns_comes_first() {
    let daemon = wide();
    let printed = "===SANDBOX_RESULT===\n1\n===SANDBOX_RESULT_END===\n";
    let print = "print('===SANDBOX_RESULT===\\n1\\n===SANDBOX_RESULT_END===')";
    for (returned, expected, stdout) in
        [("2", json!(2), printed), ("False", json!(false), printed), ("None", json!(1), "")]
    {
        let code = format!("def handler(event):\n  {print}\n  return {returned}");
        let result = run(&daemon, "python", &code, &Value::Null);
        assert_eq!((&result["return_value"], &result["stdout"]), (&expected, &json!(stdout)));
    }
}

#[test]
fn a_program_that_fails_may_have_printed_a_value() {
    let daemon = wide();
    let code = "echo ===SANDBOX_RESULT===; echo '[1]'; echo ===SANDBOX_RESULT_END===; exit 3";
    let result = run(&daemon, "shell", code, &Value::Null);
    assert_end(&result, "failed", 3, "exit");
    assert_eq!(result["return_value"], json!([1]));
}
