//! A run's cgroup, where the daemon may make one: what it holds, how it is joined, and that it is gone afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use conformance::{Daemon, Settings, can, is_root, processes};
use serde_json::{Value, json};

const LIMIT_MB: u64 = 64;

/// What the sandbox around the program may take on top.
const ROOM: u64 = 4 << 20;

/// A daemon whose runs have cgroups.
fn with_cgroups(settings: Settings) -> Option<Daemon> {
    can(is_root(), "cgroups: only root may make them here").then(|| {
        let daemon = settings.with_the_most().start();
        let isolation = daemon.get("/health").json()["isolation"].clone();
        assert_ne!(isolation["cgroup"], "none", "{isolation:#}");
        assert_eq!(isolation["memory"], "cgroup", "{isolation:#}");
        daemon
    })
}

fn limited(language: &str, code: &str) -> Value {
    json!({
        "language": language,
        "code": code,
        "mode": "script",
        "workspace": "fresh",
        "timeout": 60,
        "limits": { "memory_mb": LIMIT_MB },
    })
}

/// Ways to hold memory that no single process is charged for, or that no process maps.
const HOARDS: [(&str, &str); 6] = [
    (
        "children",
        "import os, time\n\
         for _ in range(8):\n\
         \x20   if os.fork() == 0:\n\
         \x20       held = bytearray(b'x') * (16 << 20)\n\
         \x20       time.sleep(60)\n\
         time.sleep(60)",
    ),
    (
        "a shared mapping",
        "import mmap\n\
         held = mmap.mmap(-1, 256 << 20)\n\
         for at in range(0, 256 << 20, 4096): held[at] = 1",
    ),
    (
        "a memory file",
        "import os\nfd = os.memfd_create('m')\nfor _ in range(64): os.write(fd, bytes(4 << 20))",
    ),
    ("files of a tmpfs", "for n in range(64): open(f'/dev/shm/{n}', 'wb').write(bytes(4 << 20))"),
    (
        "a deleted file of a tmpfs",
        "import os\n\
         held = open('/tmp/held', 'wb')\n\
         os.unlink('/tmp/held')\n\
         for _ in range(25): held.write(bytes(4 << 20))",
    ),
    (
        "socket buffers",
        "import socket\n\
         held = []\n\
         while True:\n\
         \x20   held.append(socket.socketpair())\n\
         \x20   held[-1][0].setblocking(False)\n\
         \x20   try:\n\
         \x20       while True: held[-1][0].send(bytes(65536))\n\
         \x20   except BlockingIOError: pass",
    ),
];

// RS-05, RS-06, RS-07
#[test]
fn the_kernel_ends_a_run_that_holds_too_much_in_whatever_way() {
    let settings = || Settings::new().set("MAX_TMP_MB", 512);
    for settings in [settings(), settings().behind_masked_proc()] {
        let Some(daemon) = with_cgroups(settings) else { return };
        for (what, code) in HOARDS {
            let result = daemon.execute(&limited("python", code)).result();
            assert_eq!(
                (&result["status"], &result["cause"]),
                (&json!("error"), &json!("memory_limit")),
                "{what}: {result:#}"
            );
            assert_eq!(result["metrics"]["memory_source"], "cgroup", "{what}: {result:#}");
            let peak = result["metrics"]["peak_memory_mb"].as_f64().unwrap();
            assert!(peak * 1_048_576.0 <= (LIMIT_MB << 20) as f64 + ROOM as f64, "{what}: {result:#}");
        }
    }
}

#[test]
fn what_the_kernel_can_take_back_does_not_end_a_run() {
    let Some(daemon) = with_cgroups(Settings::new().set("MAX_FILE_MB", 512)) else { return };
    let request = limited("shell", "head -c 200M /dev/zero >big && cat big | wc -c");
    let result = daemon.execute(&request).result();
    assert_eq!(result["stdout"], "209715200\n", "{result:#}");
    assert_eq!(result["status"], "success", "{result:#}");
}

// RS-03
#[test]
fn every_process_of_a_run_is_in_its_cgroup_and_the_cgroup_ends_with_it() {
    let Some(daemon) = with_cgroups(Settings::new()) else { return };
    let code = "import os, subprocess, time\n\
                subprocess.Popen(['sleep', '60'])\n\
                subprocess.Popen(['sleep', '60'], start_new_session=True)\n\
                while not os.path.exists('go'): time.sleep(0.05)\n\
                print(open('/proc/self/cgroup').read())";
    let mut request = limited("python", code);
    request.as_object_mut().unwrap().remove("workspace");
    let (leaves, result) = std::thread::scope(|scope| {
        let run = scope.spawn(|| daemon.execute(&request).result());
        daemon.eventually("the sleepers sleep", |daemon| sleepers(daemon).len() >= 2);
        let sleepers = sleepers(&daemon);
        let leaves = leaves_of(sleepers[0]);
        assert!(!leaves.is_empty(), "no cgroup of its own");
        for sleeper in sleepers {
            assert_eq!(leaves_of(sleeper), leaves);
        }
        let memory = leaves.iter().find(|leaf| leaf.join("memory.limit_in_bytes").exists());
        if let Some(memory) = memory {
            let limit = fs::read_to_string(memory.join("memory.limit_in_bytes")).unwrap();
            assert_eq!(limit.trim().parse::<u64>().unwrap(), (LIMIT_MB << 20) + ROOM);
        }
        fs::write(daemon.workspace().join("go"), "").unwrap();
        (leaves, run.join().unwrap())
    });
    // It sees nothing above its own.
    let seen = result["stdout"].as_str().unwrap().trim();
    assert!(!seen.is_empty() && seen.lines().all(|line| line.ends_with(":/")), "{result:#}");
    daemon.eventually("the cgroup is removed", |_| leaves.iter().all(|leaf| !leaf.exists()));
}

// RS-09
#[test]
fn a_run_that_is_killed_for_its_memory_disturbs_neither_the_daemon_nor_its_other_runs() {
    let Some(daemon) = with_cgroups(Settings::new().set("EXECUTOR_CONCURRENCY", 2)) else { return };
    let neighbour = json!({
        "language": "shell", "timeout": 120, "code": "touch started; until [[ -e go ]]; do sleep 0.05; done; echo undisturbed",
    });
    std::thread::scope(|scope| {
        let run = scope.spawn(|| daemon.execute(&neighbour).result());
        daemon.eventually("the neighbour runs", |daemon| daemon.workspace().join("started").exists());
        let before = processes::below(daemon.pid());
        for (what, code) in &HOARDS[..3] {
            let result = daemon.execute(&limited("python", code)).result();
            assert_eq!(result["cause"], "memory_limit", "{what}: {result:#}");
        }
        let lives = |pid: u32| processes::all().get(&pid).is_some_and(|process| process.state != 'Z');
        assert!(lives(daemon.pid()));
        // The shell's children come and go; the sandbox around it is still the same.
        let lasting = before.iter().filter(|process| ["bwrap", "launch"].contains(&&*process.command));
        assert!(
            lasting.clone().count() >= 3 && lasting.clone().all(|process| lives(process.pid)),
            "{before:?}"
        );
        fs::write(daemon.workspace().join("go"), "").unwrap();
        assert_eq!(run.join().unwrap()["stdout"], "undisturbed\n");
    });
}

// LC-07
#[test]
fn what_a_killed_daemon_left_is_removed_by_the_next() {
    let Some(mut daemon) = with_cgroups(Settings::new()) else { return };
    let leaves = std::thread::scope(|scope| {
        let address = daemon.address();
        scope.spawn(move || {
            let body = limited("shell", "sleep 60").to_string();
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            let request = format!(
                "POST /execute HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
            // Until the daemon is killed.
            std::io::copy(&mut stream, &mut std::io::sink()).ok();
        });
        daemon.eventually("it sleeps", |daemon| !sleepers(daemon).is_empty());
        let leaves = leaves_of(sleepers(&daemon)[0]);
        daemon.signal("KILL");
        daemon.wait();
        leaves
    });
    assert!(!leaves.is_empty());
    let empty =
        |leaf: &PathBuf| fs::read_to_string(leaf.join("cgroup.procs")).is_ok_and(|pids| pids.is_empty());
    let deadline = Instant::now() + Duration::from_secs(60);
    while !leaves.iter().all(empty) {
        assert!(Instant::now() < deadline, "processes are left in {leaves:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    // Another test's daemon that started meanwhile may have done it.
    let next = with_cgroups(Settings::new()).unwrap();
    assert!(leaves.iter().all(|leaf| !leaf.exists()), "{leaves:?}");
    drop(next);
}

// DG-09
#[test]
fn a_daemon_that_may_not_write_them_says_so_and_watches() {
    if !can(is_root(), "only root can make them read-only") {
        return;
    }
    for (settings, why) in [
        (Settings::new().with_read_only_cgroups(), "Read-only file system"),
        (Settings::new().without_cgroups(), "no cgroup with a memory controller is mounted"),
        (Settings::new().started_by(1000), "it belongs to another user"),
    ] {
        let daemon = settings.start();
        let isolation = daemon.get("/health").json()["isolation"].clone();
        assert_eq!(
            (&isolation["cgroup"], &isolation["memory"]),
            (&json!("none"), &json!("poller")),
            "{isolation:#}"
        );
        assert!(daemon.log().contains(why), "{why} is not in\n{}", daemon.log());
        let result = daemon.execute(&limited("python", HOARDS[0].1)).result();
        assert_eq!(result["cause"], "memory_limit", "{result:#}");
        assert_ne!(result["metrics"]["memory_source"], "cgroup", "{result:#}");
    }
}

/// Programs called `sleep` below the daemon.
fn sleepers(daemon: &Daemon) -> Vec<u32> {
    let below = processes::below(daemon.pid());
    below.iter().filter(|process| process.command == "sleep").map(|process| process.pid).collect()
}

/// The cgroups of a process that are some run's, where they are mounted here.
fn leaves_of(pid: u32) -> Vec<PathBuf> {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let leaves = cgroups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let mount = Path::new("/sys/fs/cgroup").join(controllers);
        path.contains("/run-").then(|| mount.join(path.trim_start_matches('/')))
    });
    leaves.collect()
}
