//! One file of a finished execution: its bytes, its headers, parts of it, and every address that is none.

use std::io::Read;

use conformance::{Daemon, Settings};
use serde_json::json;

use crate::support::{
    PATTERN, address, archive_address, ask, entry, fresh, in_container, listed, must_be_missing, pattern,
};

#[test]
fn every_language_leaves_files_that_can_be_had_with_all_headers() {
    let daemon = Daemon::default_settings();
    for (language, code) in [
        ("python", "import os\nos.makedirs('out/a')\nopen('out/a/r.csv', 'w').write('1,2\\n')\n"),
        (
            "javascript",
            "fs = require('fs'); fs.mkdirSync('out/a', {recursive: true}); fs.writeFileSync('out/a/r.csv', '1,2\\n')",
        ),
        ("shell", "mkdir -p out/a; echo 1,2 > out/a/r.csv"),
    ] {
        let request = json!({"language": language, "mode": "script", "code": code, "workspace": "fresh"});
        let result = daemon.execute(&request).result();
        let answer = daemon.get(&address(&result, "out/a/r.csv"));
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"1,2\n".as_slice()), "{language}");
        let sha256 = entry(&result, "out/a/r.csv")["sha256"].as_str().unwrap();
        for (name, value) in [
            ("content-type", "text/csv"),
            ("content-length", "4"),
            ("etag", &format!("\"{sha256}\"")),
            ("accept-ranges", "bytes"),
            ("content-disposition", "attachment; filename=\"r.csv\"; filename*=UTF-8''r.csv"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "default-src 'none'; sandbox"),
            ("cache-control", "private, no-cache"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{language}: {name}");
        }
        assert_eq!(answer.header("content-range"), None);
        let again =
            daemon.request("GET", &address(&result, "out/a/r.csv"), &[("x-request-id", "mine")], vec![]);
        assert_eq!(again.header("x-request-id"), Some("mine"));
    }
}

#[test]
fn a_large_file_is_hashed_after_the_answer_and_a_lookup_has_it() {
    let daemon = Daemon::default_settings();
    let code = "head -c 20000000 /dev/zero | tr '\\0' x > large; echo > small; sha256sum < large";
    let result = daemon.execute(&json!({"language": "shell", "code": code, "workspace": "fresh"})).result();
    assert_eq!(entry(&result, "large")["sha256"], json!(null), "{result:#}");
    assert!(entry(&result, "small")["sha256"].is_string(), "{result:#}");
    let expected = result["stdout"].as_str().unwrap().split(' ').next().unwrap();
    let id = result["execution_id"].as_str().unwrap();
    daemon.eventually("a lookup has it", |daemon| {
        let found = daemon.get(&format!("/executions/{id}")).json();
        let sha256 = entry(&found["result"], "large")["sha256"].clone();
        assert!(sha256.is_null() || sha256 == expected, "{sha256}");
        sha256.is_string()
    });
}

/// The next of a sequence that only looks random, below `limit`.
fn random(state: &mut u64, limit: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % limit
}

#[test]
fn a_range_is_that_part_of_the_file_whatever_its_size() {
    let daemon = Daemon::default_settings();
    // One that is sent from memory and one that is not.
    for size in [300_000_usize, 9 << 20] {
        let small = pattern(300_000);
        let content: Vec<u8> = small.iter().copied().cycle().take(size).collect();
        let code = format!("{PATTERN}open('a.bin', 'wb').write((pattern(300000) * 40)[:{size}])");
        let address = address(&fresh(&daemon, &code), "a.bin");
        let whole = daemon.get(&address);
        assert!(whole.status == 200 && whole.body == content);
        let (mut state, size) = (size as u64, size as u64);
        for round in 0..60 {
            let first = random(&mut state, size);
            let last = first + random(&mut state, size + 10);
            let (range, part) = match round % 3 {
                0 => (format!("bytes={first}-{last}"), first..(last + 1).min(size)),
                1 => (format!("bytes={first}-"), first..size),
                _ => (format!("bytes=-{}", first + 1), size - first - 1..size),
            };
            let answer = daemon.request("GET", &address, &[("range", &range)], vec![]);
            let of = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            assert_eq!((answer.status, answer.header("content-range")), (206, Some(of.as_str())), "{range}");
            assert_eq!(answer.header("content-length"), Some((part.end - part.start).to_string().as_str()));
            assert_eq!(answer.header("etag"), whole.header("etag"));
            assert!(answer.body == content[part.start as usize..part.end as usize], "{range} of {size}");
        }
    }
}

#[test]
fn a_range_outside_is_refused_with_the_size_and_an_odd_one_is_ignored() {
    let daemon = Daemon::default_settings();
    let result = fresh(&daemon, "open('a.txt', 'w').write('0123456789')");
    let address = address(&result, "a.txt");
    let with = |headers: &[(&str, &str)]| daemon.request("GET", &address, headers, vec![]);
    for range in ["bytes=10-", "bytes=10-20", "bytes=99999999999999999999-", "bytes=-0"] {
        let answer = with(&[("range", range)]);
        assert_eq!((answer.status, answer.header("content-range")), (416, Some("bytes */10")), "{range}");
        assert_eq!(answer.error_code(), "Executor.RangeNotSatisfiable");
    }
    for range in ["bytes=0-1,3-4", "bytes=5-3", "bytes=a-b", "lines=1-2", "", "bytes=", "bytes=-"] {
        let answer = with(&[("range", range)]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "0123456789"), "{range}");
    }
    let tag = with(&[]).header("etag").unwrap().to_owned();
    assert_eq!(with(&[("range", "bytes=2-3"), ("if-range", &tag)]).text(), "23");
    for other in ["\"other\"", &format!("W/{tag}"), "Tue, 15 Nov 1994 12:45:26 GMT"] {
        let answer = with(&[("range", "bytes=2-3"), ("if-range", other)]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "0123456789"), "{other}");
    }
}

#[test]
fn who_has_it_already_is_told_so_without_content() {
    let daemon = Daemon::default_settings();
    let result = fresh(&daemon, "open('a.txt', 'w').write('0123456789')");
    let address = address(&result, "a.txt");
    let tag = daemon.get(&address).header("etag").unwrap().to_owned();
    for (method, condition) in [
        ("GET", tag.clone()),
        ("GET", "*".to_owned()),
        ("GET", format!("W/{tag}")),
        ("GET", format!("\"a\", \"b,c\" , {tag}")),
        ("HEAD", tag.clone()),
    ] {
        // A range does not matter: there is nothing to send.
        for range in ["bytes=0-1", "bytes=99-"] {
            let answer =
                daemon.request(method, &address, &[("if-none-match", &condition), ("range", range)], vec![]);
            assert_eq!((answer.status, answer.body.len()), (304, 0), "{method} {condition}");
            assert_eq!(answer.header("etag"), Some(tag.as_str()));
            assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
        }
    }
    let answer = daemon.request("GET", &address, &[("if-none-match", "\"other\"")], vec![]);
    assert_eq!((answer.status, answer.text().as_str()), (200, "0123456789"));
}

#[test]
fn head_is_get_without_the_content() {
    let daemon = Daemon::default_settings();
    let result = fresh(
        &daemon,
        "open('small', 'w').write('x' * 1000)\nopen('large.png', 'w').write('x' * (9 << 20))\nopen('none', 'w')",
    );
    for path in ["small", "large.png", "none"] {
        let address = address(&result, path);
        let (get, head) = (daemon.get(&address), daemon.request("HEAD", &address, &[], vec![]));
        assert_eq!((head.status, head.body.len()), (200, 0));
        for name in ["content-length", "content-type", "etag", "accept-ranges", "content-disposition"] {
            assert!(get.header(name).is_some() && get.header(name) == head.header(name), "{path}: {name}");
        }
        // RFC 9110, 14.2: ranges are for GET.
        assert_eq!(daemon.request("HEAD", &address, &[("range", "bytes=0-0")], vec![]).status, 200);
    }
    let nothing = daemon.request("HEAD", &address(&result, "nothing"), &[], vec![]);
    assert_eq!((nothing.status, nothing.body.len()), (404, 0));
    let put = daemon.request("PUT", &address(&result, "small"), &[], vec![]);
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, HEAD")));
}

// AR-16
#[test]
fn no_address_leads_out_of_the_manifest() {
    let daemon = Daemon::default_settings();
    let code = "import os\n\
        os.makedirs('out/.hidden')\n\
        open('out/a', 'w').write('a'); open('out/.hidden/b', 'w').write('b'); open('.env', 'w').write('c')\n\
        os.symlink('/etc/passwd', 'link'); os.symlink('out', 'dir')\n\
        os.mkfifo('fifo')";
    let result = fresh(&daemon, code);
    assert_eq!(listed(&result), ["out/a"]);
    let id = result["execution_id"].as_str().unwrap();
    let artifacts = format!("/executions/{id}/artifacts/");
    let there = |address: &str| {
        let mut answer = String::new();
        ask(&daemon, address, "").read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(there(&format!("{artifacts}out/a")).starts_with("HTTP/1.1 200 "));
    assert!(there(&format!("{artifacts}out%2fa")).starts_with("HTTP/1.1 200 "));
    for path in [
        "../../../../../etc/passwd",
        "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "..%5c..%5cetc%5cpasswd",
        "out\\a",
        "out%5Ca",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "out/../out/a",
        "out/%2e%2e/out/a",
        "out/./a",
        "./out/a",
        "out//a",
        "/out/a",
        "out/a/",
        "out",
        "out/",
        "",
        "/",
        "%00",
        "out/a%00",
        "out/a%00.txt",
        "out%00/a",
        "%252e%252e/etc/passwd",
        "out/a%ff",
        "%ff",
        "%",
        "out/a%2",
        "%zz",
        "out/A",
        "out/a%20",
        "out/a.",
        "link",
        "dir/a",
        "fifo",
        ".env",
        "out/.hidden/b",
        "out/a;x",
        "%c0%ae%c0%ae/etc/passwd",
        "..",
        "%2e%2e",
        "~/x",
        "file:///etc/passwd",
        "%EF%BC%8E%EF%BC%8E/etc/passwd",
    ] {
        let answer = there(&format!("{artifacts}{path}"));
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
        assert!(answer.contains("Executor.NotFound") && !answer.contains("root:"), "{path}: {answer}");
    }
    let long = "x".repeat(20_000);
    assert!(there(&format!("{artifacts}{long}")).starts_with("HTTP/1.1 404 "));
    // A query is none of the path's business.
    assert!(there(&format!("{artifacts}out/a?path=../x")).starts_with("HTTP/1.1 200 "));
    for address in [
        format!("/executions/{id}/artifacts"),
        "/executions//artifacts/out/a".to_owned(),
        format!("/executions/{id}x/artifacts/out/a"),
        format!("/executions/../executions/{id}/artifacts/out/a"),
        "/executions/%ff/artifacts/out/a".to_owned(),
        format!("/executions/{long}/artifacts/out/a"),
        "/executions/%ff/artifacts.tar.zst".to_owned(),
        "/executions/exec_nobody/artifacts.tar.zst".to_owned(),
    ] {
        assert!(there(&address).starts_with("HTTP/1.1 404 "), "{address}");
    }
}

#[test]
fn an_execution_that_is_not_over_has_no_artifacts_yet_and_says_so() {
    let daemon = Daemon::default_settings();
    let id = "exec_slow";
    let code = "open('a', 'w').write('a')\nimport os, time\nwhile not os.path.exists('go'): time.sleep(0.01)";
    let request = json!({"language": "python", "mode": "script", "code": code, "execution_id": id});
    let early = std::thread::scope(|scope| {
        let running = scope.spawn(|| daemon.execute(&request).result());
        daemon.eventually("running", |daemon| daemon.workspace().join("a").exists());
        let early = [format!("/executions/{id}/artifacts/a"), format!("/executions/{id}/artifacts.tar.zst")]
            .map(|address| daemon.get(&address));
        std::fs::write(daemon.workspace().join("go"), "").unwrap();
        assert_eq!(running.join().unwrap()["status"], "success");
        early
    });
    for answer in early {
        must_be_missing(&answer);
        assert!(answer.json()["error_detail"].as_str().unwrap().contains("not over"), "{}", answer.text());
    }
    assert_eq!(daemon.get(&format!("/executions/{id}/artifacts/a")).text(), "a");
}

// AR-09
#[test]
fn a_file_of_any_name_can_be_had_and_its_name_breaks_no_header() {
    let daemon = Daemon::default_settings();
    let long = "ü".repeat(127) + "x";
    let names = [
        "a\"; filename=\"b.exe",
        "line\nbreak\r\nX-Evil: 1",
        "semi;colon",
        "back\\slash",
        "per%cent%41",
        " lead",
        "trail ",
        "-rf",
        "tab\tescape\u{1b}[0m",
        "größe.txt",
        "日本.png",
        "🙂",
        "\u{202e}gpj.exe",
        "a..b",
        "?query#fragment",
        "a+b&c=d",
        "'single'",
        "*",
        "\u{7f}\u{85}",
        &long,
    ];
    // JSON's literals are Python's.
    let literal = json!(json!(names).to_string()).to_string();
    let code = format!(
        "import json, os\n\
         os.mkdir('o')\n\
         for name in json.loads({literal}): open('o/' + name, 'w').write('<' + name + '>')"
    );
    let result = fresh(&daemon, &code);
    assert_eq!(listed(&result).len(), names.len());
    for name in names {
        let answer = daemon.get(&address(&result, &format!("o/{name}")));
        assert_eq!((answer.status, answer.text()), (200, format!("<{name}>")), "{name:?}");
        assert_eq!(answer.header("x-evil"), None);
        let disposition = answer.header("content-disposition").unwrap();
        let rest = disposition.strip_prefix("attachment; filename=\"").unwrap();
        let (plain, exact) = rest.split_once("\"; filename*=UTF-8''").unwrap();
        assert!(
            plain.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !b"\"\\;/%".contains(&byte)),
            "{plain}"
        );
        assert!(exact.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\;/".contains(&byte)), "{exact}");
    }
    let log = daemon.log();
    assert!(!log.contains("X-Evil"), "a name is in the log");
}

// AR-10
#[test]
fn a_file_whose_name_is_not_utf_8_cannot_be_asked_for() {
    let daemon = Daemon::default_settings();
    let result = fresh(&daemon, "open(b'a\\xff.bin', 'w').write('secret')");
    assert_eq!(listed(&result), ["a\u{fffd}.bin"]);
    must_be_missing(&daemon.get(&address(&result, "a\u{fffd}.bin")));
    let id = result["execution_id"].as_str().unwrap();
    must_be_missing(&daemon.get(&format!("/executions/{id}/artifacts/a%ff.bin")));
}

#[test]
fn an_empty_file_is_an_empty_answer() {
    let daemon = Daemon::default_settings();
    let result = fresh(&daemon, "open('none.txt', 'w')");
    let address = address(&result, "none.txt");
    let answer = daemon.get(&address);
    assert_eq!((answer.status, answer.body.len(), answer.header("content-length")), (200, 0, Some("0")));
    let with = |range| daemon.request("GET", &address, &[("range", range)], vec![]);
    assert_eq!((with("bytes=0-").status, with("bytes=0-").header("content-range")), (416, Some("bytes */0")));
    assert_eq!(with("bytes=-5").status, 200);
}

#[test]
fn a_part_of_a_huge_hole_is_zeros() {
    let daemon = Daemon::default_settings();
    let result =
        fresh(&daemon, "f = open('hole', 'wb'); f.truncate(100 << 20); f.seek(50 << 20); f.write(b'middle')");
    let address = address(&result, "hole");
    assert_eq!(daemon.request("HEAD", &address, &[], vec![]).header("content-length"), Some("104857600"));
    let range = format!("bytes={}-{}", (50 << 20) - 2, (50 << 20) + 7);
    let answer = daemon.request("GET", &address, &[("range", &range)], vec![]);
    assert_eq!((answer.status, answer.body.as_slice()), (206, b"\0\0middle\0\0".as_slice()));
    let last = daemon.request("GET", &address, &[("range", "bytes=-3")], vec![]);
    assert_eq!((last.status, last.body.as_slice()), (206, b"\0\0\0".as_slice()));
}

#[test]
fn artifacts_want_the_token_like_everything_else() {
    let daemon = Settings::new().with_api_token("token-of-this-test").start();
    let result = in_container(&daemon, "open('a', 'w').write('secret')");
    let (file, archive) = (address(&result, "a"), archive_address(&result));
    for address in [&file, &archive] {
        assert_eq!(daemon.get(address).status, 200);
        let stranger = daemon.request("GET", address, &[], vec![]);
        assert_eq!((stranger.status, stranger.text().contains("secret")), (401, false));
    }
}
