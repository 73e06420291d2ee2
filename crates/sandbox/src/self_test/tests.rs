//! The self test must notice every protection that is missing: each one is left out here, in what was observed.
//!
//! That a real sandbox without it is really observed so is tested with the real binary (tests/isolation).

use super::*;
use crate::limits::{Bytes, Limits};
use crate::program::Language;

fn expectations() -> Expectations {
    let limits = Limits {
        wall: std::time::Duration::from_secs(1),
        cpu: None,
        memory: Bytes::mib(64),
        processes: 8,
        open_files: 64,
        file_size: Bytes::mib(1),
        tmp: Bytes::mib(1),
        output: Bytes::mib(1),
    };
    Expectations {
        rlimits: Rlimits::new(Language::Shell, &limits),
        proc: ProcView::Private,
        programs: 3,
        memory: MemoryKeeper::Watcher,
        origin: None,
    }
}

/// What a sandbox that holds looks like.
fn whole() -> Observed {
    let text = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let limit = |value: u64| (value.to_string(), value.to_string());
    let rlimits = expectations().rlimits;
    // This test may be under a container's filter itself.
    let ours = status("self", |name| name == FILTERS).unwrap();
    let filters = (ours.get(FILTERS).map_or(0, |count| count.parse().unwrap()) + 3_usize).to_string();
    Observed {
        namespaces: NAMESPACES.iter().map(|name| ((*name).to_owned(), format!("{name}:[1]"))).collect(),
        status: text(&[
            ("Uid", "1000\t1000\t1000\t1000"),
            ("Gid", "1000\t1000\t1000\t1000"),
            ("NoNewPrivs", "1"),
            ("CapInh", "0000000000000000"),
            ("CapPrm", "0000000000000000"),
            ("CapEff", "0000000000000000"),
            ("CapBnd", "0000000000000000"),
            ("CapAmb", "0000000000000000"),
            ("Seccomp", "2"),
            (FILTERS, &filters),
        ]),
        init: text(&[("Seccomp", "2"), (FILTERS, &filters)]),
        refused: [(CLONE3, 38), (SOCKET, 97), (PERSONALITY, 1), (UNSHARE, 1), (MEMFD, 38)]
            .map(|(call, errno)| (call.to_owned(), Some(errno)))
            .into(),
        uid_map: "1000 1000 1".into(),
        setgroups: "deny".into(),
        hostname: "sandbox".into(),
        oom_score_adj: "1000".into(),
        writable: words(&WRITABLE),
        interfaces: words(&["lo"]),
        environment: words(&["PATH", "HOME", "TMPDIR", "USER", "LANG"]),
        root_entries: words(&[
            "bin",
            "code",
            "dev",
            "etc",
            "lib",
            "lib64",
            "proc",
            "sbx",
            "tmp",
            "usr",
            "workspace",
        ]),
        limits: [
            ("Max processes", rlimits.processes),
            ("Max open files", rlimits.open_files),
            ("Max file size", rlimits.file_size),
            ("Max data size", rlimits.data),
        ]
        .map(|(name, value)| (name.to_owned(), limit(value)))
        .into(),
        processes: 2,
    }
}

#[test]
fn a_sandbox_that_holds_has_nothing_broken() {
    assert_eq!(broken(&whole(), &expectations()), Vec::<String>::new());
}

/// How a protection shows when it is missing.
type Damage = Box<dyn Fn(&mut Observed)>;

// DG-02
#[test]
fn each_protection_that_is_missing_is_noticed() {
    let status = |name: &'static str, value: &'static str| -> Damage {
        Box::new(move |seen| drop(seen.status.insert(name.into(), value.into())))
    };
    let mut cases: Vec<(String, Damage)> = vec![
        ("root inside".into(), status("Uid", "0\t0\t0\t0")),
        ("new privileges".into(), status("NoNewPrivs", "0")),
        ("capabilities".into(), status("CapEff", "000001ffffffffff")),
        ("bounding set".into(), status("CapBnd", "000001ffffffffff")),
        ("no filter".into(), status("Seccomp", "0")),
        ("a program of the filter".into(), status(FILTERS, "2")),
        ("a count of filters".into(), Box::new(|seen| drop(seen.status.remove(FILTERS)))),
        ("the init's filter".into(), Box::new(|seen| drop(seen.init.insert("Seccomp".into(), "0".into())))),
        ("the init's status".into(), Box::new(|seen| seen.init.clear())),
        ("no attempts".into(), Box::new(|seen| seen.refused.clear())),
        ("no status".into(), Box::new(|seen| seen.status.clear())),
        ("uid map".into(), Box::new(|seen| seen.uid_map = "0 0 4294967295".into())),
        ("setgroups".into(), Box::new(|seen| seen.setgroups = "allow".into())),
        ("host name".into(), Box::new(|seen| seen.hostname = "pod-7".into())),
        ("OOM score".into(), Box::new(|seen| seen.oom_score_adj = "0".into())),
        ("interface".into(), Box::new(|seen| seen.interfaces.push("eth0".into()))),
        ("environment".into(), Box::new(|seen| seen.environment.push("INTERNAL_API_TOKEN".into()))),
        ("root entries".into(), Box::new(|seen| seen.root_entries.push("home".into()))),
        ("visible processes".into(), Box::new(|seen| seen.processes = 40)),
        (
            "soft limit only".into(),
            Box::new(|seen| {
                if let Some((_, hard)) = seen.limits.get_mut("Max processes") {
                    *hard = "unlimited".into();
                }
            }),
        ),
        ("no limits".into(), Box::new(|seen| seen.limits.clear())),
        ("workspace read-only".into(), Box::new(|seen| seen.writable.retain(|dir| dir != WORKSPACE_PATH))),
    ];
    for name in NAMESPACES {
        let ours = link(&format!("/proc/self/ns/{name}")).unwrap();
        let share = move |seen: &mut Observed| drop(seen.namespaces.insert(name.into(), ours.clone()));
        cases.push((format!("shared {name} namespace"), Box::new(share)));
    }
    for call in [CLONE3, SOCKET, PERSONALITY, UNSHARE, MEMFD] {
        for answer in [None, Some(22), Some(28)] {
            let let_through = move |seen: &mut Observed| seen.refused.extend([(call.to_owned(), answer)]);
            cases.push((format!("{call}: {answer:?}"), Box::new(let_through)));
        }
    }
    for dir in READ_ONLY {
        cases.push((format!("writable {dir}"), Box::new(move |seen| seen.writable.push(dir.into()))));
    }
    for (name, damage) in cases {
        let mut seen = whole();
        damage(&mut seen);
        assert_eq!(broken(&seen, &expectations()).len().min(1), 1, "not noticed: {name}");
    }
}
