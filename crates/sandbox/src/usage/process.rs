//! What one process holds: cheaply and at most, or slowly and exactly.
//!
//! Cheap is `/proc/PID/status`, which anybody may read and which counts every page as often as it is mapped. Exact is
//! `smaps_rollup`, where a page that n processes map is a n-th of a page in each of them; it walks every page, about 30 ms for
//! 1 GiB, and a process can hide it (PR_SET_DUMPABLE).
//!
//! Of files on a disk only what still has to be written counts. The rest is the page cache's, and gone when memory is needed:
//! in a cgroup such a program would live, so it does here.

use std::io::{BufRead, BufReader, Read};

use procfs::process::Process;
use procfs::{FromRead, ProcError, ProcResult};

/// A process with larger page tables than this, and little else, is not looked at exactly: the kernel would walk the tables
/// for longer than the program takes to make as much again.
const LARGE_TABLES: u64 = 16 << 20;

/// Below this, what is both a file and mapped may count twice: looking it up takes as long as a weighing.
pub(super) const WORTH_LOOKING_UP: u64 = 1 << 20;

/// What a process maps, in bytes, every page as often as it is mapped, and its page tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mapped {
    /// Private pages that are no file's, on the swap device or not, and those of hugetlbfs.
    pub(super) anonymous: u64,
    pub(super) file: u64,
    /// Of a tmpfs, or shared with whoever inherits the mapping.
    pub(super) shared_memory: u64,
    /// Zero pages count nowhere, but each 2 MiB of them takes a page of these.
    pub(super) page_tables: u64,
    /// Places in its table of descriptors.
    pub(super) descriptors: u64,
    /// It has an address space: it is no zombie.
    has_memory: bool,
}

impl Mapped {
    pub(super) fn pages(&self) -> u64 {
        self.anonymous + self.file + self.shared_memory
    }

    fn all_held(&self) -> Held {
        Held {
            anonymous: self.anonymous,
            shared_memory: self.shared_memory,
            in_files: 0,
            unwritten_files: self.file,
        }
    }
}

/// What a process holds, in bytes, each page once among all processes that map it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) anonymous: u64,
    pub(super) shared_memory: u64,
    /// As much of the shared memory lies in files of a tmpfs, as far as it is worth knowing.
    pub(super) in_files: u64,
    pub(super) unwritten_files: u64,
}

/// A process and where its memory can be looked at.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) mapped: Mapped,
    /// `task/TID/`, or nothing.
    below: String,
}

impl Memory {
    /// A process of which the first thread has ended is a zombie to whoever looks at it, while its other threads hold its
    /// memory: they are asked then.
    pub(super) fn of(process: &Process) -> ProcResult<Self> {
        let mapped: Mapped = process.read("status")?;
        if mapped.has_memory {
            return Ok(Self { mapped, below: String::new() });
        }
        let mut others = process.tasks()?.filter_map(|task| {
            let task = task.ok()?;
            Some(Self { mapped: task.read("status").ok()?, below: format!("task/{}/", task.tid) })
        });
        let alive = others.find(|other| other.mapped.has_memory);
        Ok(alive.unwrap_or(Self { mapped, below: String::new() }))
    }

    /// Each page once. Hiding must not make a process smaller: then it is all that it maps.
    pub(super) fn held(&self, process: &Process, devices: &[(u64, u64)]) -> Held {
        if self.mapped.page_tables > LARGE_TABLES.max(self.mapped.pages() / 8) {
            return self.mapped.all_held();
        }
        let mut held: Held = match process.read(format!("{}smaps_rollup", self.below)) {
            Ok(held) => held,
            Err(ProcError::PermissionDenied(_)) => return self.mapped.all_held(),
            // It has ended.
            Err(_) => return Held::default(),
        };
        if !devices.is_empty() && held.shared_memory > WORTH_LOOKING_UP {
            match process.read::<_, Mappings>(format!("{}smaps", self.below)) {
                Ok(mappings) => held.in_files = mappings.held_of(devices).min(held.shared_memory),
                Err(ProcError::PermissionDenied(_)) => {}
                // It has ended since.
                Err(_) => return Held::default(),
            }
        }
        held
    }
}

/// Lines of `Name:   123 kB`, or without the unit.
fn fields<R: Read>(from: R) -> ProcResult<Vec<(String, u64)>> {
    let mut fields = Vec::with_capacity(32);
    for line in BufReader::new(from).lines() {
        let line = line?;
        let Some((name, rest)) = line.split_once(':') else { continue };
        if let Some(Ok(number)) = rest.split_whitespace().next().map(str::parse) {
            fields.push((name.to_owned(), number));
        }
    }
    Ok(fields)
}

impl FromRead for Mapped {
    fn from_read<R: Read>(from: R) -> ProcResult<Self> {
        let mut mapped = Self::default();
        for (name, number) in fields(from)? {
            match name.as_str() {
                "VmRSS" => mapped.has_memory = true,
                "RssAnon" | "VmSwap" | "HugetlbPages" => mapped.anonymous += number * 1024,
                "RssFile" => mapped.file = number * 1024,
                "RssShmem" => mapped.shared_memory = number * 1024,
                "VmPTE" => mapped.page_tables = number * 1024,
                "FDSize" => mapped.descriptors = number,
                _ => {}
            }
        }
        Ok(mapped)
    }
}

impl FromRead for Held {
    fn from_read<R: Read>(from: R) -> ProcResult<Self> {
        let fields = fields(from)?;
        let find = |name: &str| fields.iter().find(|(it, _)| it == name).map(|(_, kib)| kib * 1024);
        let get = |name: &str| find(name).unwrap_or_default();
        let aside = get("SwapPss") + get("Private_Hugetlb") + get("Shared_Hugetlb");
        // Linux 5.4 tells the kinds apart; before that, everything counts.
        let (Some(anonymous), Some(file), Some(shared_memory)) =
            (find("Pss_Anon"), find("Pss_File"), find("Pss_Shmem"))
        else {
            return Ok(Self { anonymous: get("Pss") + aside, ..Self::default() });
        };
        // Linux 6.0 has the proportional size of what was changed; before that, pages count as often as they are mapped.
        let changed = find("Pss_Dirty").unwrap_or_else(|| get("Private_Dirty") + get("Shared_Dirty"));
        let unwritten_files = changed.saturating_sub(anonymous + shared_memory).min(file);
        Ok(Self { anonymous: anonymous + aside, shared_memory, in_files: 0, unwritten_files })
    }
}

/// Of each mapping that is shared: its device, and its proportional size in bytes.
struct Mappings(Vec<((u64, u64), u64)>);

impl Mappings {
    fn held_of(&self, devices: &[(u64, u64)]) -> u64 {
        self.0.iter().filter(|(device, _)| devices.contains(device)).map(|(_, held)| held).sum()
    }
}

impl FromRead for Mappings {
    fn from_read<R: Read>(from: R) -> ProcResult<Self> {
        let mut mappings = Vec::new();
        let mut device = None;
        let mut is_empty = true;
        for line in BufReader::new(from).lines() {
            let line = line?;
            is_empty = false;
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("Pss:"), Some(kib)) => {
                    let kib: u64 = kib.parse().unwrap_or_default();
                    mappings.extend(device.map(|device| (device, kib * 1024)));
                }
                // `7f60-7f64 rw-s 00000000 00:2a 17 /dev/shm/x`. Of a private one some pages may be the process's own.
                (Some(range), Some(rights)) if !range.ends_with(':') => {
                    device = words.nth(1).filter(|_| rights.ends_with('s')).and_then(device_number);
                }
                _ => {}
            }
        }
        // A zombie has none.
        if is_empty { Err(ProcError::NotFound(None)) } else { Ok(Self(mappings)) }
    }
}

fn device_number(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((u64::from_str_radix(major, 16).ok()?, u64::from_str_radix(minor, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLUP: &str = "00400000-7ffca5666000 ---p 00000000 00:00 0    [rollup]\n\
        Rss:  900 kB\nPss:  800 kB\nPss_Dirty:  500 kB\nPss_Anon:  300 kB\nPss_File:  400 kB\nPss_Shmem:  100 kB\n\
        Private_Hugetlb:  7 kB\nSwapPss:  5 kB\n";

    #[test]
    fn clean_pages_of_files_do_not_count_and_changed_ones_do() {
        let held = Held::from_read(ROLLUP.as_bytes()).unwrap();
        let expected =
            Held { anonymous: 312 << 10, shared_memory: 100 << 10, in_files: 0, unwritten_files: 100 << 10 };
        assert_eq!(held, expected);
    }

    #[test]
    fn a_kernel_that_cannot_tell_kinds_apart_counts_all() {
        let old = "00400000-7ffca5666000 ---p 00000000 00:00 0    [rollup]\nRss:  900 kB\nPss:  800 kB\nSwapPss:  5 kB\n";
        let held = Held::from_read(old.as_bytes()).unwrap();
        assert_eq!(held, Held { anonymous: 805 << 10, ..Held::default() });
    }

    #[test]
    fn only_shared_mappings_of_a_device_are_its() {
        let smaps = "7f60-7f64 rw-s 00000000 00:2a 17    /dev/shm/x y\nSize:  16 kB\nPss:  12 kB\nVmFlags: rd wr\n\
            7f64-7f68 rw-p 00000000 00:2a 17    /dev/shm/x\nPss:  16 kB\n\
            7f68-7f6c rw-s 00000000 00:01 18    /dev/zero (deleted)\nPss:  3 kB\n";
        let found = Mappings::from_read(smaps.as_bytes()).unwrap();
        assert_eq!(found.0, [((0, 0x2a), 12 << 10), ((0, 1), 3 << 10)]);
        assert_eq!(found.held_of(&[(0, 0x2a), (0, 0x2b)]), 12 << 10);
        assert!(Mappings::from_read("".as_bytes()).is_err());
    }

    #[test]
    fn a_status_is_read_in_bytes() {
        let status = "Name:\tx\nFDSize:\t64\nVmRSS:\t  6 kB\nRssAnon:\t  1 kB\nRssFile:\t  2 kB\nRssShmem:\t  3 kB\n\
            VmPTE:\t  4 kB\nVmSwap:\t  5 kB\nThreads:\t1\n";
        let mapped = Mapped::from_read(status.as_bytes()).unwrap();
        let expected = Mapped {
            anonymous: 6 << 10,
            file: 2 << 10,
            shared_memory: 3 << 10,
            page_tables: 4 << 10,
            descriptors: 64,
            has_memory: true,
        };
        assert_eq!(mapped, expected);
        assert_eq!(mapped.pages(), 11 << 10);
    }
}
