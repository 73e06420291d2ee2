//! Hosts that allow less: the daemon refuses with the line that helps, or serves with less and says so.

use conformance::{Settings, can};

use crate::program::{Program, is_root};

const MASK: &str = "mount --bind /dev/null /proc/cmdline";

#[test]
fn a_masked_proc_that_shows_the_whole_host_is_refused_with_the_line_that_helps() {
    if !can(is_root(), "mounting takes root") {
        return;
    }
    let refused = Program::new(&[]).after(MASK).run();
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let doctor = Program::new(&["doctor"]).after(MASK).run();
    assert_eq!(doctor.code, Some(1), "{}", doctor.stdout);
    for said in [&refused.stderr, &doctor.stdout] {
        assert!(said.contains("parts of /proc are masked in this container"), "{said}");
        assert!(said.contains("--security-opt systempaths=unconfined"), "{said}");
        assert!(said.contains("procMount: Unmasked"), "{said}");
    }
}

#[test]
fn in_a_container_with_a_masked_proc_runs_work_and_the_loss_is_announced() {
    if !can(is_root(), "mounting takes root") {
        return;
    }
    let daemon = Settings::new().behind_masked_proc().start();
    let isolation = daemon.get("/health").json()["isolation"].clone();
    assert_eq!((&isolation["tier"], &isolation["proc"]), (&"shared-proc".into(), &"shared".into()));
    let log = daemon.log();
    let announced =
        log.lines().find(|line| line.contains("isolation_reduced")).unwrap_or_else(|| panic!("{log}"));
    assert!(announced.contains("\"warn\"") && announced.contains("/proc"), "{announced}");
    assert!(announced.contains("systempaths=unconfined"), "{announced}");
    for (language, code) in [
        ("python", "def handler(event): return 'works'"),
        ("javascript", "exports.handler = () => 'works'"),
        ("shell", "printf '===SANDBOX_RESULT===\\n\"works\"\\n===SANDBOX_RESULT_END===\\n'"),
    ] {
        assert_eq!(daemon.run(language, code)["return_value"], "works", "{language}");
    }
    let doctor = Program::new(&["doctor"])
        .after(MASK)
        .in_namespaces(&["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .run();
    assert_eq!(doctor.code, Some(0), "{}{}", doctor.stdout, doctor.stderr);
    assert!(doctor.stdout.contains("reduced  parts of /proc are masked"), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("docker: --security-opt systempaths=unconfined"), "{}", doctor.stdout);
}

#[test]
fn without_user_namespaces_it_refuses_with_the_line_that_helps() {
    if !can(is_root(), "becoming another user takes root") {
        return;
    }
    // The sysctl is the new namespace's own: nothing outside changes.
    let off = "echo 0 > /proc/sys/user/max_user_namespaces";
    for (arguments, code) in [(&[][..], 1), (&["doctor"][..], 1)] {
        let ended = Program::new(arguments).started_by(1000).without_capabilities_after(off).run();
        assert_eq!(ended.code, Some(code), "{}{}", ended.stdout, ended.stderr);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains("user namespaces"), "{said}");
        assert!(said.contains("sysctl -w user.max_user_namespaces=15000"), "{said}");
    }
}

#[test]
fn a_daemon_whose_program_was_replaced_says_that_it_must_be_restarted() {
    let home = conformance::daemon::home();
    let copy = home.path().join("sandbox-executor");
    let mut daemon = Settings::new().from_copy(&copy).start();
    assert_eq!(daemon.run("shell", "echo works")["stdout"], "works\n");
    std::fs::remove_file(&copy).unwrap();
    for path in ["/health", "/health/ready"] {
        let answer = daemon.get(path);
        assert_eq!(answer.status, 503, "{path}");
        let reason = answer.json()["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains("restart"), "{reason}");
    }
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(143));
}
