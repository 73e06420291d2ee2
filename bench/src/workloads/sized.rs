//! Python handlers whose work has a size, for the daemon alone: what a request costs that brings, finds, prints or imports much.

use serde_json::{Value, json};

use super::{Expect, Workload, request};

fn handler(code: &str, expect: Expect) -> Workload {
    Workload {
        name: "sized python handler",
        pool: "POOL_PYTHON",
        request: request("python", code),
        command: Vec::new(),
        stdin: String::new(),
        expect,
        runs_divisor: 1,
    }
}

/// Finds `bytes` bytes in its event.
pub(crate) fn event(bytes: usize) -> Workload {
    let mut workload =
        handler("def handler(event):\n    return len(event['text'])\n", Expect::Json(json!(bytes)));
    workload.request["event"] = json!({ "text": "x".repeat(bytes) });
    workload
}

/// Prints `bytes` bytes, in lines of 64.
pub(crate) fn output(bytes: usize) -> Workload {
    let code = format!(
        "import sys\ndef handler(event):\n    line = 'x' * 63 + '\\n'\n    \
         sys.stdout.write(line * ({bytes} // 64) + 'x' * ({bytes} % 64))\n"
    );
    handler(&code, Expect::StdoutBytes(bytes))
}

/// Does nothing, in the session's workspace.
pub(crate) fn nothing_in(session: &str) -> Workload {
    in_session(handler("def handler(event):\n    return None\n", Expect::Json(Value::Null)), session)
}

/// Leaves `count` files of 100 bytes, a hundred in each directory.
pub(crate) fn leaves_files(session: &str, count: usize) -> Workload {
    let code = format!(
        "import os\ndef handler(event):\n    for number in range({count}):\n        \
         directory = f'd{{number // 100}}'\n        os.makedirs(directory, exist_ok=True)\n        \
         with open(f'{{directory}}/f{{number}}.txt', 'w') as out:\n            out.write(f'{{number:0100}}')\n    \
         return {count}\n"
    );
    in_session(handler(&code, Expect::Json(json!(count))), session)
}

/// Leaves one file of `bytes` bytes.
pub(crate) fn leaves_bytes(session: &str, bytes: usize) -> Workload {
    let code = format!(
        "def handler(event):\n    with open('large.bin', 'wb') as out:\n        out.write(b'x' * {bytes})\n    \
         return {bytes}\n"
    );
    in_session(handler(&code, Expect::Json(json!(bytes))), session)
}

/// Imports modules, all of which there must be.
pub(crate) fn imports(modules: &[&str]) -> Workload {
    let names = if modules.is_empty() { "sys".to_owned() } else { modules.join(", ") };
    let code = format!("def handler(event):\n    import {names}\n    return None\n");
    handler(&code, Expect::Json(Value::Null))
}

/// Says whether the interpreter had this module before the program asked for it.
pub(crate) fn finds_loaded(module: &str) -> Value {
    let code = format!("def handler(event):\n    import sys\n    return '{module}' in sys.modules\n");
    request("python", &code)
}

fn in_session(mut workload: Workload, session: &str) -> Workload {
    if let Some(fields) = workload.request.as_object_mut() {
        fields.remove("workspace");
    }
    workload.request["session_id"] = json!(session);
    workload
}
