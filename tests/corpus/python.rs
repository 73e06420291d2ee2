//! What Python brings along, and the libraries that most programs start with.

use serde_json::json;

use crate::program::{Need, program};

#[test]
fn an_event_loop_runs_programs_sockets_and_threads() {
    program!("asyncio.py")
        .answers(json!({
            "tcp": true,
            "unix": ["ONE", "TWO"],
            "copied": 300_000,
            "failing": [3, "no\n"],
            "codes": [0, 1, 2, 3, 4, 5],
            "terminated": -15,
            "elsewhere": true,
            "late": "timeout",
            "outside": 101,
            "address": true,
        }))
        .check();
}

#[test]
fn processes_work_together_whether_forked_or_spawned() {
    let each = json!({
        "squares": 332_833_500,
        "error": "no 7",
        "counter": 600,
        "names": ["adder 0", "adder 1", "adder 2"],
        "codes": [0, 0, 0],
        "filled": [0, 1, 2, 0],
        "futures": [0, 1, 4, 9, 16, 25, 36, 49, 64, 81],
        "killed": -9,
    });
    program!("multiprocessing.py")
        .answers(json!({ "fork": each, "spawn": each, "managed": { "a": 1, "b": 2 } }))
        .check();
}

// glibc reserves address space for each thread's heap: a limit on that left room for fourteen.
#[test]
fn thirty_two_threads_are_there_at_once() {
    program!("threads.py")
        .answers(json!({
            "counter": 3200,
            "threads": 32,
            "echoed": (0..16).collect::<Vec<_>>(),
            "consumed": 9900,
            "fired": true,
            "local": 1,
            "sorted": ["1", "9", "10"],
            "patience": "timeout",
            "session": true,
            "missing": "missing",
            "slept": true,
        }))
        .check();
}

#[test]
fn the_kernel_answers_the_standard_library() {
    program!("system.py")
        .answers(json!({
            "temporary": ["/tmp", "/tmp", "hidden"],
            "links": ["target", 2],
            "mapped": "hello",
            "forked": [7, "child"],
            "sendfile": [1 << 20, "hello"],
            "copied": 1 << 20,
            "inotify": "watched",
            "epoll": 1,
            "pending": true,
            "signals": ["SIGALRM", "SIGUSR2"],
            "spawned": 5,
            "terminal": [true, "typed\r\n"],
            "eventfd": 3,
            "encoding": "UTF-8",
            "collated": ["A", "B", "a", "b"],
            "zone": "2024-07-01T02:30:00-04:00",
            "clocks": [true, true, true, true, true],
            "random": 32,
            "limit": 64,
            "usage": true,
            "page": true,
            "interfaces": ["lo"],
            "host": "sandbox",
            "cpus": true,
            "nice": true,
            "load": 3,
            "space": true,
            "status": [true, ["1000", "1000", "1000", "1000"], true],
            "proc": [true, true, true, true, true, true, true],
        }))
        .check();
}

#[test]
fn a_database_in_the_workspace_has_two_writers() {
    program!("sqlite.py")
        .answers(json!({
            "mode": "wal",
            "counted": 5000,
            "sums": [6_248_750.0, 6_248_750.0, 6_248_760.0],
            "found": 1,
            "copied": 5000,
            "sound": "ok",
        }))
        .check();
}

#[test]
fn tls_is_spoken_on_the_loopback_and_a_stranger_is_refused() {
    program!("tls.py")
        .with_certificates()
        .answers(json!({ "trusted": ["TLSv1.3", "HELLO"], "untrusted": "refused", "random": 32 }))
        .check();
}

#[test]
fn requests_reach_a_server_on_the_loopback_and_nobody_else() {
    program!("requests.py")
        .needs(Need::Module("requests"))
        .answers(json!({
            "got": { "path": "/a?b=1", "agent": "corpus" },
            "posted": [201, true],
            "by_name": "ConnectionError",
            "by_address": "ConnectionError",
            "nobody": "ConnectionError",
        }))
        .check();
}
