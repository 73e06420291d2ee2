//! Files that are not what the manifest says any more are not sent, and readers who are slow hold nobody up.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use conformance::{Daemon, Settings};

use crate::support::{address, archive_address, ask, fresh, in_container, must_be_gone};

#[test]
fn whatever_a_later_run_did_to_a_file_its_new_content_is_not_given_for_the_old() {
    let daemon = Daemon::default_settings();
    for deed in [
        "os.remove('out/f'); os.symlink('/etc/passwd', 'out/f')",
        "os.rename('out/f', 'out/g'); os.symlink('g', 'out/f')",
        "os.rename('out', 'moved'); os.symlink('moved', 'out')",
        "os.rename('out', 'moved'); os.symlink('/etc', 'out')",
        "os.remove('out/f'); os.mkfifo('out/f')",
        "os.remove('out/f'); os.mkdir('out/f')",
        "os.remove('out/f')",
        "open('out/f', 'w').write('LATER')",
        "open('out/f', 'a').write('!')",
        "os.truncate('out/f', 0)",
        "kept = os.stat('out/f'); open('out/f', 'w').write('LATER'); os.utime('out/f', ns=(0, kept.st_mtime_ns))",
        "os.chmod('out/f', 0)",
        "os.chmod('out', 0)",
    ] {
        let clear = "import os, shutil\nfor name in os.listdir('.'):\n    if os.path.islink(name) or not os.path.isdir(name): os.remove(name)\n    else: os.chmod(name, 0o700); shutil.rmtree(name)\n";
        let result =
            in_container(&daemon, &format!("{clear}os.mkdir('out'); open('out/f', 'w').write('FIRST')"));
        let (file, archive) = (address(&result, "out/f"), archive_address(&result));
        let tag = daemon.get(&file).header("etag").unwrap().to_owned();
        assert_eq!(daemon.get(&archive).status, 200);
        in_container(&daemon, &format!("import os\n{deed}"));
        for headers in [
            vec![],
            vec![("if-none-match", tag.as_str())],
            vec![("range", "bytes=0-1")],
            vec![("range", "bytes=9-")],
        ] {
            for address in [&file, &archive] {
                let answer = daemon.request("GET", address, &headers, vec![]);
                must_be_gone(&answer);
                let text = answer.text();
                assert!(
                    !text.contains("root:") && !text.contains("LATER") && !text.contains("FIRST"),
                    "{deed}: {text}"
                );
            }
        }
        assert_eq!(daemon.request("HEAD", &file, &[], vec![]).status, 410, "{deed}");
    }
    // Each answer was the caller's business, not the operator's.
    assert!(daemon.events("download_failed").is_empty());
}

#[test]
fn a_file_that_was_written_again_with_the_same_content_is_still_the_same() {
    let daemon = Daemon::default_settings();
    let result = in_container(&daemon, "open('f', 'w').write('same')");
    in_container(&daemon, "import os; os.remove('f'); open('f', 'w').write('same'); os.chmod('f', 0o777)");
    assert_eq!(daemon.get(&address(&result, "f")).text(), "same");
}

#[test]
fn artifacts_of_a_fresh_workspace_are_gone_after_the_retention() {
    for retention in [0, 1] {
        let daemon = Settings::new().set("ARTIFACT_RETENTION_SECONDS", retention).start();
        let result = fresh(&daemon, "open('a', 'w').write('a')");
        let (file, archive) = (address(&result, "a"), archive_address(&result));
        daemon.eventually("removed", |daemon| daemon.get(&file).status == 410);
        must_be_gone(&daemon.get(&file));
        must_be_gone(&daemon.get(&archive));
    }
}

#[test]
fn artifacts_of_a_session_stay_as_long_as_nobody_changes_them() {
    let daemon = Settings::new().set("ARTIFACT_RETENTION_SECONDS", 0).start();
    let request = serde_json::json!({"language": "shell", "code": "echo one > a", "session_id": "s"});
    let first = daemon.execute(&request).result();
    let request = serde_json::json!({"language": "shell", "code": "echo two > b", "session_id": "s"});
    let second = daemon.execute(&request).result();
    assert_eq!(daemon.get(&address(&first, "a")).text(), "one\n");
    assert_eq!(daemon.get(&address(&second, "a")).text(), "one\n");
    assert_eq!(daemon.get(&address(&second, "b")).text(), "two\n");
    assert_eq!(daemon.get(&address(&first, "b")).status, 404);
}

/// A large file in the container's workspace, so that the test can change it, and no socket buffer holds it.
const LARGE: usize = 64 << 20;

/// Together they ask for far more than the daemon may hold. Before it sends the first byte it hashes the file, for each.
const READERS: u64 = 12;

fn large(daemon: &Daemon) -> String {
    let result = in_container(
        daemon,
        &format!("import os\nopen('large', 'wb').write(os.urandom(1 << 20) * ({LARGE} >> 20))"),
    );
    address(&result, "large")
}

/// Reads the head of the answer, and gives it back.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

// AR-14
#[test]
fn a_file_that_changes_while_it_is_sent_is_never_sent_to_its_end() {
    let daemon = Daemon::default_settings();
    for (range, length) in [("", LARGE), ("range: bytes=1048576-\r\n", LARGE - (1 << 20))] {
        let address = large(&daemon);
        let mut stream = ask(&daemon, &address, range);
        assert!(head(&mut stream).contains(&format!("content-length: {length}\r\n")));
        let mut file = fs::OpenOptions::new().write(true).open(daemon.workspace().join("large")).unwrap();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(LARGE as u64 - 10)).unwrap();
        file.write_all(b"CHANGED").unwrap();
        let mut rest = Vec::new();
        // Closed or reset, either is an end that no client takes for the file's.
        stream.read_to_end(&mut rest).ok();
        assert!(rest.len() < length, "all of it was sent");
        assert!(!rest.windows(7).any(|window| window == b"CHANGED"));
    }
    daemon.eventually("logged", |daemon| daemon.events("download_broken_off").len() == 2);
}

#[test]
fn readers_who_do_not_read_hold_neither_threads_nor_memory_nor_runs() {
    let daemon = Daemon::default_settings();
    let address = large(&daemon);
    let resident = || status(&daemon, "VmRSS:");
    let (before, threads_before) = (resident(), status(&daemon, "Threads:"));
    let mut idle: Vec<TcpStream> = (0..READERS).map(|_| ask(&daemon, &address, "")).collect();
    for stream in &mut idle {
        assert!(head(stream).starts_with("HTTP/1.1 200 "));
    }
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(daemon.run("shell", "echo on")["stdout"], "on\n");
    // Threads that hashed stay for ten seconds, in case there is more to do.
    daemon.eventually("no reader holds a thread", |daemon| {
        status(daemon, "Threads:") < threads_before + READERS / 2
    });
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB for {READERS} readers of {LARGE} bytes");
    // Each gets it all, once it reads.
    let mut rest = Vec::new();
    idle.pop().unwrap().read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), LARGE);
}

/// A number of `/proc/<pid>/status`.
fn status(daemon: &Daemon, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
