//! Trees as hostile code leaves them. Where permissions matter a test runs as an ordinary user, whoever started it: they do
//! not bind root.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::*;
use crate::identity::{Identity, in_a_thread_as};

struct Scene {
    home: tempfile::TempDir,
    top: OwnedFd,
}

/// A directory `tree` to be hostile in, and a file `outside/kept` beside it that must survive everything.
fn scene() -> Scene {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("tree")).unwrap();
    fs::create_dir(home.path().join("outside")).unwrap();
    fs::write(home.path().join("outside/kept"), "kept").unwrap();
    let top = open_dir(home.path()).unwrap();
    Scene { home, top }
}

impl Scene {
    fn tree(&self) -> std::path::PathBuf {
        self.home.path().join("tree")
    }

    fn remove(&self) -> Result<Removed, RemoveError> {
        remove_tree(self.top.as_fd(), OsStr::new("tree"))
    }

    fn assert_gone_and_outside_untouched(&self) {
        assert!(fs::symlink_metadata(self.tree()).is_err(), "the tree is still there");
        assert_eq!(fs::read(self.home.path().join("outside/kept")).unwrap(), b"kept");
    }
}

fn as_an_ordinary_user(test: impl FnOnce() + Send) {
    in_a_thread_as(Identity { uid: 1000, gid: 1000 }, test).unwrap();
}

/// Made one relative step at a time: the path of the deepest directory is far longer than PATH_MAX.
fn dig(start: &Path, depth: usize, name: &str) {
    let mut here = open_dir(start).unwrap();
    for _ in 0..depth {
        nix::sys::stat::mkdirat(&here, name, Mode::S_IRWXU).unwrap();
        here = nix::fcntl::openat(&here, name, DIRECTORY, Mode::empty()).unwrap();
    }
    let flags = OFlag::O_CREAT | OFlag::O_WRONLY;
    nix::fcntl::openat(&here, "bottom", flags, Mode::S_IRUSR).unwrap();
}

#[test]
fn a_chain_of_100_000_directories_is_removed() {
    let scene = scene();
    dig(&scene.tree(), 100_000, "d");
    assert_eq!(scene.remove().unwrap().entries, 100_002);
    scene.assert_gone_and_outside_untouched();
}

#[test]
fn a_removal_holds_a_handful_of_descriptors_however_deep_the_tree() {
    let scene = scene();
    dig(&scene.tree(), 500, "d");
    // Every question "go on?" is asked from the middle of the work.
    let most = std::cell::Cell::new(0);
    let before = highest_descriptor();
    remove_tree_while(scene.top.as_fd(), OsStr::new("tree"), &|| {
        most.set(most.get().max(highest_descriptor()));
        true
    })
    .unwrap();
    // Other tests open descriptors in this process too, but none of them anywhere near 500.
    assert!(most.get() < before + 200, "{} descriptors, {before} before", most.get());
}

fn highest_descriptor() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn directories_without_permissions_are_removed_at_every_depth() {
    as_an_ordinary_user(|| {
        let scene = scene();
        let deep = scene.tree().join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "x").unwrap();
        for closed in ["a/b/c", "a/b", "a", ""] {
            fs::set_permissions(scene.tree().join(closed), Permissions::from_mode(0o000)).unwrap();
        }
        assert_eq!(scene.remove().unwrap().entries, 5);
        scene.assert_gone_and_outside_untouched();
    });
}

#[test]
fn symbolic_links_are_removed_as_links() {
    let scene = scene();
    symlink("../outside", scene.tree().join("directory")).unwrap();
    symlink(scene.home.path().join("outside/kept"), scene.tree().join("file")).unwrap();
    symlink("loop", scene.tree().join("loop")).unwrap();
    fs::create_dir(scene.tree().join("sub")).unwrap();
    symlink("../../outside", scene.tree().join("sub/directory")).unwrap();
    assert_eq!(scene.remove().unwrap().entries, 6);
    scene.assert_gone_and_outside_untouched();
}

#[test]
fn a_tree_that_is_itself_a_symbolic_link_is_removed_as_the_link() {
    let scene = scene();
    fs::remove_dir(scene.tree()).unwrap();
    symlink("outside", scene.tree()).unwrap();
    assert_eq!(scene.remove().unwrap().entries, 1);
    scene.assert_gone_and_outside_untouched();
}

#[test]
fn fifos_sockets_and_hostile_names_are_removed() {
    let scene = scene();
    nix::unistd::mkfifo(&scene.tree().join("fifo"), Mode::S_IRWXU).unwrap();
    UnixListener::bind(scene.tree().join("socket")).unwrap();
    for name in [&b"new\nline"[..], b"\xff\xfe.bin", b"-rf", b" ", b"..foo", &[b'n'; 255]] {
        fs::write(scene.tree().join(OsStr::from_bytes(name)), "").unwrap();
    }
    assert_eq!(scene.remove().unwrap().entries, 9);
    scene.assert_gone_and_outside_untouched();
}

#[test]
fn many_entries_and_full_subdirectories_are_removed() {
    let scene = scene();
    for number in 0..20_000 {
        File::create(scene.tree().join(format!("file-{number}"))).unwrap();
    }
    for number in 0..500 {
        let inner = scene.tree().join(format!("wide/{number}/inner"));
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("file"), "").unwrap();
    }
    assert_eq!(scene.remove().unwrap().entries, 20_000 + 1 + 500 * 3 + 1);
    scene.assert_gone_and_outside_untouched();
}

#[test]
fn a_tree_that_already_uses_the_names_of_the_removal_is_removed() {
    let scene = scene();
    fs::write(scene.tree().join("hoisted-0"), "").unwrap();
    fs::create_dir_all(scene.tree().join("hoisted-1/full/of")).unwrap();
    symlink("../outside", scene.tree().join("hoisted-2")).unwrap();
    fs::create_dir(scene.tree().join("hoisted-3")).unwrap();
    fs::create_dir_all(scene.tree().join("a/b/c/d/e")).unwrap();
    scene.remove().unwrap();
    scene.assert_gone_and_outside_untouched();
}

#[test]
fn what_is_not_there_counts_as_removed() {
    let scene = scene();
    assert_eq!(remove_tree(scene.top.as_fd(), OsStr::new("absent")).unwrap().entries, 0);
}

#[test]
fn a_name_that_leads_elsewhere_is_refused() {
    let scene = scene();
    for name in ["..", ".", "", "tree/..", "/", "outside/kept", "tree/"] {
        let refused = remove_tree(scene.top.as_fd(), OsStr::new(name));
        assert!(matches!(refused, Err(RemoveError::Left { removed: 0, .. })), "{name:?}: {refused:?}");
        assert!(make_dir_beneath(scene.top.as_fd(), OsStr::new(name)).is_err(), "{name:?}");
    }
    assert!(scene.tree().exists() && scene.home.path().join("outside/kept").exists());
}

#[test]
fn a_removal_that_is_told_to_stop_says_so() {
    let scene = scene();
    for number in 0..10 {
        File::create(scene.tree().join(number.to_string())).unwrap();
    }
    let asked = std::cell::Cell::new(0);
    let stopped = remove_tree_while(scene.top.as_fd(), OsStr::new("tree"), &|| {
        asked.set(asked.get() + 1);
        asked.get() <= 3
    });
    assert!(matches!(stopped, Err(RemoveError::Stopped { removed: 3 })), "{stopped:?}");
}

/// An entry that nobody but root can remove, made without root: a directory of somebody else's is not to be had, but the
/// parent of the tree can be closed, so that only the tree's own directory stays.
#[test]
fn one_entry_that_stays_does_not_protect_the_others() {
    as_an_ordinary_user(|| {
        let scene = scene();
        fs::create_dir_all(scene.tree().join("a/b")).unwrap();
        fs::write(scene.tree().join("file"), "").unwrap();
        fs::set_permissions(scene.home.path(), Permissions::from_mode(0o500)).unwrap();
        let partly = scene.remove();
        fs::set_permissions(scene.home.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(matches!(partly, Err(RemoveError::Left { removed: 3, left: 1, .. })), "{partly:?}");
        assert_eq!(fs::read_dir(scene.tree()).unwrap().count(), 0);
    });
}

#[test]
fn an_emptied_directory_stays_and_is_open_to_its_owner_again() {
    let scene = scene();
    fs::create_dir_all(scene.tree().join("a/b")).unwrap();
    fs::set_permissions(scene.tree(), Permissions::from_mode(0o000)).unwrap();
    let tree = open_dir(&scene.tree()).unwrap();
    assert_eq!(empty_dir(tree.as_fd()).unwrap().entries, 2);
    assert_eq!(fs::read_dir(scene.tree()).unwrap().count(), 0);
    fs::write(scene.tree().join("next"), "").unwrap();
}

#[test]
fn a_regular_file_beneath_is_read() {
    let scene = scene();
    let mut content = String::new();
    let path = Path::new("tree/../outside/kept");
    open_beneath(scene.top.as_fd(), path).unwrap().read_to_string(&mut content).unwrap();
    assert_eq!(content, "kept");
}

#[test]
fn nothing_outside_is_opened() {
    let scene = scene();
    symlink("../outside", scene.tree().join("directory")).unwrap();
    symlink("../outside/kept", scene.tree().join("file")).unwrap();
    fs::write(scene.tree().join("inside"), "").unwrap();
    symlink("inside", scene.tree().join("also-inside")).unwrap();
    let tree = open_dir(&scene.tree()).unwrap();
    let open = |path: &str| open_beneath(tree.as_fd(), Path::new(path)).map(drop);
    for path in ["../outside/kept", "/etc/passwd", "a/../../outside/kept", "directory/kept", "inside/../.."] {
        let refused = open(path);
        assert!(
            matches!(refused, Err(OpenError::Outside { .. } | OpenError::Missing { .. })),
            "{path}: {refused:?}"
        );
    }
    assert!(matches!(open("/etc/passwd"), Err(OpenError::Outside { .. })));
    for path in ["file", "also-inside", "."] {
        assert!(matches!(open(path), Err(OpenError::NotRegular { .. })), "{path}: {:?}", open(path));
    }
    for path in ["absent", "", "inside/x", "nul\0", &"n".repeat(256)] {
        assert!(matches!(open(path), Err(OpenError::Missing { .. })), "{path}: {:?}", open(path));
    }
}

#[test]
fn a_fifo_neither_blocks_nor_opens() {
    let scene = scene();
    nix::unistd::mkfifo(&scene.tree().join("fifo"), Mode::S_IRWXU).unwrap();
    let refused = open_beneath(scene.top.as_fd(), Path::new("tree/fifo"));
    assert!(matches!(refused, Err(OpenError::NotRegular { .. })), "{refused:?}");
}

#[test]
fn a_directory_that_is_a_symbolic_link_is_not_opened() {
    let scene = scene();
    symlink("outside", scene.home.path().join("link")).unwrap();
    assert!(open_dir(&scene.home.path().join("link")).is_err());
    assert!(open_dir_beneath(scene.top.as_fd(), Path::new("link")).is_err());
    assert!(open_dir_beneath(scene.top.as_fd(), Path::new("outside")).is_ok());
}

#[test]
fn the_writability_probe_leaves_nothing() {
    let scene = scene();
    let tree = open_dir(&scene.tree()).unwrap();
    probe_writable(tree.as_fd(), OsStr::new("probe")).unwrap();
    assert_eq!(fs::read_dir(scene.tree()).unwrap().count(), 0);
}

#[test]
fn a_directory_is_empty_when_it_has_no_entry_of_any_kind() {
    let scene = scene();
    let tree = open_dir(&scene.tree()).unwrap();
    assert!(is_empty(tree.as_fd()).unwrap());
    for make in [
        |path: &Path| fs::write(path, "").unwrap(),
        |path: &Path| fs::create_dir(path).unwrap(),
        |path: &Path| symlink("nowhere", path).unwrap(),
    ] {
        let entry = scene.tree().join(".hidden");
        make(&entry);
        assert!(!is_empty(tree.as_fd()).unwrap());
        fs::remove_file(&entry).or_else(|_| fs::remove_dir(&entry)).unwrap();
    }
}
