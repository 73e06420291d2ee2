//! Files that are as they were listed, and files that are not.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{Cursor, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use sandbox::limits::Bytes;

use super::*;
use crate::artifacts::{self, ArtifactRecord, Bounds, Snapshot};

/// Something done to a file.
type Deed = fn(&Path);

struct Scene {
    home: tempfile::TempDir,
    dir: OwnedFd,
}

fn scene() -> Scene {
    let home = tempfile::tempdir().unwrap();
    let dir = linux::tree::open_dir(home.path()).unwrap();
    Scene { home, dir }
}

impl Scene {
    fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.home.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn listed(&self, bounds: &Bounds) -> Vec<ArtifactRecord> {
        artifacts::collect(self.dir.as_fd(), &Snapshot::of_nothing(), bounds).artifacts
    }

    /// The only file there is.
    fn one(&self) -> ArtifactRecord {
        self.listed(&Bounds::default()).pop().unwrap()
    }

    fn check(&self, listed: &ArtifactRecord) -> Result<Checked, Unavailable> {
        check(self.dir.as_fd(), listed, 0..listed.size.0, Keep::Open)
    }

    fn archive(&self) -> (Archive, Sha256Digest) {
        let mut listing = Listing::default();
        for listed in self.listed(&Bounds::default()) {
            let sha256 = self.check(&listed).unwrap().sha256;
            listing.add(listed, sha256);
        }
        let identity = listing.identity();
        (Archive::new(Some(self.dir.try_clone().unwrap()), listing).unwrap(), identity)
    }
}

fn drain(mut pieces: impl Pieces) -> Result<Vec<u8>, (Vec<u8>, Unavailable)> {
    let mut all = Vec::new();
    loop {
        match pieces.next() {
            Ok(Some(piece)) => all.extend(piece),
            Ok(None) => return Ok(all),
            Err(error) => return Err((all, error)),
        }
    }
}

fn section(checked: Checked) -> Section {
    match checked.content {
        Content::Open(section) => section,
        Content::InMemory(_) => panic!("it was to stay open"),
    }
}

/// Larger than a few pieces, and no two pieces alike.
fn large() -> Vec<u8> {
    (0..150_000_u32).flat_map(|number| number.to_be_bytes()).collect()
}

#[test]
fn a_file_that_is_as_listed_is_given_whole_or_in_part_or_from_memory() {
    let scene = scene();
    let content = large();
    scene.write("out/a.bin", &content);
    let listed = scene.one();
    for part in [0..content.len(), 0..1, 131_071..131_073, 5..500_000, content.len() - 1..content.len(), 7..7]
    {
        let bytes = part.start as u64..part.end as u64;
        let checked = check(scene.dir.as_fd(), &listed, bytes, Keep::Open).unwrap();
        assert_eq!(Some(checked.sha256), listed.sha256);
        assert!(drain(section(checked)).unwrap() == content[part.clone()], "{part:?}");
    }
    match check(scene.dir.as_fd(), &listed, 0..3, Keep::InMemory).unwrap().content {
        Content::InMemory(bytes) => assert!(bytes == content),
        Content::Open(_) => panic!("it was to be kept"),
    }
}

#[test]
fn a_file_that_is_no_longer_as_listed_is_not_given() {
    let deeds: [(&str, Deed); 9] = [
        ("other content of the same size", |path| fs::write(path, "4321").unwrap()),
        ("shorter", |path| fs::write(path, "123").unwrap()),
        ("longer", |path| fs::write(path, "12345").unwrap()),
        ("gone", |path| fs::remove_file(path).unwrap()),
        ("a link to the same content", |path| {
            fs::rename(path, path.with_extension("moved")).unwrap();
            symlink(path.with_extension("moved"), path).unwrap();
        }),
        ("a link to a file outside", |path| {
            fs::remove_file(path).unwrap();
            symlink("/etc/passwd", path).unwrap();
        }),
        ("a directory", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("a socket", |path| {
            fs::remove_file(path).unwrap();
            drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        }),
        ("beneath a link", |path| {
            let dir = path.parent().unwrap();
            fs::rename(dir, dir.with_extension("moved")).unwrap();
            symlink(dir.with_extension("moved"), dir).unwrap();
        }),
    ];
    for (what, deed) in deeds {
        let scene = scene();
        scene.write("out/a", "1234");
        let listed = scene.one();
        deed(&scene.home.path().join("out/a"));
        for keep in [Keep::Open, Keep::InMemory] {
            let checked = check(scene.dir.as_fd(), &listed, 0..4, keep);
            assert!(matches!(checked, Err(Unavailable::Changed)), "{what}: {checked:?}");
        }
    }
}

#[test]
fn the_same_content_in_another_file_is_as_good_where_there_is_a_digest() {
    let scene = scene();
    scene.write("a", "1234");
    let listed = scene.one();
    scene.write("b", "1234");
    fs::rename(scene.home.path().join("b"), scene.home.path().join("a")).unwrap();
    assert!(scene.check(&listed).is_ok());
}

#[test]
fn a_file_without_a_digest_must_be_the_very_same() {
    let scene = scene();
    scene.write("a", "1234");
    let bounds = Bounds { hash_bytes: 0, ..Bounds::default() };
    let listed = scene.listed(&bounds).pop().unwrap();
    assert_eq!(listed.sha256, None);
    assert_eq!(Some(scene.check(&listed).unwrap().sha256), scene.one().sha256);
    scene.write("b", "1234");
    fs::rename(scene.home.path().join("b"), scene.home.path().join("a")).unwrap();
    assert!(matches!(scene.check(&listed), Err(Unavailable::Changed)));
}

#[test]
fn the_last_piece_of_a_file_that_changes_while_it_is_sent_is_held_back() {
    let deeds: [fn(&Path, &[u8]); 2] = [
        |path, content| {
            let mut changed = content.to_vec();
            changed[500_000] ^= 1;
            fs::write(path, changed).unwrap();
        },
        |path, content| fs::write(path, &content[..300_000]).unwrap(),
    ];
    for deed in deeds {
        let scene = scene();
        let content = large();
        scene.write("a", &content);
        let mut section = section(scene.check(&scene.one()).unwrap());
        let first = section.next().unwrap().unwrap();
        deed(&scene.home.path().join("a"), &content);
        let (rest, error) = drain(section).unwrap_err();
        assert!(first.len() + rest.len() < content.len());
        assert!(matches!(error, Unavailable::Changed));
    }
}

#[test]
fn a_file_that_is_removed_while_it_is_sent_is_sent_to_its_end() {
    let scene = scene();
    let content = large();
    scene.write("a", &content);
    let section = section(scene.check(&scene.one()).unwrap());
    fs::remove_file(scene.home.path().join("a")).unwrap();
    assert!(drain(section).unwrap() == content);
}

/// Path and content of every file, each of which is an extractor's to own.
fn entries(archive: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let tar = zstd::stream::decode_all(Cursor::new(archive)).unwrap();
    assert_eq!(tar.len() % 512, 0);
    let mut archive = tar::Archive::new(Cursor::new(tar));
    archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.username(), header.groupname()), (Ok(Some("")), Ok(Some(""))));
            assert_eq!((header.mode().unwrap(), header.mtime().unwrap()), (0o644, 0));
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            let path = entry.path_bytes().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (path, content)
        })
        .collect()
}

#[test]
fn an_archive_holds_every_file_under_its_own_name() {
    let scene = scene();
    let long = format!("{}/{}", ["d".repeat(200), "e".repeat(200)].join("/"), "f".repeat(255));
    let fits_with_a_prefix = format!("{}/{}", "p".repeat(120), "q".repeat(90));
    let names: Vec<Vec<u8>> = [
        b"empty".to_vec(),
        b"out/a b\n\"c\\.txt".to_vec(),
        "gr\u{f6}\u{df}e-🙂".into(),
        b"not \xff utf-8".to_vec(),
        b"-rf".to_vec(),
        fits_with_a_prefix.into_bytes(),
        long.into_bytes(),
    ]
    .into();
    let mut expected = Vec::new();
    for name in names {
        let content = if name == b"empty" { Vec::new() } else { [name.as_slice(), &large()].concat() };
        scene.write(OsStr::from_bytes(&name), &content);
        expected.push((name, content));
    }
    scene.write("block", [7; 512]);
    expected.push((b"block".to_vec(), vec![7; 512]));
    expected.sort();
    let found = entries(&drain(scene.archive().0).unwrap());
    assert!(found == expected, "{:?}", found.iter().map(|(path, ..)| path).collect::<Vec<_>>());
}

#[test]
fn the_same_files_make_the_same_archive_wherever_and_whenever() {
    let make = |names: [&str; 3], mode| {
        let scene = scene();
        for name in names {
            scene.write(name, [name.as_bytes(), &large()].concat());
            fs::set_permissions(scene.home.path().join(name), Permissions::from_mode(mode)).unwrap();
        }
        let (archive, identity) = scene.archive();
        (drain(archive).unwrap(), identity)
    };
    let one = make(["a", "b/c", "b.d"], 0o600);
    assert!(one == make(["b.d", "b/c", "a"], 0o755));
    let other = make(["a", "b/c", "b.e"], 0o600);
    assert!(one.0 != other.0 && one.1 != other.1);
}

#[test]
fn an_archive_of_nothing_is_an_empty_one() {
    let archive = Archive::new(None, Listing::default()).unwrap();
    assert!(entries(&drain(archive).unwrap()).is_empty());
}

#[test]
fn an_archive_of_a_file_that_changes_meanwhile_never_ends_well() {
    let deeds: [Deed; 3] = [
        |home| fs::write(home.join("z"), "4321").unwrap(),
        |home| fs::remove_file(home.join("z")).unwrap(),
        |home| {
            fs::remove_file(home.join("z")).unwrap();
            symlink("/etc/passwd", home.join("z")).unwrap();
        },
    ];
    for deed in deeds {
        let scene = scene();
        scene.write("a", large());
        scene.write("z", "1234");
        let (archive, _) = scene.archive();
        deed(scene.home.path());
        let (sent, error) = drain(archive).unwrap_err();
        assert!(matches!(error, Unavailable::Changed));
        assert!(zstd::stream::decode_all(Cursor::new(sent)).is_err(), "it looks whole");
    }
}

#[test]
fn a_large_hole_is_packed_without_holding_it() {
    let scene = scene();
    let file = fs::File::create(scene.home.path().join("holes")).unwrap();
    file.set_len(24 << 20).unwrap();
    let listed = scene.one();
    assert_eq!(listed.size, Bytes(24 << 20));
    let mut listing = Listing::default();
    listing.add(listed.clone(), listed.sha256.unwrap());
    let mut archive = Archive::new(Some(scene.dir.try_clone().unwrap()), listing).unwrap();
    let mut total = 0;
    while let Some(piece) = archive.next().unwrap() {
        assert!(piece.len() <= 1 << 20, "{}", piece.len());
        total += piece.len();
    }
    assert!(total < 1 << 20);
}
