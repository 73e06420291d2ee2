//! All files of a finished execution in one archive.

use std::io::{Cursor, Read};

use conformance::{Answer, Daemon};

use crate::support::{
    PATTERN, address, archive_address, fresh, in_container, listed, must_be_gone, must_be_missing, pattern,
};

/// Path and content of every entry, in order.
fn unpacked(answer: &Answer) -> Vec<(Vec<u8>, Vec<u8>)> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let tar = zstd::stream::decode_all(Cursor::new(&answer.body)).unwrap();
    let mut archive = tar::Archive::new(Cursor::new(tar));
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().entry_type(), tar::EntryType::Regular);
            assert_eq!((entry.header().mode().unwrap(), entry.header().mtime().unwrap()), (0o644, 0));
            assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap()), (0, 0));
            let path = entry.path_bytes().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (path, content)
        })
        .collect()
}

fn names(answer: &Answer) -> Vec<String> {
    unpacked(answer).into_iter().map(|(path, _)| String::from_utf8_lossy(&path).into_owned()).collect()
}

const FILES: &str = "import os\n\
    os.makedirs('out/' + 'd' * 200)\n\
    open('z.txt', 'w').write('z' * 10)\n\
    open('out/' + 'd' * 200 + '/' + 'f' * 200, 'w').write('long')\n\
    open('größe \"1\".txt', 'w').write('ß')\n\
    open('none', 'w')\n\
    open('large.bin', 'wb').write(pattern(1000000) * 10)\n";

#[test]
fn an_archive_holds_every_listed_file_with_its_content() {
    let daemon = Daemon::default_settings();
    let result = fresh(&daemon, &format!("{PATTERN}{FILES}"));
    let answer = daemon.get(&archive_address(&result));
    let id = result["execution_id"].as_str().unwrap();
    let tag = answer.header("etag").unwrap();
    assert!(tag.len() == 66 && tag.starts_with('"'));
    for (name, value) in [
        ("content-type", "application/zstd"),
        (
            "content-disposition",
            &format!("attachment; filename=\"{id}.tar.zst\"; filename*=UTF-8''{id}.tar.zst"),
        ),
        ("accept-ranges", "none"),
        ("cache-control", "private, no-cache"),
        ("x-content-type-options", "nosniff"),
        ("x-artifacts-truncated", "false"),
        ("x-artifacts-omitted", "0"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let unpacked = unpacked(&answer);
    assert_eq!(names(&answer), listed(&result));
    for (path, content) in &unpacked {
        let path = std::str::from_utf8(path).unwrap();
        assert!(daemon.get(&address(&result, path)).body == *content, "{path}");
    }
    assert!(unpacked.iter().any(|(_, content)| *content == pattern(1_000_000).repeat(10)));
}

#[test]
fn the_same_files_make_the_same_archive_and_the_same_tag() {
    let daemon = Daemon::default_settings();
    let ask = |code: &str| daemon.get(&archive_address(&fresh(&daemon, code)));
    let first = fresh(&daemon, &format!("{PATTERN}{FILES}"));
    let one = daemon.get(&archive_address(&first));
    let again = daemon.get(&archive_address(&first));
    // Another time, another order, another mode.
    let other = ask(&format!("{PATTERN}{FILES}os.chmod('z.txt', 0o700); os.utime('none', (1, 1))"));
    for same in [&again, &other] {
        assert!(same.body == one.body && same.header("etag") == one.header("etag"));
    }
    let different = ask(&format!("{PATTERN}{FILES}os.rename('z.txt', 'y.txt')"));
    assert!(different.body != one.body && different.header("etag") != one.header("etag"));

    let address = archive_address(&first);
    let tag = one.header("etag").unwrap();
    let known = daemon.request("GET", &address, &[("if-none-match", tag)], vec![]);
    assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, Some(tag)));
    let head = daemon.request("HEAD", &address, &[], vec![]);
    assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, Some(tag)));
    assert_eq!(head.header("content-length"), None);
    // What cannot be had in parts is given whole.
    assert_eq!(daemon.request("GET", &address, &[("range", "bytes=0-1")], vec![]).status, 200);
}

#[test]
fn an_archive_is_not_made_of_files_that_have_changed() {
    let daemon = Daemon::default_settings();
    let result = in_container(&daemon, "open('a', 'w').write('1'); open('b', 'w').write('2')");
    let address = archive_address(&result);
    assert_eq!(names(&daemon.get(&address)), ["a", "b"]);
    // Another file more is not this execution's.
    in_container(&daemon, "open('c', 'w').write('3')");
    assert_eq!(names(&daemon.get(&address)), ["a", "b"]);
    in_container(&daemon, "open('b', 'w').write('x')");
    must_be_gone(&daemon.get(&address));
    assert_eq!(daemon.request("HEAD", &address, &[], vec![]).status, 410);
}

#[test]
fn what_an_archive_does_not_hold_is_said() {
    let daemon = Daemon::default_settings();
    let many = fresh(&daemon, "for i in range(1001): open(f'{i:04}', 'w').write(str(i))");
    let answer = daemon.get(&archive_address(&many));
    assert_eq!((names(&answer).len(), answer.header("x-artifacts-truncated")), (1000, Some("true")));

    let closed = fresh(&daemon, "import os\nopen('a', 'w')\nopen('b', 'w')\nos.chmod('b', 0)");
    assert_eq!(listed(&closed), ["a", "b"]);
    let answer = daemon.get(&archive_address(&closed));
    assert_eq!((names(&answer), answer.header("x-artifacts-omitted")), (vec!["a".to_owned()], Some("1")));
    must_be_gone(&daemon.get(&address(&closed, "b")));

    let nothing = fresh(&daemon, "pass");
    assert!(names(&daemon.get(&archive_address(&nothing))).is_empty());
}

#[test]
fn a_name_that_is_not_utf_8_is_itself_in_the_archive() {
    let daemon = Daemon::default_settings();
    let result = fresh(&daemon, "open(b'a\\xff', 'w').write('x')");
    assert_eq!(unpacked(&daemon.get(&archive_address(&result))), [(b"a\xff".to_vec(), b"x".to_vec())]);
}

#[test]
fn an_unknown_execution_has_no_archive() {
    let daemon = Daemon::default_settings();
    must_be_missing(&daemon.get("/executions/exec_nobody/artifacts.tar.zst"));
}
