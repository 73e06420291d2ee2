//! A directory as others may have filled it. A disk that is full is in tests/full_disk.rs.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::*;
use crate::tree::open_dir;

struct Scene {
    home: tempfile::TempDir,
    dir: OwnedFd,
}

/// The directory `dir`, and a file `outside` beside it that must survive everything.
fn scene() -> Scene {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("dir")).unwrap();
    fs::write(home.path().join("outside"), "outside").unwrap();
    let dir = open_dir(&home.path().join("dir")).unwrap();
    Scene { home, dir }
}

impl Scene {
    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("dir").join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = list(self.dir.as_fd())
            .unwrap()
            .into_iter()
            .map(|entry| entry.name.into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn read(&self, name: &str, at_most: u64) -> Result<Vec<u8>, ReadError> {
        read_regular(self.dir.as_fd(), OsStr::new(name), at_most)
    }

    fn replace(&self, name: &str, content: &str, sync: Sync) -> io::Result<()> {
        write_replacing(self.dir.as_fd(), OsStr::new("temporary"), OsStr::new(name), content.as_bytes(), sync)
    }

    /// One of everything that is not a regular file, the links all leading to regular files.
    fn fill_with_others(&self) -> Vec<&'static str> {
        symlink("../outside", self.path("link")).unwrap();
        symlink("nowhere", self.path("dangling")).unwrap();
        nix::unistd::mkfifo(&self.path("fifo"), Mode::S_IRWXU).unwrap();
        fs::create_dir(self.path("directory")).unwrap();
        drop(UnixListener::bind(self.path("socket")).unwrap());
        vec!["dangling", "directory", "fifo", "link", "socket"]
    }
}

#[test]
fn a_file_of_the_largest_size_is_read_and_a_larger_one_is_not() {
    let scene = scene();
    fs::write(scene.path("file"), "12345").unwrap();
    assert_eq!(scene.read("file", 5).unwrap(), b"12345");
    assert!(matches!(scene.read("file", 4), Err(ReadError::TooLarge { size: 5 })));
    fs::write(scene.path("empty"), "").unwrap();
    assert_eq!(scene.read("empty", 0).unwrap(), b"");
    // Sparse: reading it, or room for it, would be noticed.
    fs::File::create(scene.path("huge")).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(scene.read("huge", 1 << 20), Err(ReadError::TooLarge { size }) if size == 1 << 40));
}

// AR-14
/// Files of /proc claim to be empty.
#[test]
fn a_file_that_is_longer_than_it_says_is_read_no_further_than_allowed() {
    let proc = open_dir(Path::new(&format!("/proc/{}", std::process::id()))).unwrap();
    assert!(matches!(
        read_regular(proc.as_fd(), OsStr::new("status"), 10),
        Err(ReadError::TooLarge { size: 11 })
    ));
    assert!(read_regular(proc.as_fd(), OsStr::new("status"), 1 << 20).unwrap().starts_with(b"Name:"));
}

#[test]
fn nothing_but_a_regular_file_is_read_and_nothing_blocks() {
    let scene = scene();
    for name in scene.fill_with_others() {
        let refused = scene.read(name, 100);
        assert!(matches!(refused, Err(ReadError::NotRegular)), "{name}: {refused:?}");
    }
    assert!(matches!(scene.read("absent", 100), Err(ReadError::Missing)));
    let devices = open_dir(Path::new("/dev")).unwrap();
    let refused = read_regular(devices.as_fd(), OsStr::new("zero"), 100);
    assert!(matches!(refused, Err(ReadError::NotRegular)), "{refused:?}");
}

#[test]
fn a_name_that_leads_elsewhere_is_refused_everywhere() {
    let scene = scene();
    let dir = scene.dir.as_fd();
    fs::write(scene.path("file"), "kept").unwrap();
    for name in ["../outside", "..", ".", "", "/etc/passwd", "x/../file", "file/"] {
        let name = OsStr::new(name);
        let invalid = |result: io::Result<()>| {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?}");
        };
        let Err(ReadError::Failed { source }) = read_regular(dir, name, 100) else { panic!("{name:?}") };
        invalid(Err(source));
        invalid(write_new(dir, name, b"x"));
        invalid(write_replacing(dir, name, OsStr::new("file"), b"x", Sync::PageCache));
        invalid(write_replacing(dir, OsStr::new("temporary"), name, b"x", Sync::PageCache));
        invalid(rename(dir, name, dir, OsStr::new("other")));
        invalid(rename(dir, OsStr::new("file"), dir, name));
        invalid(remove(dir, name).map(drop));
    }
    assert_eq!(scene.names(), ["file"]);
    assert_eq!(fs::read(scene.path("file")).unwrap(), b"kept");
}

#[test]
fn a_new_file_is_the_owners_alone_and_takes_the_place_of_nothing() {
    let scene = scene();
    let write = |name: &str| write_new(scene.dir.as_fd(), OsStr::new(name), b"new");
    write("file").unwrap();
    assert_eq!(fs::read(scene.path("file")).unwrap(), b"new");
    assert_eq!(fs::metadata(scene.path("file")).unwrap().permissions().mode() & 0o7777, 0o600);
    for name in scene.fill_with_others().into_iter().chain(["file"]) {
        assert_eq!(write(name).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{name}");
    }
    assert_eq!(fs::read(scene.home.path().join("outside")).unwrap(), b"outside");
    assert!(!scene.path("nowhere").exists());
}

#[test]
fn replacing_leaves_the_new_content_and_no_temporary_file() {
    let scene = scene();
    for (content, sync) in [("first", Sync::PageCache), ("second", Sync::Disk), ("third", Sync::PageCache)] {
        scene.replace("file", content, sync).unwrap();
        assert_eq!(fs::read(scene.path("file")).unwrap(), content.as_bytes());
        assert_eq!(scene.names(), ["file"]);
    }
}

/// Not written over: it gets a file of its own, which also whoever holds the old one open can tell.
#[test]
fn what_is_replaced_is_another_file() {
    let scene = scene();
    scene.replace("file", "old", Sync::PageCache).unwrap();
    let old = fs::File::open(scene.path("file")).unwrap();
    scene.replace("file", "new", Sync::PageCache).unwrap();
    assert_eq!(io::read_to_string(old).unwrap(), "old");
}

#[test]
fn a_stale_temporary_file_is_replaced_whatever_it_is() {
    let scene = scene();
    let makers: [fn(&Path); 3] = [
        |path| fs::write(path, "a longer text than the new one").unwrap(),
        |path| symlink("../outside", path).unwrap(),
        |path| nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap(),
    ];
    for make in makers {
        make(&scene.path("temporary"));
        scene.replace("file", "new", Sync::PageCache).unwrap();
        assert_eq!(scene.read("file", 100).unwrap(), b"new");
        assert_eq!(scene.names(), ["file"]);
    }
    assert_eq!(fs::read(scene.home.path().join("outside")).unwrap(), b"outside");
}

#[test]
fn a_link_or_fifo_in_the_place_of_the_file_is_replaced_and_not_written_through() {
    let scene = scene();
    scene.fill_with_others();
    for name in ["link", "fifo"] {
        scene.replace(name, "new", Sync::PageCache).unwrap();
        assert_eq!(scene.read(name, 100).unwrap(), b"new");
    }
    assert_eq!(fs::read(scene.home.path().join("outside")).unwrap(), b"outside");
}

#[test]
fn a_directory_in_the_way_is_an_error_and_leaves_nothing_behind() {
    let scene = scene();
    fs::create_dir(scene.path("directory")).unwrap();
    for sync in [Sync::PageCache, Sync::Disk] {
        let refused = scene.replace("directory", "new", sync).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::IsADirectory);
        assert_eq!(scene.names(), ["directory"]);
    }
    fs::create_dir(scene.path("temporary")).unwrap();
    assert_eq!(
        scene.replace("file", "new", Sync::PageCache).unwrap_err().kind(),
        io::ErrorKind::IsADirectory
    );
    assert_eq!(scene.names(), ["directory", "temporary"]);
}

#[test]
fn a_file_is_not_its_own_temporary_file() {
    let scene = scene();
    fs::write(scene.path("temporary"), "kept").unwrap();
    let refused = scene.replace("temporary", "new", Sync::PageCache).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(fs::read(scene.path("temporary")).unwrap(), b"kept");
}

#[test]
fn a_file_moves_to_another_directory_and_replaces_what_is_there() {
    let scene = scene();
    fs::create_dir(scene.path("aside")).unwrap();
    let aside = open_dir(&scene.path("aside")).unwrap();
    fs::write(scene.path("file"), "new").unwrap();
    fs::write(scene.path("aside/file"), "old").unwrap();
    let name = OsStr::new("file");
    rename(scene.dir.as_fd(), name, aside.as_fd(), name).unwrap();
    assert_eq!(fs::read(scene.path("aside/file")).unwrap(), b"new");
    let gone = rename(scene.dir.as_fd(), name, aside.as_fd(), name).unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotFound);
}

#[test]
fn what_is_removed_is_the_name_and_a_missing_one_is_no_error() {
    let scene = scene();
    scene.fill_with_others();
    fs::write(scene.path("file"), "").unwrap();
    let remove = |name: &str| remove(scene.dir.as_fd(), OsStr::new(name));
    for name in ["file", "link", "dangling", "fifo", "socket"] {
        assert!(remove(name).unwrap(), "{name}");
        assert!(!remove(name).unwrap(), "{name}");
    }
    assert_eq!(remove("directory").unwrap_err().kind(), io::ErrorKind::IsADirectory);
    assert_eq!(scene.names(), ["directory"]);
    assert!(scene.home.path().join("outside").exists());
}

#[test]
fn a_listing_tells_size_age_and_kind_and_follows_nothing() {
    let scene = scene();
    let others = scene.fill_with_others();
    fs::write(scene.path("file"), "12345").unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 5_000);
    fs::File::options().write(true).open(scene.path("file")).unwrap().set_modified(old).unwrap();
    let entries = list(scene.dir.as_fd()).unwrap();
    assert_eq!(entries.len(), others.len() + 1);
    for entry in entries {
        if entry.name == "file" {
            let expected = Entry { name: "file".into(), size: 5, modified: old, kind: Kind::Regular };
            assert_eq!(entry, expected);
        } else {
            assert_eq!(entry.kind, Kind::Other, "{entry:?}");
            let itself = fs::symlink_metadata(scene.path(entry.name.to_str().unwrap())).unwrap();
            assert_eq!(entry.size, itself.size(), "{entry:?}");
        }
    }
    // A second look begins at the beginning again, and a descriptor made for reading serves as well.
    assert_eq!(scene.names().len(), others.len() + 1);
    let opened = fs::File::open(format!("/proc/self/fd/{}", scene.dir.as_raw_fd())).unwrap();
    assert_eq!(list(opened.as_fd()).unwrap().len(), others.len() + 1);
}

#[test]
fn what_vanishes_during_a_listing_is_left_out() {
    let scene = scene();
    let path = scene.path("");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for number in 0..50 {
                    fs::write(path.join(number.to_string()), "").unwrap();
                }
                for number in 0..50 {
                    fs::remove_file(path.join(number.to_string())).unwrap();
                }
            }
        });
        let listed: Result<Vec<_>, _> = (0..500).map(|_| list(scene.dir.as_fd())).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        listed.unwrap();
    });
}

#[test]
fn what_must_not_replace_anything_does_not() {
    let scene = scene();
    let rename = |from: &str, to: &str| rename_to_new(scene.dir.as_fd(), OsStr::new(from), OsStr::new(to));
    drop(create(scene.dir.as_fd(), OsStr::new("new")).unwrap());
    fs::write(scene.path("there"), "there").unwrap();
    symlink(scene.home.path().join("outside"), scene.path("link")).unwrap();
    symlink("nowhere", scene.path("dangling")).unwrap();
    fs::create_dir(scene.path("directory")).unwrap();
    for name in ["there", "link", "dangling", "directory"] {
        assert_eq!(rename("new", name).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{name}");
        assert_eq!(
            create(scene.dir.as_fd(), OsStr::new(name)).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists,
            "{name}"
        );
    }
    for name in ["../outside", "directory/inside", "..", "", "/absolute"] {
        assert!(rename("new", name).is_err() && rename(name, "free").is_err(), "{name}");
        assert!(create(scene.dir.as_fd(), OsStr::new(name)).is_err(), "{name}");
    }
    rename("new", "free").unwrap();
    assert_eq!(scene.names(), ["dangling", "directory", "free", "link", "there"]);
    assert_eq!(fs::read(scene.home.path().join("outside")).unwrap(), b"outside");
}
