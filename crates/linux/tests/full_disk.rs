//! A file that cannot be written to its end, made with the limit of file size: the kernel takes the first bytes and refuses
//! the rest, as a full disk does. A program of its own, because the limit is the process's; it says nothing while that is in
//! force, because its own output may be a file.

#![allow(clippy::unwrap_used, reason = "a test: a surprise ends it")]

use std::ffi::OsStr;
use std::os::fd::AsFd;

use linux::files::{Sync, write_new, write_replacing};
use linux::rlimits::{self, Rlimit};
use linux::{identity, tree};

fn main() {
    of_a_file_that_could_not_be_written_to_its_end_nothing_stays();
}

fn of_a_file_that_could_not_be_written_to_its_end_nothing_stays() {
    // Otherwise the refusal would come as a signal, SIGXFSZ, which ends this process.
    identity::block_signals().unwrap();
    rlimits::set(Rlimit::FileSize(4096)).unwrap();
    let home = tempfile::tempdir().unwrap();
    let dir = tree::open_dir(home.path()).unwrap();
    let [temporary, name] = ["temporary", "file"].map(OsStr::new);
    let names = || std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name());

    let refused = write_new(dir.as_fd(), name, &[b'x'; 4097]).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::FileTooLarge);
    assert_eq!(names().count(), 0);

    write_new(dir.as_fd(), name, &[b'x'; 4096]).unwrap();
    for sync in [Sync::PageCache, Sync::Disk] {
        let refused = write_replacing(dir.as_fd(), temporary, name, &[b'y'; 4097], sync).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::FileTooLarge);
    }
    assert_eq!(names().collect::<Vec<_>>(), ["file"]);
    assert_eq!(std::fs::read(home.path().join("file")).unwrap(), [b'x'; 4096]);
}
