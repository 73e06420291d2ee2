//! Workspaces as programs leave them.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::*;

struct Scene {
    // Held so that it is removed at the end, and not before.
    _home: tempfile::TempDir,
    path: PathBuf,
    dir: OwnedFd,
}

/// The workspace lies below a hidden directory on purpose: what is hidden is decided below the workspace.
fn scene() -> Scene {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(".hidden/workspace");
    fs::create_dir_all(&path).unwrap();
    let dir = linux::tree::open_dir(&path).unwrap();
    Scene { _home: home, path, dir }
}

impl Scene {
    fn write(&self, name: impl AsRef<Path>, content: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::take(self.dir.as_fd(), &Bounds::default())
    }

    fn collect(&self, before: &Snapshot) -> Manifest {
        collect(self.dir.as_fd(), before, &Bounds::default())
    }

    fn collect_all(&self, bounds: &Bounds) -> Manifest {
        collect(self.dir.as_fd(), &Snapshot::of_nothing(), bounds)
    }
}

fn paths(manifest: &Manifest) -> Vec<&str> {
    manifest.artifacts.iter().map(|artifact| artifact.path.as_str()).collect()
}

fn changes(manifest: &Manifest) -> Vec<(&str, Change)> {
    manifest.artifacts.iter().map(|artifact| (artifact.path.as_str(), artifact.change)).collect()
}

fn digest(artifact: &ArtifactRecord) -> String {
    artifact.sha256.iter().flatten().map(|byte| format!("{byte:02x}")).collect()
}

/// Until the kernel's clock for files has moved on, so that the next change is seen as one.
fn let_the_file_clock_tick(scene: &Scene) {
    let probe = scene.path.join(".clock");
    let stamp = || {
        fs::write(&probe, "").unwrap();
        fs::metadata(&probe).unwrap().modified().unwrap()
    };
    let start = stamp();
    while stamp() <= start {
        std::thread::yield_now();
    }
}

#[test]
fn of_a_workspace_that_was_and_is_empty_one_look_says_what_the_walk_would() {
    let scene = scene();
    let before = Snapshot::of_nothing();
    let quick = |before: &Snapshot| of_nothing(scene.dir.as_fd(), before);
    assert_eq!(quick(&before), Some(scene.collect(&before)));
    scene.write(".hidden", "not listed, and something all the same");
    assert_eq!(quick(&before), None);
    fs::remove_file(scene.path.join(".hidden")).unwrap();
    assert_eq!(quick(&before), Some(scene.collect(&before)));
}

#[test]
fn a_record_says_what_the_file_is() {
    let scene = scene();
    scene.write("out/result.json", "abc");
    let earliest = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(60);
    let manifest = scene.collect_all(&Bounds::default());
    let [artifact] = manifest.artifacts.as_slice() else { panic!("{manifest:?}") };
    assert_eq!(artifact.path, "out/result.json");
    assert_eq!(artifact.size.0, 3);
    assert_eq!(artifact.mime_type, "application/json");
    assert_eq!(artifact.kind, ArtifactKind::Output);
    assert_eq!(digest(artifact), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert!(artifact.created_at > earliest);
    assert!(!manifest.truncated);
    assert_eq!(manifest.notes, Notes::default());
}

#[test]
fn created_modified_and_unchanged_are_told_apart() {
    let scene = scene();
    scene.write("kept", "same");
    scene.write("grown", "short");
    scene.write("replaced", "same");
    scene.write("deleted", "x");
    let before = scene.snapshot();
    let_the_file_clock_tick(&scene);
    scene.write("grown", "longer than that");
    let replacement = scene.write("replacement", "same");
    fs::rename(replacement, scene.path.join("replaced")).unwrap();
    fs::remove_file(scene.path.join("deleted")).unwrap();
    scene.write("new", "x");
    assert_eq!(
        changes(&scene.collect(&before)),
        [
            ("grown", Change::Modified),
            ("kept", Change::Unchanged),
            ("new", Change::Created),
            ("replaced", Change::Modified)
        ]
    );
}

#[test]
fn a_change_is_seen_although_size_and_mtime_were_put_back() {
    let scene = scene();
    let path = scene.write("forged", "before");
    let mtime = fs::metadata(&path).unwrap().modified().unwrap();
    let before = scene.snapshot();
    let_the_file_clock_tick(&scene);
    fs::write(&path, "after!").unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(mtime).unwrap();
    assert_eq!(changes(&scene.collect(&before)), [("forged", Change::Modified)]);
}

#[test]
fn forged_times_change_no_timestamp() {
    let scene = scene();
    let now = jiff::Timestamp::now();
    for (name, time) in [
        ("1901", SystemTime::UNIX_EPOCH - Duration::from_secs(2_147_483_648)),
        ("1970", SystemTime::UNIX_EPOCH),
        ("2106", SystemTime::UNIX_EPOCH + Duration::from_secs(4_294_967_295)),
        ("2446", SystemTime::UNIX_EPOCH + Duration::from_secs(15_032_385_535)),
    ] {
        let path = scene.write(name, "");
        let times = FileTimes::new().set_accessed(time).set_modified(time);
        File::options().write(true).open(path).unwrap().set_times(times).unwrap();
    }
    let manifest = scene.collect_all(&Bounds::default());
    assert_eq!(manifest.artifacts.len(), 4);
    for artifact in &manifest.artifacts {
        let age = artifact.created_at.duration_since(now).abs();
        assert!(age < jiff::SignedDuration::from_secs(60), "{}: {}", artifact.path, artifact.created_at);
    }
}

#[test]
fn hidden_means_a_dot_below_the_workspace() {
    let scene = scene();
    for name in [".env", ".git/config", "a/.cache/b", "..data/c", "..foo", "a..b.txt", "a/b.", "z/visible"] {
        scene.write(name, "");
    }
    assert_eq!(paths(&scene.collect_all(&Bounds::default())), ["a..b.txt", "a/b.", "z/visible"]);
}

#[test]
fn every_file_is_listed_once_whatever_its_name() {
    let scene = scene();
    let names = [
        "new\nline",
        "c\rr",
        "t\tab",
        "\u{1b}[31m",
        "q\"uote",
        "back\\slash",
        "-rf",
        " lead",
        "%2e%2e",
        "🦀",
        "\u{202e}rtl",
    ];
    for name in names {
        scene.write(name, "");
    }
    scene.write("n".repeat(255), "");
    let manifest = scene.collect_all(&Bounds::default());
    let mut expected: Vec<String> = names.map(str::to_owned).to_vec();
    expected.push("n".repeat(255));
    expected.sort();
    assert_eq!(paths(&manifest), expected);
}

#[test]
fn names_that_are_not_utf_8_are_listed_hashed_and_counted() {
    let scene = scene();
    for name in [&b"a\x80"[..], b"a\x81", b"\xff\xfe.bin"] {
        scene.write(OsStr::from_bytes(name), "");
    }
    let manifest = scene.collect_all(&Bounds::default());
    assert_eq!(paths(&manifest), ["a\u{fffd}", "a\u{fffd}", "\u{fffd}\u{fffd}.bin"]);
    assert!(manifest.artifacts.iter().all(|artifact| artifact.sha256.is_some()));
    assert_eq!(manifest.notes.undecodable_names, 3);
}

#[test]
fn only_regular_files_are_listed_and_nothing_else_is_opened() {
    let scene = scene();
    scene.write("file", "");
    scene.write("sub/file", "");
    symlink("/etc/passwd", scene.path.join("link")).unwrap();
    symlink("/etc", scene.path.join("link-to-directory")).unwrap();
    symlink("file", scene.path.join("link-inside")).unwrap();
    // Bound below the workspace by a relative name: the path of a socket may have 107 bytes only.
    UnixListener::bind(scene.path.join("s")).unwrap();
    let manifest = scene.collect_all(&Bounds::default());
    assert_eq!(paths(&manifest), ["file", "sub/file"]);
    assert_eq!(manifest.notes.skipped, [(Skip::SymbolicLink, 3), (Skip::Special, 1)].into());
    assert!(!manifest.truncated);
}

#[test]
fn hard_links_are_listed_under_each_name_and_hashed_once() {
    let scene = scene();
    let first = scene.write("a", "content");
    for name in ["b", "c"] {
        fs::hard_link(&first, scene.path.join(name)).unwrap();
    }
    let manifest = scene.collect_all(&Bounds { hash_bytes: 7, ..Bounds::default() });
    assert_eq!(paths(&manifest), ["a", "b", "c"]);
    assert!(manifest.artifacts.iter().all(|artifact| artifact.sha256 == manifest.artifacts[0].sha256));
    assert!(manifest.notes.unhashed.is_empty(), "{:?}", manifest.notes);
}

#[test]
fn changed_files_take_the_places_before_unchanged_ones() {
    let scene = scene();
    for number in 0..8 {
        scene.write(format!("a-old-{number}"), "");
    }
    let before = scene.snapshot();
    for number in 0..3 {
        scene.write(format!("z-new-{number}"), "");
    }
    let manifest = collect(scene.dir.as_fd(), &before, &Bounds { listed: 5, ..Bounds::default() });
    assert_eq!(paths(&manifest), ["a-old-0", "a-old-1", "z-new-0", "z-new-1", "z-new-2"]);
    assert!(manifest.truncated);
    assert_eq!(manifest.notes.unlisted, 6);
}

#[test]
fn what_exceeds_the_budget_is_listed_without_a_digest() {
    let scene = scene();
    scene.write("large", &"x".repeat(100));
    scene.write("small", "x");
    let few_bytes = scene.collect_all(&Bounds { hash_bytes: 10, ..Bounds::default() });
    let no_time = scene.collect_all(&Bounds { hash_time: Duration::ZERO, ..Bounds::default() });
    let hashed = |manifest: &Manifest| -> Vec<bool> {
        manifest.artifacts.iter().map(|artifact| artifact.sha256.is_some()).collect()
    };
    assert_eq!(hashed(&few_bytes), [false, true]);
    assert_eq!(few_bytes.notes.unhashed, [(Unhashed::OverBudget, 1)].into());
    assert_eq!(hashed(&no_time), [false, false]);
}

#[test]
fn holes_count_towards_the_size() {
    let scene = scene();
    File::create(scene.path.join("sparse")).unwrap().set_len(1 << 40).unwrap();
    File::create(scene.path.join("small")).unwrap().set_len(1 << 20).unwrap();
    let manifest = scene.collect_all(&Bounds::default());
    assert_eq!(digest(&manifest.artifacts[0]), ZEROS_1_MIB);
    assert_eq!(manifest.artifacts[1].size.0, 1 << 40);
    assert_eq!(manifest.artifacts[1].sha256, None, "a sparse TiB was read");
}

#[test]
fn what_the_answer_does_not_wait_for_is_hashed_later_if_it_is_still_the_same() {
    let scene = scene();
    for (name, size) in [("changed", 20 << 20), ("large", 17 << 20), ("small", 1 << 20)] {
        File::create(scene.path.join(name)).unwrap().set_len(size).unwrap();
    }
    let answered = scene.collect_all(&Bounds::before_the_answer());
    let hashed = |artifacts: &[ArtifactRecord]| {
        artifacts.iter().map(|artifact| artifact.sha256.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(hashed(&answered.artifacts), [false, false, true]);

    File::options().write(true).open(scene.path.join("changed")).unwrap().set_len(21 << 20).unwrap();
    let later = hash_late(scene.dir.as_fd(), &answered.artifacts, &Bounds::default()).unwrap();
    assert_eq!(hashed(&later), [false, true, true]);
    assert_eq!(later[1].sha256, scene.collect_all(&Bounds::default()).artifacts[1].sha256);
    assert_eq!(hash_late(scene.dir.as_fd(), &later, &Bounds::default()), None, "nothing is new");
}

const ZEROS_1_MIB: &str = "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58";

#[test]
fn a_bound_that_cuts_the_walk_is_named() {
    let scene = scene();
    for number in 0..50 {
        scene.write(format!("d/e/f/{number}"), "");
    }
    for (bounds, cut) in [
        (Bounds { entries: 10, ..Bounds::default() }, Cut::Entries),
        (Bounds { depth: 2, ..Bounds::default() }, Cut::Depth),
        (Bounds { path_bytes: 20, ..Bounds::default() }, Cut::PathBytes),
        (Bounds { walk_time: Duration::ZERO, ..Bounds::default() }, Cut::Time),
    ] {
        let manifest = scene.collect_all(&bounds);
        assert_eq!(manifest.notes.cuts, [cut].into(), "{bounds:?}");
        assert!(manifest.truncated);
        assert!(manifest.artifacts.len() < 50);
    }
    assert!(!scene.collect_all(&Bounds { depth: 3, ..Bounds::default() }).truncated);
}

/// More than what the kernel's clock for files may lag behind: here the distance of two events is what is tested.
const FAR_APART: Duration = Duration::from_millis(60);

#[test]
fn what_an_incomplete_snapshot_missed_is_not_called_created() {
    let scene = scene();
    scene.write("old", "");
    std::thread::sleep(FAR_APART);
    let nothing_seen = Bounds { entries: 0, ..Bounds::default() };
    let before = Snapshot::take(scene.dir.as_fd(), &nothing_seen);
    std::thread::sleep(FAR_APART);
    scene.write("new", "");
    let manifest = scene.collect(&before);
    assert_eq!(changes(&manifest), [("new", Change::Created), ("old", Change::Unchanged)]);
    assert_eq!(manifest.notes.snapshot_cuts, [Cut::Entries].into());
}

#[test]
fn a_chain_deeper_than_any_path_is_walked_to_the_bound() {
    let scene = scene();
    scene.write("file", "");
    let name = "d".repeat(255);
    let mut here = linux::tree::open_dir(&scene.path).unwrap();
    for _ in 0..100 {
        linux::tree::make_dir_beneath(here.as_fd(), OsStr::new(&name)).unwrap();
        here = linux::tree::open_dir_beneath(here.as_fd(), Path::new(&name)).unwrap();
    }
    let manifest = scene.collect_all(&Bounds::default());
    assert_eq!(paths(&manifest), ["file"]);
    assert!(manifest.notes.skipped.contains_key(&Skip::Unreadable), "{:?}", manifest.notes);
    linux::tree::empty_dir(scene.dir.as_fd()).unwrap();
}

/// Permissions do not bind root, whoever started the tests.
fn as_an_ordinary_user(test: impl FnOnce() + Send) {
    let ordinary = linux::identity::Identity { uid: 1000, gid: 1000 };
    linux::identity::in_a_thread_as(ordinary, test).unwrap();
}

#[test]
fn files_and_directories_without_permissions_are_noted_and_left_as_they_are() {
    as_an_ordinary_user(|| {
        let scene = scene();
        let file = scene.write("closed-file", "secret");
        scene.write("closed-directory/inside", "");
        let directory = scene.path.join("closed-directory");
        fs::set_permissions(&file, Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o000)).unwrap();
        let manifest = scene.collect_all(&Bounds::default());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0);
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0);
        fs::set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(paths(&manifest), ["closed-file"]);
        assert_eq!(manifest.artifacts[0].sha256, None);
        assert_eq!(manifest.notes.unhashed, [(Unhashed::Unreadable, 1)].into());
        assert_eq!(manifest.notes.skipped, [(Skip::Unreadable, 1)].into());
        assert!(manifest.truncated, "what lies in the directory is not listed");
    });
}

#[test]
fn a_workspace_that_was_closed_by_the_program_yields_an_empty_manifest() {
    as_an_ordinary_user(|| {
        let scene = scene();
        scene.write("file", "");
        fs::set_permissions(&scene.path, Permissions::from_mode(0o000)).unwrap();
        let manifest = scene.collect_all(&Bounds::default());
        fs::set_permissions(&scene.path, Permissions::from_mode(0o700)).unwrap();
        assert!(manifest.artifacts.len() <= 1, "{manifest:?}");
    });
}

#[test]
fn files_are_read_to_their_end() {
    let scene = scene();
    // Longer than one read, and not a multiple of it.
    let content = "0123456789".repeat(30_000);
    let mut file = File::create(scene.path.join("long")).unwrap();
    file.write_all(content.as_bytes()).unwrap();
    let manifest = scene.collect_all(&Bounds::default());
    let expected = <sha2::Sha256 as sha2::Digest>::digest(content.as_bytes());
    assert_eq!(manifest.artifacts[0].sha256, Some(expected.into()));
}
