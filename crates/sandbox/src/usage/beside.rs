//! Memory of a run that no process of it maps: files in its tmpfs, and what waits in its sockets and pipes.
//!
//! Everything is read from outside, through the sandbox's init. Its root and its network namespace are what the program sees
//! as its own and cannot change: `/` is read-only, and nothing inside may mount, or enter other namespaces. The places are
//! looked up anew each time (2 us each) instead of being held open: a descriptor would keep the tmpfs, and all that lies in
//! it, alive after the sandbox is dead.

use std::path::Path;

use linux::tmpfs;

use super::process::Mapped;
use crate::paths::CODE_DIR;

/// The sandbox's own tmpfs that a program can write to.
const TMPFS: [&str; 3] = ["/tmp", "/dev/shm", CODE_DIR];

/// What an inode of a tmpfs takes with its name (measured on Linux 6.18: 957 bytes with a name of 8, 1468 with one of 250).
const INODE: u64 = 1536;

/// As many sockets are honest: an event loop has two, a child process of node three pairs.
const FREE_SOCKETS: u64 = 128;

/// What can wait in a socket with the kernel's usual buffer of 212992 bytes (measured on Linux 6.18: in a stream 229 KB, in
/// datagrams 341 KB, in datagrams with a buffer twice as large 616 KB).
const SOCKET: u64 = 640 << 10;

/// As many places for descriptors are honest, all processes together: 64 is the least that a process has.
const FREE_DESCRIPTORS: u64 = 8192;

/// Half of a full pipe, which has two ends. Beyond the user's share (`pipe-user-pages-soft`) a pipe has two pages.
const DESCRIPTOR: u64 = 4096;

/// What is held beside the processes, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Beside {
    /// Content of files in tmpfs: processes may map it, too.
    pub(super) files: u64,
    /// The kernel's own: inodes, buffers.
    pub(super) kernel: u64,
    /// Of the tmpfs.
    pub(super) devices: Vec<(u64, u64)>,
}

impl Beside {
    /// Never fails: a sandbox that is gone holds nothing.
    pub(super) fn look(init: u32, programs: impl Iterator<Item = Mapped>) -> Self {
        let mut beside = Self::default();
        for place in TMPFS {
            if let Ok(tmpfs) = tmpfs::look(Path::new(&format!("/proc/{init}/root{place}"))) {
                beside.files += tmpfs.bytes;
                beside.kernel += tmpfs.inodes * INODE;
                beside.devices.push(tmpfs.device);
            }
        }
        beside.kernel += sockets(init);
        let descriptors: u64 = programs.map(|mapped| mapped.descriptors).sum();
        beside.kernel += descriptors.saturating_sub(FREE_DESCRIPTORS) * DESCRIPTOR;
        beside
    }
}

/// What waits in sockets: of those that the kernel tells nothing of, as much as can.
fn sockets(init: u32) -> u64 {
    // Without IPv6 there is no sockstat6; without the sandbox, nothing at all.
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{init}/net/{file}")).unwrap_or_default();
    let count = read("sockstat");
    let silent = number_after(&count, "sockets: used ").saturating_sub(FREE_SOCKETS) * SOCKET;
    let queues = |count: &str, protocols: [(&str, &str); 2]| -> u64 {
        // A closed socket that has not sent everything is among these, and no longer among the used ones.
        let there = protocols.iter().filter(|(line, _)| number_after(count, line) > 0);
        there.map(|(_, file)| queued(&read(file))).sum()
    };
    silent
        + queues(&count, [("TCP: inuse ", "tcp"), ("UDP: inuse ", "udp")])
        + queues(&read("sockstat6"), [("TCP6: inuse ", "tcp6"), ("UDP6: inuse ", "udp6")])
}

fn number_after(text: &str, start: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_default();
    rest.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// The sum of `tx_queue:rx_queue`, in bytes. Twice: what waits has headers.
fn queued(table: &str) -> u64 {
    let queues = table.lines().skip(1).filter_map(|line| {
        let (tx, rx) = line.split_whitespace().nth(4)?.split_once(':')?;
        Some(u64::from_str_radix(tx, 16).ok()? + u64::from_str_radix(rx, 16).ok()?)
    });
    queues.sum::<u64>() * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_counted_and_their_queues_added_up() {
        let sockstat = "sockets: used 131\nTCP: inuse 1 orphan 0 tw 0 alloc 2 mem 0\nUDP: inuse 0 mem 0\n";
        assert_eq!(number_after(sockstat, "sockets: used "), 131);
        assert_eq!(number_after(sockstat, "TCP: inuse "), 1);
        assert_eq!(number_after("", "sockets: used "), 0);
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n   \
            0: 0100007F:1F90 00000000:0000 0A 00000010:00000100 00:00000000 00000000  0 0 1 1\n   \
            1: 0100007F:1F90 00000000:0000 01 00000000:00000001 00:00000000 00000000  0 0 1 1\n";
        assert_eq!(queued(table), 2 * (16 + 256 + 1));
    }
}
