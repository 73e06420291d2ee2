//! Helper modules that are sent along, and packages that are installed.

use std::path::Path;

use conformance::{Daemon, can};
use serde_json::{Value, json};

use crate::ask::{assert_end, run, shown, wide};

fn file(path: &str, content: &str) -> Value {
    json!({ "path": path, "content": content, "encoding": "utf8" })
}

#[test]
fn helper_modules_beside_the_code_are_found() {
    let daemon = wide();
    let python = run(
        &daemon,
        "python",
        "import helper\nfrom package.inner import two\ndef handler(event): return helper.one() + two",
        &json!({ "files": [
            file("helper.py", "def one(): return 1"),
            file("package/__init__.py", ""),
            file("package/inner.py", "two = 2"),
        ] }),
    );
    assert_eq!(python["return_value"], 3, "{}", shown(&python));
    let files = json!([
        file("helper.js", "exports.one = () => 1"),
        file("data/two.json", "2"),
        file("three.mjs", "export default 3")
    ]);
    let node = run(
        &daemon,
        "javascript",
        "const { one } = require('./helper'); exports.handler = () => one() + require('./data/two.json')",
        &json!({ "files": files }),
    );
    assert_eq!(node["return_value"], 3, "{}", shown(&node));
    let module = run(
        &daemon,
        "javascript",
        "import { one } from './helper.js'; import three from './three.mjs'; export const handler = () => one() + three",
        &json!({ "files": files }),
    );
    assert_eq!(module["return_value"], 4, "{}", shown(&module));
    let shell = run(
        &daemon,
        "shell",
        ". ./helper.sh; two",
        &json!({ "files": [file("helper.sh", "two() { echo 2; }")] }),
    );
    assert_eq!(shell["stdout"], "2\n");
}

#[test]
fn an_error_in_a_helper_names_the_helper() {
    let daemon = wide();
    let more = json!({ "files": [file("helper.py", "def one():\n  return 1 / 0\n")] });
    let result = run(&daemon, "python", "import helper\ndef handler(event): return helper.one()", &more);
    assert_end(&result, "failed", 1, "exception");
    let stderr = result["stderr"].as_str().unwrap();
    assert!(
        stderr.contains("/code/main.py\", line 2") && stderr.contains("/workspace/helper.py\", line 2"),
        "{stderr}"
    );
}

#[test]
fn npm_packages_of_the_workspace_are_found() {
    let daemon = wide();
    let files = json!([
        file("node_modules/left/package.json", r#"{"name":"left","version":"1.0.0","main":"lib/index.js"}"#),
        file("node_modules/left/lib/index.js", "module.exports = require('@scope/right') + 1"),
        file("node_modules/@scope/right/index.js", "module.exports = 1"),
    ]);
    for code in [
        "const left = require('left'); exports.handler = () => left",
        "import left from 'left'; export const handler = () => left",
        "exports.handler = async () => (await import('left')).default",
    ] {
        let result = run(&daemon, "javascript", code, &json!({ "files": files }));
        assert_eq!(result["return_value"], 2, "{code} {}", shown(&result));
    }
}

#[test]
fn npm_packages_that_are_installed_are_found() {
    let installed = ["/usr/local/lib/node_modules", "/usr/lib/node_modules", "/usr/share/nodejs"];
    let has_npm = installed.iter().any(|dir| Path::new(dir).join("npm/package.json").exists());
    if !can(has_npm, "npm is not installed for the system's node") {
        return;
    }
    let daemon = wide();
    for code in [
        "exports.handler = () => require('npm/package.json').name",
        "import { createRequire } from 'module'; export const handler = () => createRequire(import.meta.url)('npm/package.json').name",
    ] {
        let result = daemon.run("javascript", code);
        assert_eq!(result["return_value"], "npm", "{}", shown(&result));
    }
}

fn has_numpy(daemon: &Daemon) -> bool {
    let found = daemon.run(
        "python",
        "import importlib.util\ndef handler(event): return importlib.util.find_spec('numpy') is not None",
    );
    can(found["return_value"] == true, "python3-numpy is not installed")
}

#[test]
fn numpy_imports_and_computes() {
    let daemon = wide();
    if !has_numpy(&daemon) {
        return;
    }
    let code = "import numpy as np\ndef handler(event):\n  m = np.arange(10000.0).reshape(100, 100)\n  return float(np.trace(m @ np.eye(100)))";
    let result = daemon.run("python", code);
    assert_end(&result, "success", 0, "exit");
    assert_eq!(result["return_value"], 499_950.0, "{}", shown(&result));
    assert_eq!(result["stderr"], "");
    let scalar =
        daemon.run("python", "import numpy as np\ndef handler(event): return {'mean': np.float32(1.5)}");
    assert_end(&scalar, "failed", 1, "exception");
    assert!(
        scalar["stderr"].as_str().unwrap().contains(r#"value["mean"] is a numpy.float32"#),
        "{}",
        shown(&scalar)
    );
}

#[test]
fn an_array_that_is_too_large_is_the_memory_limit() {
    let daemon = wide();
    if !has_numpy(&daemon) {
        return;
    }
    let code = "import numpy as np\ndef handler(event): return float(np.ones((100, 1 << 20)).sum())";
    let result = run(&daemon, "python", code, &json!({ "limits": { "memory_mb": 128 } }));
    assert_end(&result, "error", -1, "memory_limit");
}
