//! FS: what of the host's files, devices and processes can be seen and changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use conformance::daemon::binary;
use conformance::{Daemon, Settings, can, each_start, is_root};
use serde_json::{Value, json};

use crate::support::{
    Planted, assert_all_allowed, assert_all_refused, canary, errno, inside, numbers, outside,
    outside_through, probe,
};

/// Where a host keeps what is none of a program's business.
const SECRET_PLACES: [&str; 11] = [
    "/root",
    "/home",
    "/app",
    "/run",
    "/run/secrets",
    "/var/run/secrets",
    "/var/lib",
    "/opt",
    "/srv",
    "/mnt",
    "/sys/fs/cgroup",
];

// FS-01
#[test]
fn secret_places_are_absent_in_every_language() {
    let secret = canary("FILE");
    each_start(|daemon, _| {
        let sessions = daemon.home().join("sessions/other");
        fs::create_dir(&sessions).unwrap();
        let ours = [daemon.workspace(), daemon.home().join("results"), sessions];
        // `/var/run` is `/run` under another name.
        let hosts = SECRET_PLACES.iter().filter(|place| !place.starts_with("/var/run"));
        let places = hosts.map(PathBuf::from).chain(ours);
        let planted: Vec<_> = places.filter_map(|place| Planted::new(&place, &secret)).collect();
        assert!(planted.len() >= 3, "hardly anything could be planted");
        let mut files: Vec<_> = planted
            .iter()
            .flat_map(|planted| {
                let path = planted.path.display();
                // The process that a container starts first may have the host's root.
                [path.to_string(), format!("/proc/1/root{path}")]
            })
            .collect();
        files.extend(["/etc/shadow".to_owned(), binary().display().to_string()]);
        let mut directories: Vec<String> = SECRET_PLACES.map(str::to_owned).into();
        directories.push(daemon.home().display().to_string());
        let asked = json!({ "files": files, "directories": directories, "canary": secret });

        for probe in [probe!("secrets.py"), probe!("secrets.js"), probe!("secrets.sh")] {
            let seen = inside(daemon, probe, &asked);
            assert_all_refused(&seen["files"]);
            assert_all_refused(&seen["directories"]);

            let control = outside(probe, &asked);
            for planted in &planted {
                let path = planted.path.to_str().unwrap();
                assert_eq!(control["files"][path]["canary"], true, "{path}: {control:#}");
            }
            assert_eq!(errno(&control["directories"]["/run"]), None, "{control:#}");
        }
    });
}

// FS-03
#[test]
fn the_environment_is_the_documented_one_and_nothing_else_in_every_language() {
    let secret = canary("ENVIRONMENT");
    let token = canary("API_TOKEN");
    let settings = || Settings::new().with_api_token(&token).set("CANARY", &secret);
    let daemons = [
        Some(settings().start()),
        can(is_root(), "the fallback with a shared /proc takes root")
            .then(|| settings().behind_masked_proc().start()),
    ];
    let documented = |language: &str| {
        let mut expected = BTreeMap::from([
            ("HOME", "/tmp"),
            ("LANG", "C.UTF-8"),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("PWD", "/workspace"),
            ("TMPDIR", "/tmp"),
            ("USER", "sandbox"),
            ("GIVEN", "by the caller"),
        ]);
        match language {
            "javascript" => expected.extend([(
                "NODE_PATH",
                "/usr/local/lib/node_modules:/usr/lib/node_modules:/usr/share/nodejs:/usr/lib/nodejs",
            )]),
            "shell" => expected.extend([("SANDBOX_EVENT_FILE", "/code/event.json")]),
            _ => {}
        }
        json!(expected)
    };
    for daemon in daemons.iter().flatten() {
        for probe in [probe!("environment.py"), probe!("environment.js"), probe!("environment.sh")] {
            let mut request = probe.request(&Value::Null);
            request["env_vars"] = json!({ "GIVEN": "by the caller" });
            let result = daemon.execute(&request).result();
            let mut seen = crate::support::answer(&result);
            if probe.language == "shell" {
                // bash's own.
                for name in ["SHLVL", "_", "OLDPWD"] {
                    seen["environment"].as_object_mut().unwrap().remove(name);
                }
            }
            assert_eq!(seen["environment"], documented(probe.language));
            assert!(!result.to_string().contains("CANARY"), "{result:#}");
        }
    }
    // A child that inherits what its parent has would show it.
    let control = outside_through(
        &["/usr/bin/env", &format!("CANARY={secret}")],
        probe!("environment.py"),
        &Value::Null,
    );
    assert_eq!(control["environment"]["CANARY"], json!(secret));
}

// FS-05
#[test]
fn no_process_but_its_own_can_be_looked_into() {
    each_start(|daemon, proc| {
        let asked = json!({ "pids": [daemon.pid(), std::process::id()] });
        let seen = inside(daemon, probe!("processes.py"), &asked);
        for (pid, process) in seen["listed"].as_object().unwrap() {
            if process["own"] == true || process.get("gone").is_some() {
                continue;
            }
            for file in ["mem", "maps", "environ", "fd", "cwd", "root", "exe"] {
                let answer = process[file].as_str().unwrap();
                assert!(
                    ["EACCES", "EPERM", "ENOENT", "ESRCH", "empty"].contains(&answer),
                    "{pid} {file}: {process:#}"
                );
            }
        }
        if proc == "private" {
            let listed: Vec<_> = seen["listed"].as_object().unwrap().keys().collect();
            assert_eq!(listed.len(), numbers(&seen).len(), "{seen:#}");
        }
    });
    let mut child = crate::support::command(Path::new("/usr/bin/sleep")).arg("60").spawn().unwrap();
    let control = outside(probe!("processes.py"), &json!({ "pids": [child.id()] }));
    child.kill().unwrap();
    child.wait().unwrap();
    let process = &control["named"][child.id().to_string()];
    for file in ["maps", "environ", "fd", "cwd", "root", "exe"] {
        assert_eq!(process[file], "done", "{file}: {process:#}");
    }
}

// FS-06, XR-05: installed packages lie under /usr.
#[test]
fn the_system_tree_cannot_be_changed() {
    let system = [
        "/",
        "/usr",
        "/usr/bin",
        "/usr/lib",
        "/usr/lib/python3",
        "/usr/lib/node_modules",
        "/etc",
        "/etc/ssl/certs",
        "/dev",
        "/sbx",
        "/proc",
    ];
    let sample = || ["/usr/bin/bash", "/usr/bin/env", "/etc/ld.so.cache"].map(|path| fs::read(path).unwrap());
    let before = sample();
    each_start(|daemon, _| {
        let there: Vec<_> =
            system.iter().filter(|path| path.starts_with("/sbx") || Path::new(path).exists()).collect();
        let seen = inside(daemon, probe!("tree.py"), &json!({ "directories": there }));
        assert_all_refused(&seen);
    });
    assert!(before == sample(), "a file of the system was changed");

    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "content").unwrap();
    let mut control = outside(probe!("tree.py"), &json!({ "directories": [directory.path()] }));
    // Not every file system has extended attributes of users.
    control.as_object_mut().unwrap().retain(|what, _| !what.starts_with("setxattr"));
    assert_all_allowed(&control);
}

// XR-04: what else the page cache tells, by the time a read takes, is accepted; see SECURITY.md.
#[test]
fn which_files_of_the_system_others_have_read_is_not_told() {
    if !can(is_root(), "only who owns the files can show that there is something to tell") {
        return;
    }
    // Large, so that nobody has all of it in memory by chance, and in nobody's use.
    let large = |path: &Path| path.metadata().is_ok_and(|file| file.is_file() && file.len() > 1 << 20);
    let files: Vec<_> = ["/usr/bin", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
        .into_iter()
        .flat_map(|dir| fs::read_dir(dir).into_iter().flatten())
        .map(|entry| entry.unwrap().path())
        .filter(|path| large(path))
        .take(20)
        .collect();
    let questions = json!({ "files": files });
    let control = outside(probe!("page_cache.py"), &questions);
    let told: Vec<_> = files
        .iter()
        .filter(|file| control[file.to_str().unwrap()]["present"] != control[file.to_str().unwrap()]["pages"])
        .collect();
    assert!(!told.is_empty(), "{control:#}");
    each_start(|daemon, _| {
        let seen = inside(daemon, probe!("page_cache.py"), &questions);
        for file in &files {
            let seen = &seen[file.to_str().unwrap()];
            assert_eq!(seen["present"], seen["pages"], "{}", file.display());
        }
    });
}

// FS-08
#[test]
fn the_devices_are_the_harmless_ones_and_shared_memory_has_a_size() {
    let asked = json!({
        "devices": ["/dev/kmsg", "/dev/mem", "/dev/fuse", "/dev/kvm", "/dev/net/tun", "/dev/vsock", "/dev/console",
                    "/dev/mqueue", "/dev/vda", "/dev/sda", "/dev/loop-control"],
        "mknod": ["/dev/node", "/dev/shm/node", "/tmp/node", "node"],
        "fill": ["/dev/x", "/dev/shm/x", "/tmp/x", "/x", "/etc/x", "/var/x"],
    });
    let harmless = [
        "core", "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
        "urandom", "zero",
    ];
    each_start(|daemon, _| {
        let seen = inside(daemon, probe!("devices.py"), &asked);
        for name in seen["names"].as_array().unwrap() {
            assert!(harmless.contains(&name.as_str().unwrap()), "/dev/{name}");
        }
        for (device, answer) in seen["open"].as_object().unwrap() {
            assert_eq!(errno(answer), Some("ENOENT"), "{device}");
        }
        assert_all_refused(&seen["mknod"]);
        for (path, answer) in seen["fill"].as_object().unwrap() {
            let (mib, stopped_by) = (&answer["mib"], errno(answer));
            match path.as_str() {
                // The default MAX_TMP_MB.
                "/dev/shm/x" | "/tmp/x" => assert_eq!((mib, stopped_by), (&json!(64), Some("ENOSPC"))),
                _ => assert_eq!((mib, stopped_by), (&json!(0), Some("EROFS")), "{path}"),
            }
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x");
    let control =
        outside(probe!("devices.py"), &json!({ "devices": ["/dev/null"], "mknod": [], "fill": [file] }));
    assert_eq!(control["fill"][file.to_str().unwrap()], json!({ "mib": 256 }), "{control:#}");
    assert_all_allowed(&control["open"]);
}

// FS-09
#[test]
fn the_daemons_terminal_is_not_the_programs() {
    let daemon = Settings::new().under_a_terminal().start();
    let terminal = fs::read_link(format!("/proc/{}/fd/1", daemon.pid()));
    if can(is_root(), "the daemon hides its descriptors from everybody but root") {
        assert!(terminal.unwrap().starts_with("/dev/pts"));
    }
    let seen = inside(&daemon, probe!("terminal.py"), &Value::Null);
    for what in ["terminals", "typed"] {
        assert_all_refused(&seen[what]);
    }
    assert_eq!(errno(&seen["controlling"]), Some("ENXIO"), "{seen:#}");
    assert_eq!(errno(&seen["console"]), Some("ENOENT"), "{seen:#}");
    daemon.settle();
    assert!(!daemon.log().contains('~'), "something was typed");

    let pty = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let control = outside_through(&["/usr/bin/python3", "-c", pty], probe!("terminal.py"), &Value::Null);
    assert_all_allowed(&control["terminals"]);
    assert_eq!(errno(&control["controlling"]), None, "{control:#}");
}

// FS-11
#[test]
fn the_kernel_does_not_give_its_addresses_or_keys_away() {
    let files = [
        "/proc/kallsyms",
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/self/mountinfo",
        "/proc/sysrq-trigger",
        "/sys/kernel/notes",
        "/proc/kmsg",
    ];
    each_start(|daemon, _| {
        let seen = inside(daemon, probe!("kernel.py"), &json!({ "files": files }));
        let text = |file: &str| seen[file]["text"].as_str().unwrap_or_default();
        assert!(!shows_addresses(text("/proc/kallsyms")));
        for file in ["/proc/kcore", "/proc/kmsg", "/proc/sysrq-trigger", "/sys/kernel/notes"] {
            assert!(errno(&seen[file]).is_some(), "{file}: {}", seen[file]);
        }
        // Documented: which directory of the host lies behind a mount is visible, its content is not.
        assert!(text("/proc/self/mountinfo").contains(" /workspace "));
    });
    if can(is_root(), "only root is shown the kernel's addresses anywhere") {
        let control = outside(probe!("kernel.py"), &json!({ "files": ["/proc/kallsyms"] }));
        let symbols = control["/proc/kallsyms"]["text"].as_str().unwrap_or_default();
        assert!(shows_addresses(symbols), "{symbols}");
    }
}

/// `ffffffff81000000 T _text`
fn shows_addresses(symbols: &str) -> bool {
    symbols
        .lines()
        .filter_map(|line| line.split_once(' '))
        .any(|(address, _)| address.bytes().any(|digit| digit != b'0'))
}

// FS-12
#[test]
fn code_event_and_input_are_nowhere_after_the_run() {
    let daemon = Daemon::default_settings();
    let secret = canary("RUN");
    let directories = [daemon.home().to_owned(), "/tmp".into(), "/dev/shm".into(), "/var/tmp".into()];
    let holding = |secret: &str| -> Vec<PathBuf> {
        let found = directories.iter().flat_map(|directory| files_holding(directory, secret));
        // The daemon's directories may lie in one of the others.
        found.collect::<BTreeSet<_>>().into_iter().collect()
    };
    for (language, code) in [
        ("python", "import sys; sys.stdin.read()"),
        ("javascript", "require('fs').readFileSync(0)"),
        ("shell", "cat >/dev/null"),
    ] {
        let comment = if language == "javascript" { "//" } else { "#" };
        for workspace in ["fresh", "persistent"] {
            let request = json!({
                "language": language,
                "code": format!("{code} {comment} {secret}"),
                "mode": "script",
                "stdin": &secret,
                "event": [&secret],
                "env_vars": { "SECRET": &secret },
                "workspace": workspace,
            });
            assert_eq!(daemon.execute(&request).result()["status"], "success");
        }
    }
    assert_eq!(holding(&secret), Vec::<PathBuf>::new());

    let planted = Planted::new(&daemon.workspace(), &secret).unwrap();
    assert_eq!(holding(&secret), std::slice::from_ref(&planted.path));
}

/// Small files of the last minutes below a directory, three levels deep.
fn files_holding(directory: &Path, secret: &str) -> Vec<PathBuf> {
    fn look(directory: &Path, depth: usize, secret: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.path().symlink_metadata() else {
                continue;
            };
            let recent =
                metadata.modified().is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() < 300));
            if metadata.is_dir() && depth > 0 {
                look(&entry.path(), depth - 1, secret, found);
            } else if metadata.is_file() && recent && metadata.len() < 1 << 20 {
                let content = fs::read(entry.path()).unwrap_or_default();
                if content.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                    found.push(entry.path());
                }
            }
        }
    }
    let mut found = Vec::new();
    look(directory, 4, secret, &mut found);
    found
}
