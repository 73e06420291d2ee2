//! What node brings along.

use serde_json::json;

use crate::program::program;

#[test]
fn fetch_is_refused_outside_and_answered_on_the_loopback() {
    program!("network.js")
        .with_certificates()
        .answers(json!({
            "byAddress": "ENETUNREACH",
            "nobody": "ECONNREFUSED",
            "byName": "no such name",
            "posted": [200, "POST", 200_005, "X/path"],
            "many": true,
            "tls": "TLSv1.3",
            "untrusted": true,
            "unix": "echo",
            "localhost": true,
            "lookup": "no such name",
            "interfaces": ["lo"],
        }))
        .check();
}

#[test]
fn other_programs_nodes_and_threads_answer() {
    program!("processes.js")
        .answers(json!({
            "spawn": ["1\n9\n10\n", 0],
            "exec": ["ABC\n", "oops\n"],
            "failed": 4,
            "missing": "ENOENT",
            "killed": "SIGTERM",
            "sync": 588_895,
            "node": "42",
            "fork": [2, 4, 6],
            "forked": 0,
            "woken": true,
            "counted": 40_000,
            "gone": [0, 0, 0, 0],
            "thrown": "here",
            "terminated": 1,
            "message": 1,
            "signal": "SIGUSR2",
        }))
        .check();
}

#[test]
fn cryptography_compression_files_and_webassembly_work() {
    program!("builtins.js")
        .answers(json!({
            "hash": "ba7816bf8f01cfea",
            "scrypt": "fdbabe1c9d347200",
            "derived": "4b007901b765489abead49d926f721d065a429c1",
            "signed": true,
            "opened": "secret",
            "uuid": 36,
            "gzip": true,
            "deflate": true,
            "brotliCompress": true,
            "watched": "file",
            "piped": true,
            "listed": ["file", "file.3", "file.gz", "file.link"],
            "size": 1 << 20,
            "removed": "ENOENT",
            "wasm": 42,
            "memory": 1,
            "intl": "1. Januar 1970",
            "regexp": "lódź",
            "big": "1267650600228229401496703205376",
            "process": true,
            "machine": true,
            "user": [1000, "sandbox", "/tmp"],
            "slept": true,
            "collected": 2,
        }))
        .check();
}
