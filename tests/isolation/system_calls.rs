//! PN, FS-09, DG-03: the system call filter, as programs meet it: by the numbers of the calls, not by what a library makes of
//! them.
//!
//! The lists are this file's own, so that a slip in the daemon's does not hide itself.

use conformance::{Daemon, can, each_start};
use serde_json::{Map, Value, json};

use crate::support::{inside, outside, outside_through, probe};

/// Name, number on x86-64, number on aarch64.
type Call = (&'static str, u64, Option<u64>);

#[rustfmt::skip]
const NOT_PERMITTED: &[Call] = &[
    ("unshare", 272, Some(97)),
    ("setns", 308, Some(268)),
    ("mount", 165, Some(40)),
    ("umount2", 166, Some(39)),
    ("pivot_root", 155, Some(41)),
    ("chroot", 161, Some(51)),
    ("ptrace", 101, Some(117)),
    ("process_vm_readv", 310, Some(270)),
    ("process_vm_writev", 311, Some(271)),
    ("process_madvise", 440, Some(440)),
    ("pidfd_getfd", 438, Some(438)),
    ("kcmp", 312, Some(272)),
    ("migrate_pages", 256, Some(238)),
    ("move_pages", 279, Some(239)),
    ("add_key", 248, Some(217)),
    ("request_key", 249, Some(218)),
    ("keyctl", 250, Some(219)),
    ("bpf", 321, Some(280)),
    ("perf_event_open", 298, Some(241)),
    ("userfaultfd", 323, Some(282)),
    ("init_module", 175, Some(105)),
    ("finit_module", 313, Some(273)),
    ("delete_module", 176, Some(106)),
    ("kexec_load", 246, Some(104)),
    ("kexec_file_load", 320, Some(294)),
    ("lookup_dcookie", 212, Some(18)),
    ("syslog", 103, Some(116)),
    ("name_to_handle_at", 303, Some(264)),
    ("open_by_handle_at", 304, Some(265)),
    ("fanotify_init", 300, Some(262)),
    ("fanotify_mark", 301, Some(263)),
    ("reboot", 169, Some(142)),
    ("swapon", 167, Some(224)),
    ("swapoff", 168, Some(225)),
    ("acct", 163, Some(89)),
    ("quotactl", 179, Some(60)),
    ("quotactl_fd", 443, Some(443)),
    ("settimeofday", 164, Some(170)),
    ("clock_settime", 227, Some(112)),
    ("sethostname", 170, Some(161)),
    ("setdomainname", 171, Some(162)),
    ("vhangup", 153, Some(58)),
    ("ustat", 136, None),
    ("sysfs", 139, None),
    ("iopl", 172, None),
    ("ioperm", 173, None),
    ("modify_ldt", 154, None),
];

#[rustfmt::skip]
const NO_SUCH_CALL: &[Call] = &[
    ("clone3", 435, Some(435)),
    ("open_tree", 428, Some(428)),
    ("open_tree_attr", 467, Some(467)),
    ("move_mount", 429, Some(429)),
    ("fsopen", 430, Some(430)),
    ("fsconfig", 431, Some(431)),
    ("fsmount", 432, Some(432)),
    ("fspick", 433, Some(433)),
    ("mount_setattr", 442, Some(442)),
    ("statmount", 457, Some(457)),
    ("listmount", 458, Some(458)),
    ("listns", 470, Some(470)),
    ("io_uring_setup", 425, Some(425)),
    ("io_uring_enter", 426, Some(426)),
    ("io_uring_register", 427, Some(427)),
    ("file_getattr", 468, Some(468)),
];

/// Refused where this daemon watches memory itself.
#[rustfmt::skip]
const UNCOUNTED_MEMORY: &[Call] = &[
    ("memfd_create", 319, Some(279)),
    ("memfd_secret", 447, Some(447)),
    ("shmget", 29, Some(194)),
    ("shmat", 30, Some(196)),
    ("shmctl", 31, Some(195)),
    ("semget", 64, Some(190)),
    ("semctl", 66, Some(191)),
    ("msgget", 68, Some(186)),
    ("msgctl", 71, Some(187)),
];

const CLONE: Call = ("clone", 56, Some(220));
const UNSHARE: Call = ("unshare", 272, Some(97));
const IOCTL: Call = ("ioctl", 16, Some(29));
const PERSONALITY: Call = ("personality", 135, Some(92));

const NAMESPACES: [(&str, u64); 7] = [
    ("mount", 0x0002_0000),
    ("cgroup", 0x0200_0000),
    ("uts", 0x0400_0000),
    ("ipc", 0x0800_0000),
    ("user", 0x1000_0000),
    ("pid", 0x2000_0000),
    ("net", 0x4000_0000),
];

const SIGCHLD: u64 = 17;

/// What the probe is to call, on this architecture.
#[derive(Default)]
struct Questions(Map<String, Value>);

impl Questions {
    fn ask(&mut self, name: &str, call: Call, arguments: &[u64]) {
        if let Some(number) = number(call) {
            let words: Vec<u64> = std::iter::once(number).chain(arguments.iter().copied()).collect();
            self.0.insert(name.to_owned(), json!(words));
        }
    }

    fn all(calls: &[Call]) -> Self {
        let mut questions = Self::default();
        for call in calls {
            questions.ask(call.0, *call, &[0; 6]);
        }
        questions
    }

    fn json(self) -> Value {
        json!({ "calls": self.0 })
    }
}

fn number((_, x86_64, aarch64): Call) -> Option<u64> {
    if cfg!(target_arch = "x86_64") { Some(x86_64) } else { aarch64 }
}

/// Fails unless each call was answered so.
fn assert_each(seen: &Value, answer: &str) {
    let calls = seen["calls"].as_object().unwrap();
    assert!(!calls.is_empty());
    for (name, seen) in calls {
        assert_eq!(seen, answer, "{name}");
    }
}

fn is_counted(daemon: &Daemon) -> bool {
    daemon.get("/health").json()["isolation"]["memory"] == "cgroup"
}

/// The probe as an ordinary user, whose mistakes do no harm.
fn outside_as_nobody_special(questions: &Value) -> Value {
    if linux::identity::is_root() {
        let become_one = ["/usr/bin/setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
        outside_through(&become_one, probe!("system_calls.py"), questions)
    } else {
        outside(probe!("system_calls.py"), questions)
    }
}

// PN-04, PN-05, PN-07, PN-11, PN-13: an error of the kernel's own (EFAULT, EINVAL) would mean that the call had reached it.
#[test]
fn refused_calls_do_not_reach_the_kernel() {
    each_start(|daemon, _| {
        let ask = |calls| inside(daemon, probe!("system_calls.py"), &Questions::all(calls).json());
        assert_each(&ask(NOT_PERMITTED), "EPERM");
        assert_each(&ask(NO_SUCH_CALL), "ENOSYS");
        let uncounted = ask(UNCOUNTED_MEMORY);
        if is_counted(daemon) {
            assert_eq!(uncounted["calls"]["memfd_create"], "EFAULT", "{uncounted:#}");
        } else {
            assert_each(&uncounted, "ENOSYS");
        }
    });
    // Calls that a container's own filter lets through, and that do nothing without arguments.
    let mut control = Questions::default();
    for name in ["memfd_create", "shmctl", "ptrace", "process_vm_readv", "unshare", "bpf", "clone3"] {
        let lists = [NOT_PERMITTED, NO_SUCH_CALL, UNCOUNTED_MEMORY].concat();
        control.ask(name, *lists.iter().find(|call| call.0 == name).unwrap(), &[0; 6]);
    }
    let control = outside_as_nobody_special(&control.json());
    let reached = ["memfd_create", "shmctl", "ptrace", "process_vm_readv"];
    for name in reached {
        assert!(!["EPERM", "ENOSYS"].contains(&control["calls"][name].as_str().unwrap()), "{control:#}");
    }
    if can(control["self"]["Seccomp"] == "0", "this container's own filter refuses more calls") {
        assert_eq!(control["calls"]["unshare"], "returned 0", "{control:#}");
        assert_eq!(control["calls"]["clone3"], "EINVAL", "{control:#}");
    }
}

// PN-04
#[test]
fn no_process_makes_a_namespace() {
    let questions = || {
        let mut questions = Questions::default();
        for (name, flag) in NAMESPACES {
            questions.ask(&format!("clone {name}"), CLONE, &[flag | SIGCHLD, 0, 0, 0, 0]);
            questions.ask(
                &format!("clone {name}, high bits"),
                CLONE,
                &[flag | SIGCHLD | 1 << 40, 0, 0, 0, 0],
            );
            questions.ask(&format!("unshare {name}"), UNSHARE, &[flag]);
        }
        questions.ask("unshare time", UNSHARE, &[0x80]);
        questions.json()
    };
    let mut plain = Questions::default();
    plain.ask("clone", CLONE, &[SIGCHLD, 0, 0, 0, 0]);
    let plain = plain.json();
    each_start(|daemon, _| {
        assert_each(&inside(daemon, probe!("system_calls.py"), &questions()), "EPERM");
        let allowed = inside(daemon, probe!("system_calls.py"), &plain);
        assert!(allowed["calls"]["clone"].as_str().unwrap().starts_with("returned "), "{allowed:#}");
    });
    let control = outside(probe!("system_calls.py"), &questions());
    if can(
        control["self"]["Seccomp"] == "0" && linux::identity::is_root(),
        "namespaces are forbidden here too",
    ) {
        let answers = control["calls"].as_object().unwrap().values();
        assert!(answers.clone().all(|answer| answer != "EPERM"), "{control:#}");
    }
}

// FS-09, CVE-2019-7303: the kernel reads the low half of the number.
#[test]
fn nobody_types_into_a_terminal_and_high_bits_do_not_help() {
    let questions = || {
        let mut questions = Questions::default();
        for (name, command) in [("TIOCSTI", 0x5412), ("TIOCLINUX", 0x541c)] {
            for high in [0, 0xdead_beef_0000_0000, 1 << 32] {
                questions.ask(&format!("{name} {high:x}"), IOCTL, &[0, command | high, 0]);
            }
        }
        questions.json()
    };
    each_start(|daemon, _| {
        assert_each(&inside(daemon, probe!("system_calls.py"), &questions()), "EPERM");
    });
    // Standard input is a pipe.
    assert_each(&outside(probe!("system_calls.py"), &questions()), "ENOTTY");
}

#[test]
fn execution_domains_stay_strong() {
    let mut refused = Questions::default();
    // ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC.
    refused.ask("no randomisation", PERSONALITY, &[0x0004_0000]);
    refused.ask("executable memory", PERSONALITY, &[0x0040_0000]);
    let refused = refused.json();
    let mut allowed = Questions::default();
    allowed.ask("which is it", PERSONALITY, &[0xffff_ffff]);
    let allowed = allowed.json();
    each_start(|daemon, _| {
        assert_each(&inside(daemon, probe!("system_calls.py"), &refused), "EPERM");
        assert_each(&inside(daemon, probe!("system_calls.py"), &allowed), "returned 0");
    });
}

// PN-08
#[test]
fn sockets_are_of_few_families() {
    let asked = json!({ "calls": {}, "sockets": true });
    each_start(|daemon, _| {
        let seen = inside(daemon, probe!("system_calls.py"), &asked);
        for (family, answers) in seen["families"].as_object().unwrap() {
            let opened = answers.as_array().unwrap().contains(&json!("opened"));
            match family.as_str() {
                // UNIX, INET, NETLINK.
                "1" | "2" | "16" => assert!(opened, "{family}: {answers}"),
                // A kernel may be without it.
                "10" => {}
                _ => assert_eq!(answers, &json!(["EAFNOSUPPORT"]), "{family}"),
            }
        }
        for (protocol, answer) in seen["netlink"].as_object().unwrap() {
            let wanted = if protocol == "0" { "opened" } else { "EAFNOSUPPORT" };
            assert_eq!(answer, wanted, "{protocol}");
        }
    });
    let control = outside(probe!("system_calls.py"), &asked);
    // NETLINK_KOBJECT_UEVENT, which anybody may open.
    assert_eq!(control["netlink"]["15"], "opened", "{control:#}");
    if can(linux::identity::is_root(), "only root may open packet sockets") {
        assert!(control["families"]["17"].as_array().unwrap().contains(&json!("opened")), "{control:#}");
    }
}

// PN-05
#[cfg(target_arch = "x86_64")]
#[test]
fn no_other_door_leads_into_the_kernel() {
    // getpid of i386: mov eax, 20; int 0x80; ret.
    let i386 = json!({ "calls": {}, "machine_code": "b814000000cd80c3" });
    let mut x32 = Questions::default();
    for (name, number) in
        [("read", 0), ("getpid", 39), ("ptrace", 101), ("execve of x32", 520), ("ptrace of x32", 521)]
    {
        x32.ask(name, (name, number | 0x4000_0000, None), &[0; 6]);
        if number >= 512 {
            // Their numbers have a meaning without the bit on some kernels.
            x32.ask(&format!("{name}, without the bit"), (name, number, None), &[0; 6]);
        }
    }
    let x32 = x32.json();
    each_start(|daemon, _| {
        assert_eq!(inside(daemon, probe!("system_calls.py"), &i386)["machine_code"], "SIGSYS");
        assert_each(&inside(daemon, probe!("system_calls.py"), &x32), "ENOSYS");
    });
    let control = outside(probe!("system_calls.py"), &i386);
    if can(control["self"]["Seccomp"] == "0", "this container's own filter knows of i386") {
        assert_ne!(control["machine_code"], "SIGSYS", "{control:#}");
    }
}

// DG-03
#[test]
fn the_program_and_the_sandboxs_init_are_under_the_whole_filter() {
    let nothing = Questions::default().json();
    let control = outside(probe!("system_calls.py"), &nothing);
    let count =
        |status: &Value| status["Seccomp_filters"].as_str().map(|count| count.parse::<u32>().unwrap());
    each_start(|daemon, proc| {
        let seen = inside(daemon, probe!("system_calls.py"), &nothing);
        let mut who = vec!["self"];
        // Process 1 of a shared /proc is not the sandbox's.
        if proc == "private" {
            who.push("init");
        }
        for process in who {
            assert_eq!(seen[process]["Seccomp"], "2", "{process}: {seen:#}");
            assert_eq!(count(&seen[process]), count(&control["self"]).map(|ours| ours + 3), "{process}");
        }
        assert_eq!(daemon.get("/health").json()["isolation"]["seccomp"], "on");
    });
}

/// Things that filters have broken elsewhere.
#[test]
fn ordinary_programs_notice_nothing() {
    let daemon = Daemon::default_settings();
    let python = r#"
import asyncio, concurrent.futures, multiprocessing, os, select, signal, socket, subprocess, sys, tempfile, threading, time
from multiprocessing import shared_memory
def square(x): return x * x
if __name__ == "__main__":
    threads = [threading.Thread(target=time.sleep, args=(0.01,)) for _ in range(4)]
    [thread.start() for thread in threads]; [thread.join() for thread in threads]
    assert subprocess.run(["echo", "hi"], capture_output=True, text=True).stdout == "hi\n"
    assert os.system("true") == 0 and subprocess.getoutput("echo $((1+1))") == "2"
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    with multiprocessing.get_context("fork").Pool(2) as pool: assert pool.map(square, [1, 2, 3]) == [1, 4, 9]
    with concurrent.futures.ProcessPoolExecutor(2) as pool: assert list(pool.map(square, [2])) == [4]
    block = shared_memory.SharedMemory(create=True, size=4096); block.buf[0] = 1; block.close(); block.unlink()
    multiprocessing.Semaphore(2).acquire(); multiprocessing.Queue().close()
    async def child():
        process = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return (await process.communicate(b"x"))[0]
    assert asyncio.run(child()) == b"x"
    signal.setitimer(signal.ITIMER_REAL, 60); signal.alarm(0)
    a, b = socket.socketpair(); a.send(b"x"); assert b.recv(1) == b"x"
    server = socket.create_server(("127.0.0.1", 0)); client = socket.create_connection(server.getsockname())
    assert socket.if_nameindex() and os.sched_getaffinity(0) and os.getloadavg() and os.uname()
    os.sched_setaffinity(0, os.sched_getaffinity(0)); os.pidfd_open(os.getpid()); os.getrandom(8); os.eventfd(0)
    os.mkfifo("fifo"); os.link("fifo", "other");
    master, slave = os.openpty(); os.isatty(slave); os.ttyname(slave)
    import pty; assert pty.spawn(["true"]) == 0
    os.listxattr("/tmp"); os.nice(1)
    print("fine")
"#;
    let javascript = r#"
const { Worker } = require("worker_threads"), child = require("child_process"), os = require("os"), fs = require("fs");
(async () => {
  await new Promise((done, failed) => new Worker("require('fs').readFileSync('/etc/passwd')", { eval: true }).on("exit", done).on("error", failed));
  if (child.execSync("echo hi").toString() !== "hi\n") throw Error("execSync");
  const forked = child.spawn("cat"); forked.stdin.end("x"); await new Promise((done) => forked.on("close", done));
  await fs.promises.writeFile("a", "x"); await fs.promises.cp("a", "b"); fs.watch("a").close();
  os.networkInterfaces(); os.cpus(); os.userInfo(); process.memoryUsage(); require("crypto").randomBytes(8);
  await new Promise((done) => { const server = require("net").createServer().listen(0, "127.0.0.1", () => server.close(done)); });
  await WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));
  new SharedArrayBuffer(1 << 16);
  console.log("fine");
})();
"#;
    let shell = r#"
set -em
sleep 0.05 & jobs > /dev/null; fg > /dev/null
sleep 60 & kill -STOP %1; kill -CONT %1; kill %1; wait %1 2> /dev/null || true
cat <(echo one) | tr a-z A-Z | grep -q ONE
mkfifo f; (echo x > f) & read -r line < f; [[ $line = x ]]
cp -a /etc/passwd p; mv p q; tar cf - q | tar tf - > /dev/null; find / -maxdepth 1 > /dev/null; df /tmp > /dev/null; ps > /dev/null 2>&1 || true
timeout 5 nice -n 5 true; ulimit -a > /dev/null; id > /dev/null; uname -a > /dev/null
if type git > /dev/null 2>&1; then
    git init -q r; cd r; git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x; git gc -q; git status > /dev/null
fi
echo fine
"#;
    for (language, code) in [("python", python), ("javascript", javascript), ("shell", shell)] {
        let request = json!({ "language": language, "code": code, "mode": "script", "timeout": 60, "workspace": "fresh" });
        let result = daemon.execute(&request).result();
        assert_eq!(result["status"], "success", "{result:#}");
        assert_eq!(result["stdout"], "fine\n", "{result:#}");
        assert_eq!(result["stderr"], "", "{result:#}");
    }
    let numpy = "try:\n    import numpy\nexcept ModuleNotFoundError:\n    exit()\n\
                 print(int((numpy.ones((200, 200)) @ numpy.ones((200, 200))).sum()))";
    let result = daemon.execute(&json!({ "language": "python", "code": numpy, "mode": "script" })).result();
    assert_eq!(result["status"], "success", "{result:#}");
    if can(result["stdout"] != "", "numpy is not installed") {
        assert_eq!(result["stdout"], "8000000\n", "{result:#}");
        assert_eq!(result["stderr"], "", "{result:#}");
    }
}

// RS-06: what waits in a socket belongs to no process, so where nobody counts it there is little of it.
#[test]
fn socket_buffers_grow_only_where_they_are_counted() {
    const CODE: &str = "import errno, socket\n\
        pair = socket.socketpair()\n\
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF, 32, 33):\n\
        \x20   try: pair[0].setsockopt(socket.SOL_SOCKET, option, 1 << 20); print('set')\n\
        \x20   except PermissionError: print('EPERM')\n\
        pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)";
    each_start(|daemon, _| {
        let request = json!({ "language": "python", "mode": "script", "code": CODE, "workspace": "fresh" });
        let result = daemon.execute(&request).result();
        assert_eq!(result["status"], "success", "{result:#}");
        // The last two take a capability.
        let expected =
            if is_counted(daemon) { "set\nset\nEPERM\nEPERM\n" } else { "EPERM\nEPERM\nEPERM\nEPERM\n" };
        assert_eq!(result["stdout"], expected, "{result:#}");
    });
}
