//! PN: processes, users, System V objects, names and privileges.

use std::collections::BTreeSet;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

use conformance::{Daemon, can, each_start, is_root, processes};
use serde_json::{Value, json};

use crate::support::{
    answer, assert_all_allowed, assert_all_refused, canary, command, errno, inside, numbers, outside,
    outside_through, probe,
};

const NAMESPACES: [&str; 7] = ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"];

// PN-01
#[test]
fn only_its_own_processes_can_be_seen_or_signalled() {
    let marker = canary("MARKER");
    each_start(|daemon, proc| {
        std::thread::scope(|scope| {
            // A neighbour that is there for as long as the probe needs.
            let neighbour = scope.spawn(|| {
                let code = format!(": {marker}; until [[ -e /workspace/done ]]; do sleep 0.02; done");
                daemon.execute(&json!({ "language": "shell", "code": code })).result()
            });
            daemon.eventually("the neighbour runs", |daemon| processes::below(daemon.pid()).len() >= 4);
            let asked = json!({ "pids": [daemon.pid(), std::process::id()] });
            let seen = inside(daemon, probe!("processes.py"), &asked);
            fs::write(daemon.workspace().join("done"), "").unwrap();
            assert_eq!(neighbour.join().unwrap()["status"], "success");

            let listed = seen["listed"].as_object().unwrap();
            let signalled: Vec<_> = seen["signalled"].as_array().unwrap().iter().collect();
            let its_own = numbers(&seen);
            assert_eq!(signalled, its_own, "{seen:#}");
            match proc {
                "private" => assert_eq!(
                    listed.keys().cloned().collect::<BTreeSet<_>>(),
                    its_own.iter().map(u32::to_string).collect()
                ),
                // Names of other processes are visible (DG-04); nothing of the caller's is in them.
                _ => assert!(listed.len() > 3, "{seen:#}"),
            }
            assert!(!seen.to_string().contains(&marker), "{seen:#}");
        });
    });
    let control = outside(probe!("processes.py"), &json!({ "pids": [] }));
    assert!(control["listed"].as_object().unwrap().len() > 3);
    assert!(control["signalled"].as_array().unwrap().len() > 3);
}

// PN-02, PN-15
#[test]
fn every_namespace_is_its_own() {
    let ours = |pid: u32, name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}"));
    let control = outside(probe!("namespaces.py"), &Value::Null);
    each_start(|daemon, _| {
        let first = inside(daemon, probe!("namespaces.py"), &Value::Null);
        for name in NAMESPACES {
            assert_ne!(first[name], control[name], "{name} is the test's");
            // The daemon hides behind root here.
            if let Ok(daemons) = ours(daemon.pid(), name) {
                assert_ne!(first[name], daemons.to_str().unwrap(), "{name} is the daemon's");
            }
        }
    });
    for name in NAMESPACES {
        assert_eq!(control[name], ours(std::process::id(), name).unwrap().to_str().unwrap());
    }
}

// PN-02
#[test]
fn two_runs_at_the_same_time_share_no_namespace() {
    let daemon = conformance::Settings::new().set("EXECUTOR_CONCURRENCY", 2).start();
    // Each waits until the other is there, as its file in a session's directory tells: the numbers are not reused then.
    let code = "import json, os\n\
                print(json.dumps({n: os.readlink(f'/proc/self/ns/{n}') for n in os.listdir('/proc/self/ns')}), flush=True)\n\
                open('here', 'w').close()\n\
                import time\n\
                while not os.path.exists('go'): time.sleep(0.01)";
    let run = |session: &str| {
        let request = json!({ "language": "python", "mode": "script", "code": code, "session_id": session });
        answer(&daemon.execute(&request).result())
    };
    let sessions = daemon.home().join("sessions");
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| run("one"));
        let second = scope.spawn(|| run("two"));
        daemon.eventually("both run", |_| {
            ["one/here", "two/here"].iter().all(|here| sessions.join(here).exists())
        });
        for go in ["one/go", "two/go"] {
            fs::write(sessions.join(go), "").unwrap();
        }
        (first.join().unwrap(), second.join().unwrap())
    });
    for name in NAMESPACES {
        assert_ne!(first[name], second[name], "{name}");
    }
}

// PN-08, as far as namespaces decide it.
#[test]
fn no_socket_sees_packets() {
    each_start(|daemon, _| {
        let seen = inside(daemon, probe!("sockets.py"), &json!({}));
        assert_all_refused(&seen["raw"]);
        assert_eq!(seen["interfaces"], json!(["lo"]));
        assert_eq!(seen["routes"], 0);
    });
    let control = outside(probe!("sockets.py"), &json!({}));
    if can(is_root(), "only root may open such sockets anywhere") {
        assert_eq!(errno(&control["raw"]["packet"]), None, "{control:#}");
    }
}

// PN-10
#[test]
fn shared_memory_semaphores_and_queues_end_with_the_run() {
    let daemon = Daemon::default_settings();
    let key = std::process::id();
    let make = json!({ "key": key, "name": format!("/canary-{key}"), "make": true });
    let look = json!({ "key": key, "name": format!("/canary-{key}"), "make": false });
    let tables =
        || ["shm", "sem", "msg"].map(|table| fs::read_to_string(format!("/proc/sysvipc/{table}")).unwrap());
    let before = tables();
    let made = inside(&daemon, probe!("ipc.py"), &make);
    // Where no cgroup counts what they hold, the filter refuses the System V ones.
    let counted = daemon.get("/health").json()["isolation"]["memory"] == "cgroup";
    let (making, looking, listed) =
        if counted { (None, Some("ENOENT"), 3) } else { (Some("ENOSYS"), Some("ENOSYS"), 0) };
    for kind in ["shm", "sem", "msg"] {
        assert_eq!(errno(&made[kind]), making, "{made:#}");
    }
    assert_eq!(errno(&made["shm_open"]), None, "{made:#}");
    assert_eq!(made["listed"], listed, "{made:#}");
    assert_eq!(tables(), before);
    let seen = inside(&daemon, probe!("ipc.py"), &look);
    for kind in ["shm", "sem", "msg"] {
        assert_eq!(errno(&seen[kind]), looking, "{kind}: {seen:#}");
    }
    for kind in ["mq", "shm_open"] {
        assert_eq!(errno(&seen[kind]), Some("ENOENT"), "{kind}: {seen:#}");
    }
    assert_eq!(seen["listed"], 0, "{seen:#}");
    assert_eq!(seen["dev_shm"], json!([]), "{seen:#}");

    outside(probe!("ipc.py"), &make);
    let mut look_and_remove = look;
    look_and_remove["remove"] = json!(true);
    let control = outside(probe!("ipc.py"), &look_and_remove);
    for kind in ["shm", "sem", "msg", "mq", "shm_open"] {
        assert_eq!(errno(&control[kind]), None, "{kind}: {control:#}");
    }
}

// PN-12
#[test]
fn abstract_sockets_outside_cannot_be_reached() {
    let name = canary("abstract");
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let asked = json!({ "abstract": [name] });
    each_start(|daemon, _| {
        let seen = inside(daemon, probe!("sockets.py"), &asked);
        assert_eq!(errno(&seen["abstract"][&name]), Some("ECONNREFUSED"), "{seen:#}");
    });
    let control = outside(probe!("sockets.py"), &asked);
    assert_eq!(errno(&control["abstract"][&name]), None, "{control:#}");
}

// FS-10, PN-13, PN-14, PN-15
#[test]
fn nobody_becomes_more_than_an_ordinary_user() {
    let hostname = || fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let before = hostname();
    each_start(|daemon, proc| {
        let seen = inside(daemon, probe!("privileges.py"), &Value::Null);
        assert_eq!(seen["marked_id"], "1000", "{seen:#}");
        assert_all_refused(&seen["attempts"]);
        let none = "0000000000000000";
        let same = |id: u32| format!("{id}\t{id}\t{id}\t{id}");
        let mut who = vec!["self"];
        // Process 1 of a shared /proc is not the sandbox's.
        if proc == "private" {
            who.push("init");
        }
        for process in who {
            let status = &seen[process];
            for capabilities in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                assert_eq!(status[capabilities], none, "{process} {capabilities}");
            }
            assert_eq!(status["NoNewPrivs"], "1", "{process}");
            assert_eq!(status["Uid"], same(1000), "{process}");
            assert_eq!(status["Gid"], same(1000), "{process}");
        }
        for map in ["uid_map", "gid_map"] {
            let lines: Vec<_> = seen[map].as_array().unwrap().iter().collect();
            assert_eq!(lines.len(), 2, "one line and its end: {lines:?}");
        }
        assert_eq!(seen["setgroups"], "deny");
    });
    assert_eq!(hostname(), before);
}

// FS-10, PN-13, PN-14: the control changes what it may, so it runs in namespaces that end with it.
#[test]
fn outside_the_same_program_does_become_more() {
    if !can(is_root(), "only root becomes anybody else") {
        return;
    }
    let attempts = ["sethostname", "setpriority", "chroot", "mount", "mknod"];
    let control =
        outside_through(&["/usr/bin/unshare", "--mount", "--uts"], probe!("privileges.py"), &json!(attempts));
    assert!(!control["programs"].as_array().unwrap().is_empty(), "{control:#}");
    assert_eq!(control["self"]["NoNewPrivs"], "0");
    assert_all_allowed(&control["attempts"]);
    // A marked copy of `id` becomes its owner, where the file system allows it.
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let id = directory.path().join("id");
    fs::copy("/usr/bin/id", &id).unwrap();
    fs::set_permissions(&id, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
    fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = command(Path::new("/usr/bin/setpriv"))
        .args(["--reuid=1000", "--regid=1000", "--clear-groups"])
        .arg(&id)
        .arg("-u")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n", "{output:?}");
}
