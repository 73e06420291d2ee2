//! Every call that the kernel has, and what becomes of it: data. Each call is in exactly one group, which a test holds.
//!
//! The starting point was what container runtimes allow, which is known to run almost everything; what is taken away from it
//! stands below, with the reason. To add a call, put it into the group whose reason fits, and write `docs/seccomp.md` anew
//! (`UPDATE_GOLDEN=1 cargo test -p sandbox`).

use super::policy::Answer::{Allowed, AllowedInACgroup, NoSuchCall, NotPermitted};
use super::policy::Group;

#[rustfmt::skip]
pub const GROUPS: &[Group] = &[
    Group {
        name: "reading and writing",
        answer: Allowed,
        reason: "only through descriptors that a program has",
        calls: &[
            "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2",
            "lseek", "sendfile", "copy_file_range", "splice", "tee", "vmsplice", "readahead", "fadvise64",
            "sync_file_range", "fsync", "fdatasync", "sync", "syncfs", "ftruncate", "truncate", "fallocate",
            "cachestat", "flock",
        ],
    },
    Group {
        name: "descriptors",
        answer: Allowed,
        reason: "making, copying and closing them; what can be opened is decided by the mounts",
        calls: &[
            "open", "openat", "openat2", "creat", "close", "close_range", "dup", "dup2", "dup3", "fcntl", "pipe",
            "pipe2", "eventfd", "eventfd2", "ioctl",
        ],
    },
    Group {
        name: "files and directories",
        answer: Allowed,
        reason: "what can be seen and changed is decided by the mounts, and by permissions as an ordinary user",
        calls: &[
            "stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2",
            "getdents", "getdents64", "getcwd", "chdir", "fchdir", "mkdir", "mkdirat", "rmdir", "link", "linkat",
            "unlink", "unlinkat", "symlink", "symlinkat", "readlink", "readlinkat", "rename", "renameat", "renameat2",
            "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "umask", "utime",
            "utimes", "utimensat", "futimesat", "mknod", "mknodat", "inotify_init", "inotify_init1",
            "inotify_add_watch", "inotify_rm_watch",
        ],
    },
    Group {
        name: "extended attributes",
        answer: Allowed,
        reason: "copying tools ask for them; as an ordinary user only those named `user.` can be set",
        calls: &[
            "getxattr", "lgetxattr", "fgetxattr", "getxattrat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat",
            "listxattr", "llistxattr", "flistxattr", "listxattrat", "removexattr", "lremovexattr", "fremovexattr",
            "removexattrat",
        ],
    },
    Group {
        name: "its own memory",
        answer: Allowed,
        reason: "every runtime maps, protects and gives back memory; how much is decided by the limits",
        calls: &[
            "brk", "mmap", "munmap", "mprotect", "mremap", "madvise", "mincore", "msync", "mlock", "mlock2", "mlockall",
            "munlock", "munlockall", "remap_file_pages", "membarrier", "pkey_alloc", "pkey_free", "pkey_mprotect",
            "mseal", "map_shadow_stack",
        ],
    },
    Group {
        name: "where its own memory lies",
        answer: Allowed,
        reason: "numerical libraries ask for the machine's memory nodes, and warn when they are refused",
        calls: &["get_mempolicy", "set_mempolicy", "set_mempolicy_home_node", "mbind"],
    },
    Group {
        name: "memory that only a cgroup counts",
        answer: AllowedInACgroup,
        reason: "it belongs to no process: where this daemon watches memory itself it would not see it, and it outlives the process that made it",
        calls: &[
            "memfd_create", "memfd_secret", "shmget", "shmat", "shmctl", "shmdt", "semget", "semop", "semtimedop",
            "semctl", "msgget", "msgsnd", "msgrcv", "msgctl",
        ],
    },
    Group {
        name: "processes and threads",
        answer: Allowed,
        reason: "starting, waiting and ending, inside a process namespace of its own; how many is decided by the limits",
        calls: &[
            "clone", "fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid", "set_tid_address",
            "gettid", "getpid", "getppid", "getpgid", "getpgrp", "setpgid", "getsid", "setsid", "pidfd_open",
            "process_mrelease", "arch_prctl", "prctl", "personality",
        ],
    },
    Group {
        name: "locks between threads",
        answer: Allowed,
        reason: "every thread library is built on them",
        calls: &[
            "futex", "futex_wait", "futex_wake", "futex_requeue", "futex_waitv", "set_robust_list", "get_robust_list",
            "rseq",
        ],
    },
    Group {
        name: "signals",
        answer: Allowed,
        reason: "only its own processes are there to be signalled",
        calls: &[
            "kill", "tkill", "tgkill", "pidfd_send_signal", "rt_sigaction", "rt_sigprocmask", "rt_sigpending",
            "rt_sigqueueinfo", "rt_tgsigqueueinfo", "rt_sigsuspend", "rt_sigtimedwait", "sigaltstack", "signalfd",
            "signalfd4", "pause",
        ],
    },
    Group {
        name: "made by the kernel",
        answer: Allowed,
        reason: "the kernel has a program make them: to return from a signal, to go on after one, to return from a probe",
        calls: &["rt_sigreturn", "restart_syscall", "uretprobe", "uprobe"],
    },
    Group {
        name: "waiting for events",
        answer: Allowed,
        reason: "event loops and asynchronous files",
        calls: &[
            "poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait",
            "epoll_pwait", "epoll_pwait2", "io_setup", "io_destroy", "io_submit", "io_cancel", "io_getevents",
            "io_pgetevents",
        ],
    },
    Group {
        name: "time",
        answer: Allowed,
        reason: "reading clocks and setting timers; the two that could set a clock need a capability for that, and are how one is read",
        calls: &[
            "time", "times", "gettimeofday", "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "alarm",
            "getitimer", "setitimer", "timer_create", "timer_settime", "timer_gettime", "timer_getoverrun",
            "timer_delete", "timerfd_create", "timerfd_settime", "timerfd_gettime", "adjtimex", "clock_adjtime",
        ],
    },
    Group {
        name: "scheduling",
        answer: Allowed,
        reason: "runtimes ask how many processors they have; only what lowers a priority works without capabilities",
        calls: &[
            "sched_yield", "sched_getaffinity", "sched_setaffinity", "sched_getparam", "sched_setparam",
            "sched_getscheduler", "sched_setscheduler", "sched_getattr", "sched_setattr", "sched_get_priority_max",
            "sched_get_priority_min", "sched_rr_get_interval", "getcpu", "getpriority", "setpriority", "ioprio_get",
            "ioprio_set",
        ],
    },
    Group {
        name: "users and capabilities",
        answer: Allowed,
        reason: "asked by almost everything; in a user namespace with one user there is nobody else to become",
        calls: &[
            "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "setuid", "setgid",
            "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups", "capget", "capset",
        ],
    },
    Group {
        name: "itself and the machine",
        answer: Allowed,
        reason: "what it used, what it may use, what runs it, and random numbers; limits can only be lowered",
        calls: &["uname", "sysinfo", "getrusage", "getrlimit", "setrlimit", "prlimit64", "getrandom"],
    },
    Group {
        name: "sockets",
        answer: Allowed,
        reason: "inside a network namespace of its own, and of few families",
        calls: &[
            "socket", "socketpair", "accept", "accept4", "bind", "connect", "listen", "getpeername", "getsockname",
            "getsockopt", "setsockopt", "recvfrom", "recvmsg", "recvmmsg", "sendto", "sendmsg", "sendmmsg", "shutdown",
        ],
    },
    Group {
        name: "message queues",
        answer: Allowed,
        reason: "in an IPC namespace of its own; their memory has a limit of its own",
        calls: &["mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr"],
    },
    Group {
        name: "sandboxing itself",
        answer: Allowed,
        reason: "a program may only take from itself; and bubblewrap installs the later programs of the filter under the earlier ones",
        calls: &["seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"],
    },
    Group {
        name: "namespaces",
        answer: NotPermitted,
        reason: "a new user namespace gives every capability inside it, and a way to kernel code that nobody else can reach",
        calls: &["unshare", "setns"],
    },
    Group {
        name: "mounts",
        answer: NotPermitted,
        reason: "what a program sees is decided before it starts",
        calls: &["mount", "umount2", "pivot_root", "chroot"],
    },
    Group {
        name: "other processes",
        answer: NotPermitted,
        reason: "the sandbox's own init and the launcher run as the same user",
        calls: &[
            "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
            "migrate_pages", "move_pages",
        ],
    },
    Group {
        name: "keyrings",
        answer: NotPermitted,
        reason: "not every keyring belongs to a namespace: one run could leave a key for the next",
        calls: &["add_key", "request_key", "keyctl"],
    },
    Group {
        name: "inside the kernel",
        answer: NotPermitted,
        reason: "programs, probes and modules for the kernel, and page faults handled by the program: the way in of many attacks",
        calls: &[
            "bpf", "perf_event_open", "userfaultfd", "init_module", "finit_module", "delete_module", "create_module",
            "query_module", "get_kernel_syms", "kexec_load", "kexec_file_load", "lookup_dcookie", "syslog",
        ],
    },
    Group {
        name: "files without a path",
        answer: NotPermitted,
        reason: "a file handle leads past the mounts, and fanotify watches all of them",
        calls: &["name_to_handle_at", "open_by_handle_at", "fanotify_init", "fanotify_mark"],
    },
    Group {
        name: "the machine",
        answer: NotPermitted,
        reason: "for its administrator",
        calls: &[
            "reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "settimeofday", "clock_settime",
            "sethostname", "setdomainname", "vhangup", "nfsservctl", "uselib", "ustat", "sysfs", "_sysctl", "iopl",
            "ioperm", "modify_ldt",
        ],
    },
    Group {
        name: "threads by structure",
        answer: NoSuchCall,
        reason: "the flags lie behind a pointer, where no filter can read them; C libraries then use `clone`",
        calls: &["clone3"],
    },
    Group {
        name: "mounts by descriptor",
        answer: NoSuchCall,
        reason: "the newer way to do what `mount` does (CVE-2021-41133)",
        calls: &[
            "open_tree", "open_tree_attr", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
        ],
    },
    Group {
        name: "lists of mounts and namespaces",
        answer: NoSuchCall,
        reason: "they name paths and namespaces outside",
        calls: &["statmount", "listmount", "listns"],
    },
    Group {
        name: "io_uring",
        answer: NoSuchCall,
        reason: "what it does on behalf of a program no filter sees, and it had many bugs; event loops then do without",
        calls: &["io_uring_setup", "io_uring_enter", "io_uring_register"],
    },
    Group {
        name: "not needed yet",
        answer: NoSuchCall,
        reason: "new, and everything does without",
        calls: &["lsm_get_self_attr", "lsm_set_self_attr", "lsm_list_modules", "file_getattr", "file_setattr"],
    },
    Group {
        name: "never there",
        answer: NoSuchCall,
        reason: "numbers without a call behind them in a 64 bit kernel",
        calls: &[
            "afs_syscall", "tuxcall", "security", "vserver", "getpmsg", "putpmsg", "epoll_ctl_old", "epoll_wait_old",
            "set_thread_area", "get_thread_area",
        ],
    },
];
