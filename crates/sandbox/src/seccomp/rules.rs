//! Allowed calls, and what they may not be asked for.

use super::policy::Condition::{Has, Is, IsNot};
use super::policy::{Errno, Holds, Rule};

const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;
const SOL_SOCKET: u32 = 1;
const NETLINK_ROUTE: u32 = 0;

pub const RULES: &[Rule] = &[
    Rule {
        name: "new namespaces",
        calls: &["clone"],
        refused: "`CLONE_NEWNS`, `CLONE_NEWCGROUP`, `CLONE_NEWUTS`, `CLONE_NEWIPC`, `CLONE_NEWUSER`, `CLONE_NEWPID`, `CLONE_NEWNET`",
        reason: "in a user namespace of its own a program has every capability, and with them reaches kernel code that nobody else can",
        errno: Errno::NotPermitted,
        holds: Holds::ForAll,
        // CLONE_NEWTIME is not among them: its bit is part of the exit signal here, so only clone3 and unshare know it.
        any_of: &[
            &[Has(0, 0x0002_0000)],
            &[Has(0, 0x0200_0000)],
            &[Has(0, 0x0400_0000)],
            &[Has(0, 0x0800_0000)],
            &[Has(0, 0x1000_0000)],
            &[Has(0, 0x2000_0000)],
            &[Has(0, 0x4000_0000)],
        ],
    },
    Rule {
        name: "typing into a terminal",
        calls: &["ioctl"],
        refused: "`TIOCSTI`, `TIOCLINUX`",
        reason: "they put words into the terminal of whoever looks on (CVE-2017-5226, CVE-2023-28100)",
        errno: Errno::NotPermitted,
        holds: Holds::ForAll,
        any_of: &[&[Is(1, 0x5412)], &[Is(1, 0x541c)]],
    },
    Rule {
        name: "larger socket buffers",
        calls: &["setsockopt"],
        refused: "of `SOL_SOCKET`: `SO_SNDBUF`, `SO_RCVBUF`, `SO_SNDBUFFORCE`, `SO_RCVBUFFORCE`, where no cgroup holds memory",
        reason: "what waits in a socket belongs to no process; each may hold 8 MiB where the machine allows such buffers, and 0.3 MiB with the usual ones",
        errno: Errno::NotPermitted,
        holds: Holds::WithoutACgroup,
        any_of: &[
            &[Is(1, SOL_SOCKET), Is(2, 7)],
            &[Is(1, SOL_SOCKET), Is(2, 8)],
            &[Is(1, SOL_SOCKET), Is(2, 32)],
            &[Is(1, SOL_SOCKET), Is(2, 33)],
        ],
    },
    Rule {
        name: "weaker execution domains",
        calls: &["personality"],
        refused: "everything but 0, 8, 0x20000, 0x20008 and 0xffffffff",
        reason: "the others switch off address space randomisation or make memory executable; these are what `uname` and 32 bit tools ask for",
        errno: Errno::NotPermitted,
        holds: Holds::ForAll,
        any_of: &[&[
            IsNot(0, 0),
            IsNot(0, 8),
            IsNot(0, 0x0002_0000),
            IsNot(0, 0x0002_0008),
            IsNot(0, 0xffff_ffff),
        ]],
    },
    Rule {
        name: "socket families",
        calls: &["socket", "socketpair"],
        refused: "every family but `AF_UNIX`, `AF_INET`, `AF_INET6` and `AF_NETLINK`; of `AF_NETLINK` every protocol but 0 (`NETLINK_ROUTE`)",
        reason: "the others leave the network namespace (`AF_VSOCK`) or reach drivers that few have looked at; `NETLINK_ROUTE` tells a program its own interfaces",
        errno: Errno::NoSuchFamily,
        holds: Holds::ForAll,
        any_of: &[
            &[IsNot(0, AF_UNIX), IsNot(0, AF_INET), IsNot(0, AF_INET6), IsNot(0, AF_NETLINK)],
            &[Is(0, AF_NETLINK), IsNot(2, NETLINK_ROUTE)],
        ],
    },
];
