//! Version 2 of cgroups, on whatever machine this is: in a Linux of its own, with the daemon under test.
//!
//! User-mode Linux is a kernel that runs as a program, here over this machine's files and without a network. It boots in
//! seconds, has version 2 and nothing else, and is older than most kernels in use (6.1), which has found mistakes by itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;

use conformance::daemon::binary;
use conformance::{can, is_root};
use serde_json::Value;

use crate::support::command;

const KERNEL: &str = "/usr/bin/linux.uml";

/// It does not boot on the newest processors without this.
const WIDE_REGISTERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/probes/wide_registers.c");

/// The first program of that Linux. What it prints between two lines of `@` is looked at.
const INIT: &str = r#"#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t cgroup2 none /sys/fs/cgroup
dmesg -n 1
mount -t tmpfs none /mnt && mkdir /mnt/bin /mnt/workspace /mnt/results
cp "$home"/* /mnt/bin && cd /mnt && mount -t tmpfs -o mode=1777 none /tmp
export WORKSPACE_PATH=/mnt/workspace RESULTS_DIR=/mnt/results SESSIONS_PATH=/mnt/sessions
part() { echo "@$1"; }
part before; cat /proc/self/cgroup
part doctor; /mnt/bin/executor doctor
part mine; MAX_MEMORY_MB=64 /mnt/bin/executor run --json /mnt/bin/mine.py
part hoard; MAX_MEMORY_MB=64 /mnt/bin/executor run --json /mnt/bin/hoard.py
part left; find /sys/fs/cgroup -name 'run-*'
part moved; cat /sys/fs/cgroup/cgroup.procs | wc -l; cat /sys/fs/cgroup/sandbox-executor-1000/cgroup.subtree_control
part pod
pod=/sys/fs/cgroup/pod; mkdir $pod
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
echo $((256 << 20)) >$pod/memory.max; echo 1 >$pod/memory.oom.group
(echo $BASHPID >$pod/cgroup.procs; MAX_MEMORY_MB=64 exec /mnt/bin/executor run --json /mnt/bin/hoard.py)
part without
pod=/sys/fs/cgroup/other; mkdir $pod
echo $((64 << 20)) >$pod/memory.max; echo 1 >$pod/memory.oom.group
(echo $BASHPID >$pod/cgroup.procs; bash -c 'tail /dev/zero'; echo survived)
part again
pod=/sys/fs/cgroup/container; mkdir $pod
(echo $BASHPID >$pod/cgroup.procs; exec unshare --cgroup --mount bash -c '
    umount /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup
    /mnt/bin/executor run /mnt/bin/mine.py; cat /proc/self/cgroup
    /mnt/bin/executor doctor; find /sys/fs/cgroup -name daemon')
for step in later earlier; do
    sign=+; [[ $step = earlier ]] && sign=-
    part $step
    (sleep 2; date -s "@$(($(date +%s) $sign 3600))" >/dev/null) &
    before=$(date +%s)
    /mnt/bin/executor run --json --timeout 5 /mnt/bin/sleeps.sh
    echo "stepped $(($(date +%s) - before))"
done
part end
poweroff -f
"#;

/// Together they hold more than any one of them may.
const HOARD: &str = "\
import os, time
def handler(event):
    for _ in range(8):
        if os.fork() == 0:
            held = bytearray(b'x') * (16 << 20)
            time.sleep(60)
    time.sleep(60)
";

const MINE: &str = "\
def handler(event):
    return open('/proc/self/cgroup').read()
";

/// What a program that never ends is.
const SLEEPS: &str = "echo begun; sleep 1000\n";

/// All that it said, or nothing where it cannot run.
fn said() -> Option<&'static str> {
    static SAID: OnceLock<String> = OnceLock::new();
    let can =
        can(is_root() && Path::new(KERNEL).exists(), "user-mode-linux is not installed, or this is not root");
    can.then(|| SAID.get_or_init(boot).as_str())
}

fn part<'a>(said: &'a str, name: &str) -> &'a str {
    let part = said.split('@').find_map(|part| part.strip_prefix(&format!("{name}\n")));
    part.unwrap_or_else(|| panic!("no {name} in\n{said}")).trim()
}

/// What a part begins with, as JSON.
fn result(said: &str, name: &str) -> Value {
    let value = serde_json::Deserializer::from_str(part(said, name)).into_iter().next();
    value.and_then(Result::ok).unwrap_or_else(|| panic!("{name} is no JSON: {said}"))
}

// RS-05, RS-07
#[test]
fn a_run_is_held_and_killed_as_a_group() {
    let Some(said) = said() else { return };
    let part = |name: &str| part(said, name);
    let result = |name: &str| result(said, name);
    assert_eq!(part("before"), "0::/");
    assert!(part("doctor").contains("ok  the kernel holds the memory of runs"), "{said}");

    let mine = result("mine");
    assert_eq!(mine["metrics"]["memory_source"], "cgroup", "{mine:#}");
    let cgroup = mine["return_value"].as_str().unwrap();
    assert_eq!(cgroup, "0::/\n");

    let hoard = result("hoard");
    assert_eq!((&hoard["status"], &hoard["cause"]), (&"error".into(), &"memory_limit".into()), "{hoard:#}");
    assert!(hoard["metrics"]["peak_memory_mb"].as_f64().unwrap() <= 68.0, "{hoard:#}");

    assert_eq!(part("left"), "", "{said}");
    let controllers = part("moved");
    for controller in ["cpu", "memory", "pids"] {
        assert!(controllers.contains(controller), "{said}");
    }
}

#[test]
fn in_a_container_others_are_moved_aside_and_a_daemon_that_is_started_again_finds_its_place() {
    let Some(said) = said() else { return };
    let again = part(said, "again");
    // The shell that started both shares the container's cgroup with the first.
    assert!(again.contains("0::/sandbox-executor-1000/daemon\n"), "{said}");
    assert!(again.contains("ok  the kernel holds the memory of runs"), "{said}");
    assert_eq!(again.matches("/sys/fs/cgroup/sandbox-executor-1000/daemon").count(), 1, "{said}");
}

// RS-09: as Kubernetes sets it since 1.28, the kernel kills everybody in a container when one of them takes too much.
#[test]
fn a_run_that_is_killed_does_not_take_the_daemon_along_in_a_group_that_is_killed_as_one() {
    let Some(said) = said() else { return };
    let pod = result(said, "pod");
    assert_eq!((&pod["status"], &pod["cause"]), (&"error".into(), &"memory_limit".into()), "{pod:#}");
    assert_eq!(pod["metrics"]["memory_source"], "cgroup", "{pod:#}");
    // The control: without a cgroup of its own, whoever takes too much takes the shell that started it along.
    let without = part(said, "without");
    let survived = without.lines().any(|line| line == "survived");
    assert!(without.contains("Killed") && !survived, "{said}");
}

// LC-14
#[test]
fn a_clock_that_is_set_while_a_program_runs_changes_nothing_about_its_timeout() {
    let Some(said) = said() else { return };
    for (step, seconds) in [("later", 3600.0), ("earlier", -3600.0)] {
        let (_, stepped) = part(said, step).split_once("\nstepped ").unwrap_or_else(|| panic!("{said}"));
        let stepped: f64 = stepped.trim().parse().unwrap();
        assert!((stepped - seconds).abs() < 300.0, "{stepped}: the clock was not set\n{said}");
        let result = result(said, step);
        assert_eq!(result["cause"], "wall_timeout", "{result:#}");
        assert_eq!(result["stdout"], "begun\n", "{result:#}");
        // An emulated kernel on a busy machine is not exact, but it is not wrong by an hour.
        let took = result["execution_time"].as_f64().unwrap();
        assert!((4.0..120.0).contains(&took), "{result:#}");
    }
}

/// Boots it, and gives back what it printed.
fn boot() -> String {
    let home = tempfile::tempdir().unwrap();
    for (name, content) in [("mine.py", MINE), ("hoard.py", HOARD), ("sleeps.sh", SLEEPS)] {
        fs::write(home.path().join(name), content).unwrap();
    }
    fs::copy(binary(), home.path().join("executor")).unwrap();
    let init = home.path().join("init");
    fs::write(&init, INIT.replace("$home", home.path().to_str().unwrap())).unwrap();
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
    let shim = home.path().join("wide_registers.so");
    let mut compiler = command(Path::new("/usr/bin/cc"));
    let compiled = compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(WIDE_REGISTERS).status();
    assert!(compiled.unwrap().success(), "{WIDE_REGISTERS} cannot be compiled");
    let output = command(Path::new("/usr/bin/timeout"))
        .args([
            "--kill-after=5",
            "400",
            KERNEL,
            "mem=1024M",
            "rootfstype=hostfs",
            "rootflags=/",
            "rw",
            "quiet",
        ])
        .arg(format!("init={}", init.display()))
        // Its first console is our pipe, and there is no other: it would open windows.
        .args(["con=null", "con0=null,fd:1"])
        .env("TMPDIR", home.path())
        .env("LD_PRELOAD", &shim)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    assert!(said.contains("@end"), "it did not come to its end:\n{said}");
    said
}
