//! Which functions count as handlers, what they may return, and that a program's own names do not get in the way.

use serde_json::{Value, json};

use crate::ask::{assert_end, assert_says, run_all, shown, wide};

fn all<'a>(language: &'a str, codes: &[&'a str]) -> Vec<(&'a str, &'a str, Value)> {
    codes.iter().map(|code| (language, *code, Value::Null)).collect()
}

// RC-05
#[test]
fn every_reasonable_shape_of_handler_is_called() {
    let daemon = wide();
    let mut programs = all(
        "python",
        &[
            "handler = lambda event: 7",
            "import functools\ndef f(n, event): return n\nhandler = functools.partial(f, 7)",
            "class Handler:\n  def __call__(self, event): return 7\nhandler = Handler()",
            "class Handler:\n  def run(self, event, context): return 7\nhandler = Handler().run",
            "def handler(*args): return 5 + len(args)",
            "def handler(event, context=None): return 7 if context else 0",
            "def handler(event, *, option=7): return option",
            "async def inner(): return 7\ndef handler(event): return inner()",
        ],
    );
    programs.extend(all(
        "javascript",
        &[
            "const handler = () => 7",
            "async function handler() { return 7 }",
            "exports.handler = (event, context, callback) => callback(null, 7)",
            "exports.handler = () => ({ then: (done) => done(7) })",
            "module.exports = { handler() { return 7 } }",
            "export async function handler() { return 7 }",
            "export default { handler: () => 7 }",
            "const seven = await Promise.resolve(7); export const handler = () => seven",
        ],
    ));
    for (result, program) in run_all(&daemon, &programs).iter().zip(&programs) {
        assert_eq!(result["return_value"], 7, "{program:?} {}", shown(result));
    }
}

// RC-05
#[test]
fn what_cannot_be_called_with_an_event_is_a_failure_that_says_why() {
    let daemon = wide();
    let mut programs = all(
        "python",
        &[
            "def handler(): return 1",
            "def handler(a, b, c): return 1",
            "def handler(event, *, needed): return 1",
            "handler = 'text'",
        ],
    );
    programs.extend([
        ("javascript", "exports.handler = 'text'", json!({ "mode": "handler" })),
        ("javascript", "exports.handler = async () => { throw new Error('rejected handler') }", Value::Null),
        (
            "javascript",
            "exports.handler = (event, context, callback) => callback(new Error('its handler'))",
            Value::Null,
        ),
        ("javascript", "exports.handler = (event, context, callback) => {}", Value::Null),
        ("javascript", "exports.handler = () => Promise.reject('a handler rejects with text')", Value::Null),
        ("javascript", "exports.handler = () => { throw null } // handler", Value::Null),
    ]);
    for (result, program) in run_all(&daemon, &programs).iter().zip(&programs) {
        assert_end(result, "failed", 1, "exception");
        assert!(!result["stderr"].as_str().unwrap().is_empty(), "{program:?} {}", shown(result));
    }
}

// RC-09
#[test]
fn a_return_value_that_is_not_json_names_its_type_and_where_it_is() {
    let daemon = wide();
    let cases = [
        ("python", "def handler(event): return {1, 2}", "value is a set"),
        ("python", "def handler(event): return {'a': [1, b'x']}", r#"value["a"][1] is a bytes"#),
        (
            "python",
            "import datetime\ndef handler(event): return [datetime.date(2020, 1, 1)]",
            "value[0] is a datetime.date",
        ),
        (
            "python",
            "import decimal\ndef handler(event): return {'n': decimal.Decimal(1)}",
            r#"value["n"] is a decimal.Decimal"#,
        ),
        ("python", "def handler(event): return {(1, 2): 3}", "key that is a tuple"),
        ("python", "def handler(event):\n  x = []\n  x.append(x)\n  return x", "value[0] refers to itself"),
        ("python", "def handler(event): return 10 ** 5000", "value is an integer of more than"),
        (
            "python",
            "def handler(event):\n  x = []\n  for _ in range(100000): x = [x]\n  return x",
            "nested too deeply",
        ),
        ("python", "def handler(event): return (n for n in range(3))", "value is a generator"),
        (
            "python",
            "class Odd:\n  def __repr__(self): raise Exception\n  __str__ = __iter__ = __repr__\ndef handler(event): return [Odd()]",
            "value[0] is a",
        ),
        ("python", "def handler(event): return 'x' * (50 << 20)", "too large"),
        ("javascript", "exports.handler = () => ({ a: [1n] })", r#"value["a"][0] is a BigInt"#),
        ("javascript", "exports.handler = () => [() => 1]", "value[0] is a function"),
        ("javascript", "exports.handler = () => Symbol('s')", "value is a symbol"),
        ("javascript", "exports.handler = () => ({ m: new Map() })", r#"value["m"] is a Map"#),
        ("javascript", "exports.handler = () => { const x = {}; x.x = x; return x }", "refers to itself"),
        (
            "javascript",
            "exports.handler = () => { let x = []; for (let i = 0; i < 1e5; i++) x = [x]; return x }",
            "nested too deeply",
        ),
        ("javascript", "exports.handler = () => 'x'.repeat(50 << 20)", "too large"),
    ];
    let programs: Vec<_> = cases.iter().map(|(language, code, _)| (*language, *code, Value::Null)).collect();
    for (result, (_, code, needle)) in run_all(&daemon, &programs).iter().zip(cases) {
        assert_end(result, "failed", 1, "exception");
        assert_says(result, "stderr", &["return value", needle]);
        assert_eq!(result["return_value"], Value::Null, "{code}");
    }
    let throwing = run_all(
        &daemon,
        &all("javascript", &["exports.handler = () => ({ toJSON() { throw new Error('toJSON threw') } })"]),
    );
    assert_end(&throwing[0], "failed", 1, "exception");
    assert_says(&throwing[0], "stderr", &["toJSON threw"]);
}

// RC-09
#[test]
fn values_on_the_edge_of_json_have_one_meaning() {
    let daemon = wide();
    let cases = [
        (
            "python",
            "def handler(event): return [float('nan'), float('inf'), -float('inf'), 1.5]",
            "[null,null,null,1.5]",
        ),
        ("python", "def handler(event): return (1, [2, (3,)])", "[1,[2,[3]]]"),
        ("python", "def handler(event): return {1: 'a', None: 'b', True: 'c'}", r#"{"1":"c","null":"b"}"#),
        (
            "python",
            "import enum\nclass Level(enum.IntEnum):\n  HIGH = 3\ndef handler(event): return [Level.HIGH]",
            "[3]",
        ),
        ("python", "def handler(event): return 2 ** 53 + 1", "9007199254740993"),
        (
            "javascript",
            "exports.handler = () => [NaN, Infinity, -Infinity, -0, 1e21]",
            "[null,null,null,0,1e+21]",
        ),
        ("javascript", "exports.handler = () => ({ a: undefined, b: [undefined] })", r#"{"b":[null]}"#),
        ("javascript", "exports.handler = () => new Date(0)", r#""1970-01-01T00:00:00.000Z""#),
        ("javascript", "exports.handler = () => undefined", "null"),
        ("javascript", "exports.handler = () => Object.create(null)", "{}"),
    ];
    let programs: Vec<_> = cases.iter().map(|(language, code, _)| (*language, *code, Value::Null)).collect();
    for (result, (_, code, expected)) in run_all(&daemon, &programs).iter().zip(cases) {
        assert_end(result, "success", 0, "exit");
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(result["return_value"], expected, "{code}");
    }
}

#[test]
fn integers_of_any_length_are_returned_digit_for_digit() {
    let daemon = wide();
    let request = json!({
        "language": "python", "code": "def handler(event): return [10 ** 40 + 7, -(2 ** 64)]", "workspace": "fresh",
    });
    let body = daemon.execute(&request).text();
    assert!(
        body.contains(r#""return_value":[10000000000000000000000000000000000000007,-18446744073709551616]"#),
        "{body}"
    );
}

// RC-11
#[test]
fn half_a_surrogate_pair_becomes_a_replacement_and_everything_else_stays() {
    let daemon = wide();
    let cases = [
        ("python", "def handler(event): return ['\\ud800', 'a\\udc00b', '😀', '\\0', 'e\\u0301']"),
        ("javascript", "exports.handler = () => ['\\ud800', 'a\\udc00b', '😀', '\\0', 'e\\u0301']"),
    ];
    let programs: Vec<_> = cases.iter().map(|(language, code)| (*language, *code, Value::Null)).collect();
    for result in run_all(&daemon, &programs) {
        assert_eq!(
            result["return_value"],
            json!(["\u{FFFD}", "a\u{FFFD}b", "😀", "\0", "e\u{301}"]),
            "{}",
            shown(&result)
        );
    }
    let printed = run_all(&daemon, &all("javascript", &["console.log('\\ud800😀\\0e\\u0301')"]));
    assert_eq!(printed[0]["stdout"], "\u{FFFD}😀\0e\u{301}\n");
}

// RC-07
#[test]
fn the_programs_own_names_do_not_disturb_its_result() {
    let daemon = wide();
    let mut programs = all(
        "python",
        &[
            "json = print = event = result = None\ndef handler(event): return 7",
            "import json\njson.dumps = json.loads = json.JSONEncoder = None\ndef handler(event): return 7",
            "import sys\nsys.stdout = sys.stderr = None\ndef handler(event): return 7",
            "import os\nos.write = os.getpid = None\ndef handler(event): return 7",
            "import sys\nsys.modules.clear()\ndef handler(event): return 7",
            "import builtins\nbuiltins.print = builtins.input = builtins.sorted = None\ndef handler(event): return 7",
            "import threading\nclass Context: pass\nclass Refusal: pass\ndef main(): 1 / 0\ndef send(x): 1 / 0\ndef handler(event): return 7",
        ],
    );
    programs.extend(all(
        "javascript",
        &[
            "const event = 1, result = 2, context = 3, job = 4, fs = 5, path = 6; exports.handler = () => 7",
            "JSON.stringify = JSON.parse = null; exports.handler = () => 7",
            "Object.prototype.toJSON = () => 'polluted'; Object.prototype.type = 1; exports.handler = () => 7",
            "Array.prototype.push = Array.prototype.map = null; exports.handler = () => 7",
            "process.stdout.write = () => { throw 1 }; console.log = null; exports.handler = () => 7",
            "process.exit = () => { throw new Error('no') }; exports.handler = () => 7",
            "globalThis.Buffer = null; Promise.prototype.then = Promise.prototype.then; exports.handler = () => 7",
        ],
    ));
    for (result, program) in run_all(&daemon, &programs).iter().zip(&programs) {
        assert_end(result, "success", 0, "exit");
        assert_eq!(result["return_value"], 7, "{program:?} {}", shown(result));
    }
}
