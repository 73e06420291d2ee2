//! The shortest road through everything, once per language.

use conformance::Daemon;
use serde_json::json;

#[test]
fn each_language_answers_and_nothing_is_left_behind() {
    let daemon = Daemon::default_settings();
    let python = daemon
        .execute(&json!({ "language": "python", "code": "def handler(event): return event", "event": [0] }));
    assert_eq!(python.result()["return_value"], json!([0]));
    let javascript = daemon.run("javascript", "exports.handler = () => false");
    assert_eq!(javascript["return_value"], json!(false));
    let shell = daemon.run("shell", "echo out; echo err >&2; exit 3");
    assert_eq!(shell["exit_code"], 3);
    assert_eq!((&shell["stdout"], &shell["stderr"]), (&json!("out\n"), &json!("err\n")));
}
