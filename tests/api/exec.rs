//! `sandbox-executor exec --url URL FILE`: one execution on a running daemon, over connections that break, and against servers that
//! mean no good.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use conformance::{Daemon, Settings, daemon};
use serde_json::{Value, json};

use crate::program::{Ended, Program, Running};
use crate::raw::Conversation;

const PYTHON: &str = "def handler(event):\n    print('said')\n    return {'got': event}\n";

fn program(address: SocketAddr, file: &str, code: &str, more: &[&str]) -> Program {
    let program = Program::new(&["exec", "--url", &format!("http://{address}")]);
    let path = program.file(file, code);
    program.arguments(&[path.as_str()]).arguments(more)
}

fn exec(daemon: &Daemon, file: &str, code: &str, more: &[&str]) -> Ended {
    program(daemon.address(), file, code, more).run()
}

/// `GET /executions/{id}`.
fn look(daemon: &Daemon, execution_id: &str) -> Value {
    let mut conversation = Conversation::with(daemon);
    conversation.say(format!("GET /executions/{execution_id} HTTP/1.1\r\nHost: x\r\n\r\n"));
    conversation.hear().unwrap().json()
}

#[test]
fn it_prints_what_run_prints_and_exits_as_run_does() {
    let daemon = Daemon::default_settings();
    for (file, code, more, expected) in [
        ("a.py", PYTHON, &["--event", "[1, null]"][..], 0),
        ("a.sh", "echo out; echo err >&2; exit 7", &[], 7),
        ("a.py", "def handler(event):\n    raise KeyError('which')\n", &[], 1),
        ("a.sh", "printf unfinished >&2; sleep 60", &["--timeout", "1"], 124),
        ("a.sh", "kill -9 $$", &[], 137),
        ("a.sh", "head -c 3000000 /dev/zero | tr '\\0' x; echo; printf 'caf\\303\\251 \\377'", &[], 0),
    ] {
        let program = Program::new(&["run"]);
        let path = program.file(file, code);
        let run = program.arguments(&[path.as_str()]).arguments(more).run();
        for how in [&[][..], &["--stream"], &["--no-stream"]] {
            let ended = exec(&daemon, file, code, &[more, how].concat());
            assert_eq!(ended.code, Some(expected), "{code} {how:?}: {}", ended.stderr);
            assert!(ended.stdout == run.stdout, "{code} {how:?}");
            assert_eq!(ended.stderr, run.stderr, "{code} {how:?}");
        }
    }
    let small = Settings::new().set("MAX_MEMORY_MB", 64).start();
    let hoard = "import time\nhoard = bytearray(400 << 20)\ntime.sleep(10)\ndef handler(event): pass\n";
    assert_eq!(exec(&small, "a.py", hoard, &[]).code, Some(137));
}

#[test]
fn json_prints_the_whole_answer() {
    let daemon = Daemon::default_settings();
    let ended = exec(&daemon, "a.py", PYTHON, &["--json", "--event", "7", "--execution-id", "exec_json"]);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    conformance::contract::check("POST", "/execute", 200, "application/json", ended.stdout.as_bytes());
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&answer["return_value"], &answer["stdout"]), (&json!({"got": 7}), &json!("said\n")));
    assert_eq!(answer["execution_id"], "exec_json");
    let again = exec(&daemon, "a.py", PYTHON, &["--event", "7", "--execution-id", "exec_json"]);
    assert_eq!((again.code, &*again.stdout), (Some(0), "said\n{\"got\":7}\n"), "{}", again.stderr);
    assert_eq!(daemon.events("execution_started").len(), 1, "it attaches to the run that there was");
    let other = exec(&daemon, "a.py", PYTHON, &["--event", "8", "--execution-id", "exec_json"]);
    assert_eq!((other.code, &*other.stdout), (Some(125), ""));
    assert!(other.stderr.contains("these fields differ: event"), "{}", other.stderr);
}

#[test]
fn a_session_is_where_it_runs() {
    let daemon = Daemon::default_settings();
    assert_eq!(exec(&daemon, "a.sh", "echo kept > kept", &["--session", "s1"]).code, Some(0));
    let there = exec(&daemon, "a.sh", "cat kept", &["--session", "s1"]);
    assert_eq!((there.code, &*there.stdout), (Some(0), "kept\n"), "{}", there.stderr);
    assert_eq!(exec(&daemon, "a.sh", "cat kept", &["--session", "s2"]).code, Some(1));
}

/// Begins `code`, and waits until it has said `first` and nothing else.
fn begun(address: SocketAddr, code: &str, first: &str, more: &[&str]) -> Running {
    let mut running = program(address, "a.sh", code, more).begin();
    running.eventually("what it has written is there", |running| running.stdout() == first);
    running
}

#[test]
fn output_appears_while_the_program_still_runs() {
    let daemon = Daemon::default_settings();
    let code = "echo first; echo error >&2; while [ ! -e go ]; do sleep 0.02; done; echo last; exit 3";
    let mut running = begun(daemon.address(), code, "first\n", &[]);
    running.eventually("stderr, too", |running| running.stderr() == "error\n");
    fs::write(daemon.workspace().join("go"), "").unwrap();
    let ended = running.end();
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(3), "first\nlast\n", "error\n"));
}

#[test]
fn at_the_end_means_at_the_end() {
    let daemon = Daemon::default_settings();
    let code = "echo first; touch said; while [ ! -e go ]; do sleep 0.02; done";
    let running = program(daemon.address(), "a.sh", code, &["--no-stream"]).begin();
    daemon.eventually("it has been said", |daemon| daemon.workspace().join("said").exists());
    assert_eq!(running.stdout(), "");
    fs::write(daemon.workspace().join("go"), "").unwrap();
    assert_eq!(running.end().stdout, "first\n");
}

#[test]
fn an_interrupt_cancels_it_on_the_daemon_and_is_130() {
    let daemon = Daemon::default_settings();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let id = format!("exec_{signal}");
        let running = begun(daemon.address(), "echo first; sleep 60", "first\n", &["--execution-id", &id]);
        running.signal(signal);
        let ended = running.end();
        assert_eq!((ended.code, &*ended.stdout), (Some(code), "first\n"), "{}", ended.stderr);
        let execution = look(&daemon, &id);
        assert_eq!(
            (&execution["state"], &execution["result"]["status"]),
            (&json!("finished"), &json!("cancelled"))
        );
    }
}

#[test]
fn a_second_interrupt_leaves_at_once() {
    let server = Server::start(|_request, mut stream| {
        stream.write_all(EVENTS.as_bytes()).unwrap();
        stream.write_all(event("stdout", "1-6-0", &output(0, "first\n")).as_bytes()).unwrap();
        // It never ends, whatever it is asked.
        stream.read_to_end(&mut Vec::new()).ok();
    });
    let mut running = begun(server.address, "true", "first\n", &[]);
    running.signal("INT");
    running.eventually("it asks for the end", |_| {
        server.requests().iter().any(|line| line.starts_with("DELETE "))
    });
    running.signal("INT");
    assert_eq!(running.end().code, Some(130));
}

#[test]
fn a_reader_that_leaves_ends_the_execution() {
    let daemon = Daemon::default_settings();
    let program = Program::new(&[]);
    let path = program.file("a.sh", "while sleep 0.01; do echo again; done");
    let url = format!("http://{}", daemon.address());
    let ended =
        program.piped_into("head -n 1", &["exec", "--url", &url, &path, "--execution-id", "exec_left"]);
    assert_eq!((ended.code, &*ended.stdout), (Some(125), "again\n"), "{}", ended.stderr);
    assert!(ended.stderr.contains("Broken pipe"), "{}", ended.stderr);
    daemon.eventually("it is over", |daemon| look(daemon, "exec_left")["state"] == "finished");
}

/// Passes bytes on, and breaks the connection after so many of what the daemon says: another number for each connection.
fn breaking(
    daemon: SocketAddr,
    after: impl Fn(usize) -> Option<usize> + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let limit = after(count.fetch_add(1, Ordering::SeqCst));
            thread::spawn(move || pass_on(&client, &TcpStream::connect(daemon).unwrap(), limit));
        }
    });
    (address, connections)
}

fn pass_on(client: &TcpStream, daemon: &TcpStream, limit: Option<usize>) {
    let (mut from, mut to) = (client.try_clone().unwrap(), daemon.try_clone().unwrap());
    let up = thread::spawn(move || {
        std::io::copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Write).ok();
    });
    let (from, mut to) = (daemon, client);
    let limit = limit.map_or(u64::MAX, |limit| limit as u64);
    std::io::copy(&mut from.take(limit), &mut to).ok();
    for stream in [client, daemon] {
        stream.shutdown(Shutdown::Both).ok();
    }
    up.join().unwrap();
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let daemon = Daemon::default_settings();
    let code = "for i in $(seq 2000); do echo line $i; done; sleep 0.3; for i in $(seq 5); do echo end $i; sleep 0.05; done; exit 4";
    let expected = exec(&daemon, "a.sh", code, &[]);
    assert_eq!(expected.code, Some(4));
    // Before the first byte, in the head, in the first event, in the middle of text; and then at every so many bytes.
    let (address, connections) = breaking(daemon.address(), |index| match index {
        0 => Some(0),
        1 => Some(20),
        2 => Some(400),
        3 => Some(10_000),
        4..8 => Some(600 + 100 * index),
        _ => None,
    });
    let ended = program(address, "a.sh", code, &["--execution-id", "exec_broken"]).run();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(ended.stdout == expected.stdout, "{}", ended.stdout);
    assert_eq!(ended.stderr, "");
    assert!(connections.load(Ordering::SeqCst) >= 5);
    let started = daemon.events("execution_started");
    assert_eq!(started.iter().filter(|line| line["execution_id"] == "exec_broken").count(), 1, "it ran once");
}

#[test]
fn a_daemon_that_dies_meanwhile_is_125_with_what_is_known() {
    let daemon = Daemon::default_settings();
    let running =
        begun(daemon.address(), "echo first; sleep 60", "first\n", &["--execution-id", "exec_lost"]);
    let port = daemon.address().port();
    let restarted = daemon.kill().restart_with(Settings::new().set("EXECUTOR_PORT", port));
    let ended = running.end();
    assert_eq!((ended.code, &*ended.stdout), (Some(125), "first\n"));
    for word in ["exec_lost was accepted", "its end is not known", "Executor.NotFound", "request_id"] {
        assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
    }
    assert_eq!(restarted.events("execution_started").len(), 0, "it is not run again");
}

#[test]
fn a_daemon_that_is_not_there_is_125_with_a_sentence() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = program(free, "a.sh", "true", &[]).run();
    assert_eq!((ended.code, &*ended.stdout), (Some(125), ""));
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    let expected = format!("cannot connect to http://{free}: ");
    assert!(ended.stderr.contains(&expected) && ended.stderr.contains("refused"), "{}", ended.stderr);
}

#[test]
fn the_token_comes_from_the_environment_and_a_wrong_one_is_said_so() {
    let daemon = Settings::new().with_api_token("the-right-one").start();
    let with = |token: &str| {
        program(daemon.address(), "a.sh", "echo in", &[]).set("EXECUTOR_API_TOKEN", token).run()
    };
    let right = with("the-right-one");
    assert_eq!((right.code, &*right.stdout), (Some(0), "in\n"), "{}", right.stderr);
    for wrong in [with("canary-of-another"), exec(&daemon, "a.sh", "echo in", &[])] {
        assert_eq!((wrong.code, &*wrong.stdout), (Some(125), ""));
        assert_eq!(wrong.stderr.lines().count(), 1, "{}", wrong.stderr);
        for word in ["bearer token", "EXECUTOR_API_TOKEN", "Executor.Unauthorized", "request_id"] {
            assert!(wrong.stderr.contains(word), "{word}: {}", wrong.stderr);
        }
        assert!(!wrong.stderr.contains("canary"), "{}", wrong.stderr);
    }
    for token in ["", "canary with spaces", "canary\n"] {
        let unusable = with(token);
        assert_eq!(unusable.code, Some(64), "{}", unusable.stderr);
        assert!(unusable.stderr.contains("EXECUTOR_API_TOKEN") && !unusable.stderr.contains("canary"));
    }
}

#[test]
fn what_is_wrong_with_the_command_line_or_the_request_is_64() {
    let daemon = Daemon::default_settings();
    let url = format!("http://{}", daemon.address());
    for (file, more, expected) in [
        ("a.txt", &[][..], "use --language"),
        ("a.sh", &["--language", "bash"], "there are python, javascript and shell"),
        ("a.sh", &["--event", "{"], "--event is not JSON"),
        ("a.sh", &["--timeout", "0"], "timeout must be"),
        ("a.sh", &["--session", "../up"], "session_id must match"),
        ("a.sh", &["--execution-id", "mine"], "--execution-id must match"),
        ("a.sh", &["--stream", "--json"], "cannot be used with"),
        ("a.sh", &["--stream", "--no-stream"], "cannot be used with"),
        ("a.sh", &["--force"], "--artifacts"),
        ("a.sh", &["--artifacts", "/dev/null/x"], "--artifacts: cannot use /dev/null/x"),
        ("a.sh", &["--timeuot", "3"], "--timeout"),
    ] {
        let ended = exec(&daemon, file, "true", more);
        assert_eq!((ended.code, &*ended.stdout), (Some(64), ""), "{more:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{more:?}: {}", ended.stderr);
    }
    for (url, expected) in [
        ("http://user:canary@127.0.0.1", "EXECUTOR_API_TOKEN"),
        ("http://127.0.0.1/?token=canary", "EXECUTOR_API_TOKEN"),
        ("ftp://127.0.0.1", "neither http:// nor https://"),
        ("127.0.0.1:8080", "--url is"),
        ("http://", "--url is"),
        ("", "--url is"),
    ] {
        let program = Program::new(&["exec", "--url", url]);
        let path = program.file("a.sh", "true");
        let ended = program.arguments(&[path.as_str()]).run();
        assert_eq!(ended.code, Some(64), "{url}: {}", ended.stderr);
        assert!(
            ended.stderr.contains(expected) && !ended.stderr.contains("canary"),
            "{url}: {}",
            ended.stderr
        );
    }
    let token = Program::new(&["exec", "--url", &url, "--executor-api-token", "canary", "a.sh"]).run();
    assert!(token.code == Some(64), "{}", token.stderr);
    assert_eq!(daemon.events("execution_started").len(), 0);
}

#[test]
fn a_proxy_of_the_environment_is_not_used() {
    let daemon = Daemon::default_settings();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut program = program(daemon.address(), "a.sh", "echo direct", &[]);
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        program = program.set(name, format!("http://{nobody}"));
    }
    assert_eq!(program.run().stdout, "direct\n");
}

#[test]
fn progress_is_shown_on_a_terminal_and_is_gone_at_the_end() {
    let daemon = Daemon::default_settings();
    let program = Program::new(&[]).set("TERM", "xterm");
    let path = program.file("a.sh", "sleep 2.5; echo done");
    let binary = daemon::binary();
    let url = format!("http://{}", daemon.address());
    let line = format!("'{}' exec --url {url} '{path}'", binary.display());
    let ended =
        program.arguments(&["-q", "-e", "-c", &line, "/dev/null"]).started_as("/usr/bin/script").run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // On a busy machine a second may pass without a word.
    let told = |second: u32| ended.stdout.contains(&format!("running {second} s, cpu 0."));
    assert!((1..10).any(told) && ended.stdout.contains(" MiB"), "{ended:?}");
    assert!(ended.stdout.ends_with("\r\x1b[Kdone\r\n"), "{ended:?}");
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

fn event(name: &str, id: &str, data: &Value) -> String {
    format!("event: {name}\nid: {id}\ndata: {data}\n\n")
}

fn output(offset: u64, text: &str) -> Value {
    json!({"offset": offset, "text": text, "missed_bytes": 0})
}

/// Says whatever the test wants.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `answer` gets the request line.
    fn start(answer: impl Fn(&str, TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (heard, answer) = (Arc::clone(&requests), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (heard, answer) = (Arc::clone(&heard), Arc::clone(&answer));
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    let (mut head, mut length) = (String::new(), 0);
                    while !head.ends_with("\r\n\r\n") {
                        let from = head.len();
                        if reader.read_line(&mut head).unwrap() == 0 {
                            return;
                        }
                        let line = head[from..].to_ascii_lowercase();
                        if let Some(value) = line.strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                    }
                    reader.read_exact(&mut vec![0; length]).unwrap();
                    let line = head.lines().next().unwrap().to_owned();
                    heard.lock().unwrap().push(head);
                    answer(&line, stream);
                });
            }
        });
        Self { address, requests }
    }

    /// The heads of all requests so far.
    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn against(server: &Server) -> Ended {
    program(server.address, "a.sh", "true", &[]).run()
}

#[test]
fn a_server_that_never_ends_a_line_is_left() {
    let server = Server::start(|_request, mut stream| {
        stream.write_all(EVENTS.as_bytes()).unwrap();
        let piece = vec![b'x'; 1 << 20];
        while stream.write_all(&piece).is_ok() {}
    });
    let ended = against(&server);
    assert_eq!((ended.code, &*ended.stdout), (Some(125), ""));
    assert!(ended.stderr.contains("an event is longer than 268435456 bytes"), "{}", ended.stderr);
}

#[test]
fn a_server_that_says_what_makes_no_sense_is_125_with_a_sentence() {
    let answer = |head: &'static str, body: String| {
        let server = Server::start(move |_request, mut stream| {
            stream.write_all(head.as_bytes()).ok();
            stream.write_all(body.as_bytes()).ok();
        });
        let ended = against(&server);
        assert_eq!(ended.code, Some(125), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(!ended.stderr.trim_end().contains(char::is_control), "{:?}", ended.stderr);
        (ended.stderr, server.requests().len())
    };
    let (said, _) = answer(EVENTS, event("finished", "finished", &json!({"execution_id": 7})));
    assert!(said.contains("makes no sense"), "{said}");
    let (said, _) = answer(EVENTS, event("stdout", "1-1-0", &json!("text")));
    assert!(said.contains("makes no sense"), "{said}");
    let (said, _) = answer(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n",
        "<html>".to_owned(),
    );
    assert!(said.contains("text/html"), "{said}");
    let (said, _) =
        answer("HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\n\r\n", "\x1b[2J<html>".repeat(100_000));
    assert!(said.contains("502") && said.contains("is that a sandbox-executor?"), "{said}");
    let moved = "HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:1/execute\r\ncontent-length: 0\r\n\r\n";
    let (said, requests) = answer(moved, String::new());
    assert!(said.contains("redirects are not followed") && requests == 1, "{said}");
    let body = json!({"error_code": "X\n\u{1b}[2J", "description": "d", "error_detail": "\u{1b}]0;title\u{7}".repeat(1000),
        "solution": "s", "request_id": "r"});
    let (said, _) = answer("HTTP/1.1 503 No\r\nconnection: close\r\n\r\n", body.to_string());
    assert!(said.contains("request_id r") && said.len() < 2_000, "{said}");
}

#[test]
fn what_was_missed_is_said_on_stderr() {
    let server = Server::start(|request, mut stream| {
        if request.starts_with("POST ") {
            stream.write_all(EVENTS.as_bytes()).unwrap();
            let gap = json!({"offset": 1_000_000, "text": "tail\n", "missed_bytes": 1_000_000});
            stream.write_all(event("stdout", "1-1000005-0", &gap).as_bytes()).unwrap();
        } else {
            let refused = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(refused.as_bytes()).unwrap();
        }
    });
    let ended = against(&server);
    assert_eq!((ended.code, &*ended.stdout), (Some(125), "tail\n"), "{}", ended.stderr);
    assert!(ended.stderr.contains("1000000 bytes of stdout were missed"), "{}", ended.stderr);
    let resumed =
        server.requests().into_iter().find(|head| head.starts_with("GET /executions/exec_")).unwrap();
    assert!(resumed.to_ascii_lowercase().contains("last-event-id: 1-1000005-0"), "{resumed}");
}

/// A server whose run has left these artifacts, and which gives `content` for every one of them.
fn giving(artifacts: Vec<Value>, content: &'static [u8]) -> Server {
    let daemon = Daemon::default_settings();
    let mut result = daemon.run("shell", "true");
    result["artifacts"] = Value::Array(artifacts);
    Server::start(move |request, mut stream| {
        if request.starts_with("POST ") {
            stream.write_all(EVENTS.as_bytes()).unwrap();
            stream.write_all(event("finished", "finished", &result).as_bytes()).unwrap();
        } else {
            let length = content.len();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")
                .unwrap();
            // It hangs up on what is too long.
            stream.write_all(content).ok();
        }
    })
}

fn artifact(path: &str, size: usize, sha256: Option<&str>) -> Value {
    json!({"path": path, "size": size, "mime_type": "text/plain", "type": "artifact", "change": "created",
        "sha256": sha256, "created_at": "2026-01-01T00:00:00Z"})
}

/// sha256 of "hello".
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// Saves into a directory with a file `mine`, a link `file` to a file and a link `link` to a directory that hold `theirs`.
fn saving(
    server: &Server,
    more: &[&str],
) -> (Ended, impl Fn(&str) -> Option<String> + use<>, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("dir");
    fs::create_dir_all(home.path().join("outside")).unwrap();
    fs::create_dir(&dir).unwrap();
    fs::write(home.path().join("outside/there"), "theirs").unwrap();
    fs::write(dir.join("mine"), "mine").unwrap();
    std::os::unix::fs::symlink(home.path().join("outside/there"), dir.join("file")).unwrap();
    std::os::unix::fs::symlink(home.path().join("outside"), dir.join("link")).unwrap();
    let flags = [&["--artifacts", dir.to_str().unwrap()], more].concat();
    let ended = program(server.address, "a.sh", "true", &flags).run();
    assert_eq!(fs::read(home.path().join("outside/there")).unwrap(), b"theirs");
    assert_eq!(fs::read_dir(home.path().join("outside")).unwrap().count(), 1);
    let unfinished = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut unfinished = unfinished.filter(|name| name.to_string_lossy().starts_with(".sandbox-executor"));
    assert_eq!(unfinished.next(), None);
    (ended, move |name| fs::read_to_string(dir.join(name)).ok(), home)
}

#[test]
fn an_artifact_is_saved_whole_and_checked_or_not_at_all() {
    let paths = ["a.txt", "deep/er/b \u{e9}?#%2e.txt", "no_sum"];
    let sums = [Some(HELLO), Some(HELLO), None];
    let artifacts = paths.iter().zip(sums).map(|(path, sum)| artifact(path, 5, sum)).collect();
    let server = giving(artifacts, b"hello");
    let (ended, content, _home) = saving(&server, &[]);
    assert_eq!((ended.code, &*ended.stdout), (Some(0), ""), "{}", ended.stderr);
    for path in paths {
        assert_eq!(content(path).as_deref(), Some("hello"), "{path}");
    }
    assert_eq!(ended.stderr.matches("sandbox-executor: saved ").count(), 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("a.txt\", 5 bytes"), "{}", ended.stderr);
    let requests = server.requests();
    assert!(
        requests.iter().any(|head| head.contains("/artifacts/deep/er/b%20%C3%A9%3F%23%252e.txt HTTP")),
        "{requests:?}"
    );

    let other = HELLO.replace('2', "3");
    for (size, sum, why) in [(5, other.as_str(), "sha256"), (4, HELLO, "longer"), (6, HELLO, "shorter")] {
        let (ended, content, _home) = saving(&giving(vec![artifact("a", size, Some(sum))], b"hello"), &[]);
        assert_eq!((ended.code, content("a")), (Some(125), None), "{why}: {}", ended.stderr);
        assert!(ended.stderr.contains(why), "{why}: {}", ended.stderr);
    }
}

#[test]
fn a_malicious_server_cannot_write_outside_the_directory() {
    let paths = [
        "../x",
        "/tmp/x",
        "a/../../x",
        "..",
        ".",
        "",
        "a//b",
        "./a",
        "a/",
        "a\0b",
        "link/new",
        "link/there",
        "\x1b[2J/../x",
    ];
    let server = giving(paths.iter().map(|path| artifact(path, 5, Some(HELLO))).collect(), b"hello");
    for more in [&[][..], &["--force"]] {
        let (ended, content, home) = saving(&server, more);
        assert_eq!(ended.code, Some(125), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), paths.len(), "{}", ended.stderr);
        assert!(!ended.stderr.contains("saved") && !ended.stderr.contains('\x1b'), "{}", ended.stderr);
        assert!(!home.path().join("x").exists() && content("a").is_none());
    }
}

#[test]
fn what_is_there_is_kept_without_force_and_replaced_with_it_but_never_written_through() {
    let server = giving(["mine", "file"].map(|path| artifact(path, 5, Some(HELLO))).to_vec(), b"hello");
    let (kept, content, _home) = saving(&server, &[]);
    assert_eq!((kept.code, content("mine").as_deref()), (Some(125), Some("mine")), "{}", kept.stderr);
    assert_eq!(kept.stderr.matches("exists already; --force replaces it").count(), 2, "{}", kept.stderr);
    let (replaced, content, _home) = saving(&server, &["--force"]);
    assert_eq!(replaced.code, Some(0), "{}", replaced.stderr);
    assert_eq!((content("mine").as_deref(), content("file").as_deref()), (Some("hello"), Some("hello")));
}
