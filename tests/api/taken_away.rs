//! Hosts from which something was taken away: each is refused with its own sentence and the line that helps, by `serve` and by
//! `doctor` alike; or it serves, and what it says of itself is true.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use conformance::{Settings, can};
use serde_json::Value;

use crate::program::{Program, is_root};
use crate::startup::refuses;

const MASK: &str = "mount --bind /dev/null /proc/cmdline";
const CONTAINER: &[&str] = &["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

fn root() -> bool {
    can(is_root(), "mounting takes root")
}

/// In place of the bubblewrap that is installed.
fn with_bwrap(program: Program, script: &str, mode: u32) -> Program {
    let stand_in = program.file("bwrap", script);
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(mode)).unwrap();
    program.after(&format!("mount --bind '{stand_in}' /usr/bin/bwrap"))
}

/// Says this version, and complains so whatever it is told to do.
fn bubblewrap(version: &str, complaint: &str) -> String {
    format!(
        "#!/bin/sh\ncase \"$1\" in --version) echo 'bubblewrap {version}';; --help) echo;; \
         *) echo 'bwrap: {complaint}' >&2; exit 1;; esac\n"
    )
}

#[test]
fn a_bubblewrap_that_may_not_be_executed() {
    if root() {
        refuses(
            |program| with_bwrap(program, "#!/bin/sh\n", 0o644),
            "bubblewrap does not run: /usr/bin/bwrap: Permission denied (os error 13); install it again: \
             apt-get install --reinstall bubblewrap",
            1,
        );
    }
}

#[test]
fn a_bubblewrap_that_is_setuid() {
    if root() {
        refuses(
            |program| {
                let copy = program.path("setuid");
                fs::copy("/usr/bin/bwrap", &copy).unwrap();
                fs::set_permissions(&copy, fs::Permissions::from_mode(0o4755)).unwrap();
                program.after(&format!("mount --bind '{}' /usr/bin/bwrap", copy.display()))
            },
            "chmod u-s,g-s /usr/bin/bwrap",
            1,
        );
    }
}

#[test]
fn something_else_under_its_name() {
    if root() {
        refuses(
            |program| with_bwrap(program, "#!/bin/sh\nprintf 'wrap \\377\\033[2J\\nof 1999'\n", 0o755),
            "/usr/bin/bwrap is not bubblewrap: asked for its version it said",
            1,
        );
    }
}

// DG-05
#[test]
fn a_bubblewrap_that_is_too_old() {
    if root() {
        refuses(
            |program| with_bwrap(program, &bubblewrap("0.4.1", "Unknown option --size"), 0o755),
            "/usr/bin/bwrap is bubblewrap 0.4.1, which is too old: 0.8.0 is needed",
            1,
        );
    }
}

// DG-05
#[test]
fn an_old_one_in_front_of_a_good_one_is_named_by_its_path() {
    if root() {
        refuses(
            |program| {
                let old = program.file("bwrap", bubblewrap("0.4.1", "Unknown option --size"));
                fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
                let home = program.path("");
                program.after(&format!("mount --bind '{}' /usr/local/bin", home.display()))
            },
            "/usr/local/bin/bwrap is bubblewrap 0.4.1, which is too old: 0.8.0 is needed; take it away",
            1,
        );
    }
}

// DG-05
#[test]
fn a_bubblewrap_that_claims_more_than_it_knows() {
    if root() {
        for option in ["--size", "--perms", "--disable-userns", "--json-status-fd"] {
            let script = bubblewrap("0.8.0", &format!("Unknown option {option}"));
            refuses(|program| with_bwrap(program, &script, 0o755), "this bubblewrap is too old", 1);
        }
    }
}

/// Each complaint of bubblewrap's has its own sentence, and a line for each platform where it can be put right.
#[test]
fn each_complaint_names_the_lines_for_docker_compose_and_kubernetes() {
    if !root() {
        return;
    }
    for (complaint, lines) in [
        (
            "No permissions to create new namespace",
            ["--security-opt seccomp=", "security_opt: [seccomp:", "seccompProfile"],
        ),
        (
            "Failed to make / slave: Permission denied",
            ["--security-opt apparmor=", "security_opt: [apparmor:", "appArmorProfile"],
        ),
        (
            "pivot_root: Operation not permitted",
            ["--security-opt seccomp=", "security_opt: [seccomp:", "seccompProfile"],
        ),
        (
            "Unexpected capabilities but not setuid, old file caps config?",
            ["--cap-drop ALL", "cap_drop: [ALL]", "capabilities: {drop: [ALL]}"],
        ),
    ] {
        for line in lines {
            refuses(|program| with_bwrap(program, &bubblewrap("0.8.0", complaint), 0o755), line, 1);
        }
    }
}

#[test]
fn no_proc_at_all() {
    if !root() {
        return;
    }
    for arguments in [&[][..], &["doctor"][..]] {
        let ended = Program::new(arguments).after("umount -l /proc").run();
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains("/proc must be mounted in this container"), "{said}");
    }
}

#[test]
fn less_than_the_minimum_is_refused_by_serve_run_and_doctor_with_the_line_that_helps() {
    if !root() {
        return;
    }
    let masked =
        |program: Program| program.set("ISOLATION_MINIMUM", "full").after(MASK).in_namespaces(CONTAINER);
    let sentence = "ISOLATION_MINIMUM is full, but this host gives shared-proc: parts of /proc are masked";
    for part in [
        sentence,
        "docker: --security-opt systempaths=unconfined",
        "compose: security_opt: [systempaths=unconfined]",
        "kubernetes: hostUsers: false, and securityContext.procMount: Unmasked",
        "or accept it: ISOLATION_MINIMUM=shared-proc",
    ] {
        refuses(masked, part, 1);
    }
    let program = Program::new(&["run"]);
    let path = program.file("a.sh", "echo ran");
    let ran = masked(program.arguments(&[&path])).run();
    assert_eq!((ran.code, &*ran.stdout), (Some(125), ""), "{}", ran.stderr);
    assert!(ran.stderr.contains(sentence), "{}", ran.stderr);
    // The control: the same host, with what it gives accepted.
    let program = Program::new(&["run"]);
    let path = program.file("a.sh", "echo ran");
    let ran = program.arguments(&[&path]).after(MASK).in_namespaces(CONTAINER).run();
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "ran\n"), "{}", ran.stderr);
}

#[test]
fn a_host_that_gives_everything_satisfies_the_highest_minimum() {
    let daemon = Settings::new().set("ISOLATION_MINIMUM", "full").start();
    assert_eq!(daemon.get("/health").json()["isolation"]["tier"], "full");
}

/// What a run on such a host says of itself.
fn result_after(script: &str, namespaces: &'static [&'static str]) -> Value {
    let program = Program::new(&["run", "--json"]);
    let path = program.file("a.sh", "head -c 60000000 /dev/zero | tail -c 50000000 | (sleep 1; wc -c)");
    let home = program.path("").display().to_string();
    let script = script.replace("HOME", home.trim_end_matches('/'));
    let ended = program.arguments(&[&path]).after(&script).in_namespaces(namespaces).run();
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let result: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(result["stdout"], "50000000\n", "{result}");
    result
}

// DG-09
#[test]
fn without_a_cgroup_to_write_to_no_cgroup_is_claimed_and_memory_is_watched_all_the_same() {
    if !root() {
        return;
    }
    for script in [
        "mount -t tmpfs tmpfs /sys/fs/cgroup",
        "mount -t tmpfs tmpfs /sys/fs/cgroup && mount -o remount,ro /sys/fs/cgroup",
        "umount -R -l /sys",
    ] {
        let result = result_after(script, &["--mount"]);
        assert_eq!(result["isolation"]["cgroup"], "none", "{script}: {result}");
        assert_eq!(result["isolation"]["memory"], "poller", "{script}: {result}");
        assert_eq!(result["metrics"]["memory_source"], "poller", "{script}: {result}");
    }
}

// DG-09
#[test]
fn where_the_kernel_cannot_be_told_to_refuse_user_namespaces_that_is_not_claimed() {
    if !root() {
        return;
    }
    let read_only = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys";
    let doctor = Program::new(&["doctor"]).after(read_only).in_namespaces(CONTAINER).run();
    assert_eq!(doctor.code, Some(0), "{}", doctor.stdout);
    assert!(
        doctor.stdout.contains("reduced  /proc/sys/user is read-only, so the kernel's limit"),
        "{}",
        doctor.stdout
    );
    assert!(!doctor.stdout.contains("programs cannot make user namespaces"), "{}", doctor.stdout);
    // The control: where it can be, it is.
    let doctor = Program::new(&["doctor"]).run();
    assert!(doctor.stdout.contains("programs cannot make user namespaces"), "{}", doctor.stdout);
}

// DG-08
#[test]
fn where_proc_hides_other_processes_runs_work_and_are_still_seen() {
    if !root() {
        return;
    }
    let hide = "mount -t proc -o hidepid=2 proc /proc";
    let result = result_after(hide, &["--mount", "--pid", "--fork", "--kill-child"]);
    assert!(result["metrics"]["peak_memory_mb"].as_f64().unwrap() > 40.0, "{result}");
}

#[test]
fn a_proc_of_another_pid_namespace() {
    if root() {
        refuses(
            |program| program.after("true").in_namespaces(&["--mount", "--pid", "--fork", "--kill-child"]),
            "/proc shows the processes of another pid namespace",
            1,
        );
    }
}

// DG-07
#[test]
fn a_root_that_is_read_only_and_a_tmp_that_is_tiny_and_not_executable_are_enough() {
    if !root() {
        return;
    }
    // What the test itself needs of /tmp is carried over.
    let script = "bin=$(dirname \"$1\") && mount -t tmpfs tmpfs /mnt && mkdir /mnt/home /mnt/bin \
                  && mount --bind HOME /mnt/home && mount --bind \"$bin\" /mnt/bin \
                  && mount -t tmpfs -o size=1m,noexec,nosuid,mode=1777 tmpfs /tmp \
                  && mkdir -p HOME \"$bin\" && mount --bind /mnt/home HOME && mount --bind /mnt/bin \"$bin\" \
                  && mount -o remount,bind,ro / && ! touch /here 2>/dev/null";
    result_after(script, &["--mount"]);
}
