//! How the file system that a path lies on is mounted.

use std::io;
use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};

/// Is it mounted `noexec`?
pub fn forbids_programs(path: &Path) -> io::Result<bool> {
    Ok(statvfs(path)?.flags().contains(FsFlags::ST_NOEXEC))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_said_of_each_mount_is_what_the_kernel_lists() {
        let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
        // The last one mounted at a place is the one that is seen there.
        let seen: BTreeMap<_, _> = table
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .map(|fields| (fields[1].to_owned(), fields[3].split(',').any(|option| option == "noexec")))
            .collect();
        let mut compared = 0;
        for (place, listed) in seen {
            // Out of reach, or covered by what is mounted above it.
            if let Ok(forbids) = forbids_programs(Path::new(&place)) {
                assert_eq!(forbids, listed, "{place}");
                compared += 1;
            }
        }
        assert!(compared > 0);
        assert!(forbids_programs(Path::new("/nowhere/to/be/found")).is_err());
    }
}
