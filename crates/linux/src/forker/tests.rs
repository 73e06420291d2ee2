use std::ffi::CStr;

use super::*;
use crate::calls::{self, Mounting};

#[test]
fn numbers_are_the_kernels() {
    let ours = [
        (number::READ, libc::SYS_read),
        (number::WRITE, libc::SYS_write),
        (number::CLOSE, libc::SYS_close),
        (number::RT_SIGACTION, libc::SYS_rt_sigaction),
        (number::SENDMSG, libc::SYS_sendmsg),
        (number::RECVMSG, libc::SYS_recvmsg),
        (number::CLONE, libc::SYS_clone),
        (number::WAIT4, libc::SYS_wait4),
        (number::FCNTL, libc::SYS_fcntl),
        (number::GETRUSAGE, libc::SYS_getrusage),
        (number::EXIT_GROUP, libc::SYS_exit_group),
        (number::CLOSE_RANGE, libc::SYS_close_range),
    ];
    for (ours, theirs) in ours {
        assert_eq!(ours, theirs.cast_unsigned());
    }
    assert_eq!((EAGAIN, -EINTR), (libc::EAGAIN, libc::EINTR as isize));
    assert_eq!((SIGCHLD, SIG_IGN), (libc::SIGCHLD as usize, libc::SIG_IGN));
    assert_eq!((CLONE_PIDFD, F_DUPFD_CLOEXEC), (libc::CLONE_PIDFD as usize, libc::F_DUPFD_CLOEXEC as usize));
    assert_eq!(MSG_CMSG_CLOEXEC, libc::MSG_CMSG_CLOEXEC as usize);
    assert_eq!(MSG_NOSIGNAL, libc::MSG_NOSIGNAL as usize);
    assert_eq!((SOL_SOCKET, SCM_RIGHTS), (libc::SOL_SOCKET, libc::SCM_RIGHTS));
    assert_eq!((WUNTRACED, RUSAGE_CHILDREN as i32), (libc::WUNTRACED as usize, libc::RUSAGE_CHILDREN));
    assert_eq!(size_of::<Usage>(), size_of::<libc::rusage>());
    assert_eq!(size_of::<Message>(), size_of::<libc::msghdr>());
}

/// The words of an order, its distances made pointers, and where its steps begin.
fn read(order: &[u8]) -> (Vec<u64>, usize) {
    let mut words: Vec<u64> =
        order.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect();
    let steps = resolve(&mut words).unwrap();
    (words, steps)
}

fn text(at: usize) -> String {
    let at = std::ptr::with_exposed_provenance(at);
    // SAFETY: an order's texts lie in it, and end with a zero.
    unsafe { CStr::from_ptr(at) }.to_str().unwrap().to_owned()
}

#[test]
fn what_is_written_down_is_what_is_read() {
    let steps = [
        calls::Step::new(
            "root",
            [
                calls::mount("none", "/a longer path", Mounting::New("tmpfs", "size=1"), 6),
                calls::chdir("/1234567"),
            ],
        ),
        calls::Step::new("program", [calls::fork(), calls::refuses_writing("/proc/sys")]),
    ];
    let (words, begin) = read(&calls::written(&steps).unwrap());
    words.as_ptr().expose_provenance();
    let first: *const Step = words[begin..].as_ptr().cast();
    // SAFETY: four calls and the end were written.
    let steps = unsafe { std::slice::from_raw_parts(first, 5) };
    let [mount, chdir, fork, access, end] = steps else { panic!() };
    let names = [mount, chdir, fork, access].map(|step| text(step.name.addr()));
    assert_eq!(names, ["root", "root", "program", "program"]);
    assert_eq!(mount.number, libc::SYS_mount.cast_unsigned());
    assert_eq!(
        [0, 1, 2, 4].map(|place| text(mount.arguments[place])),
        ["none", "/a longer path", "tmpfs", "size=1"]
    );
    assert_eq!((mount.arguments[3], mount.least, mount.arguments[5]), (6, 0, 0));
    // A text that fills its words has a zero behind it, too.
    assert_eq!((text(chdir.arguments[0]).as_str(), fork.number, end.number), ("/1234567", FORK, END));
    assert_eq!((access.arguments[0] as isize, access.least), (libc::AT_FDCWD as isize, REFUSED));
}

#[test]
fn structures_point_into_the_order() {
    let code = [7; 24];
    let arguments = ["/sbx/launcher".to_owned(), "0".to_owned()];
    let execute = calls::execute(&arguments, &[("HOME", "/tmp".to_owned())]);
    let (words, begin) =
        read(&calls::written(&[calls::Step::new("x", [calls::filter_calls(&code), execute])]).unwrap());
    let word =
        |pointer: u64| words[(usize::try_from(pointer).unwrap() - words.as_ptr().addr()) / 8..].to_vec();
    words.as_ptr().expose_provenance();
    let filter = word(words[begin + 5]);
    assert_eq!((filter[0], word(filter[1])[0]), (3, u64::from_ne_bytes([7; 8])));
    let execute = &words[begin + STEP..];
    let [argv, envp] = [word(execute[4]), word(execute[5])];
    assert_eq!(text(execute[3] as usize), "/sbx/launcher");
    assert_eq!([text(argv[0] as usize), text(argv[1] as usize)], ["/sbx/launcher", "0"]);
    assert_eq!((argv[2], text(envp[0] as usize).as_str(), envp[1]), (0, "HOME=/tmp", 0));
}

#[test]
fn an_order_that_is_too_long_is_not_written() {
    let long = vec![calls::chdir("/"); ROOM / STEP];
    let error = calls::written(&[calls::Step::new("x", long)]).unwrap_err();
    assert!(error.to_string().contains("too long"), "{error}");
}

#[test]
fn distances_that_lead_out_of_an_order_are_not_followed() {
    for mut words in [vec![], vec![1], vec![2, 1, 99], vec![u64::MAX, 1], vec![1, u64::MAX]] {
        assert_eq!(resolve(&mut words), None);
    }
}

#[test]
fn lines_are_cut_off_where_there_is_no_more_room() {
    let mut line = Line::new();
    line.text(b"a").number(0).number(1_234_567_890);
    assert_eq!(&line.text[..line.length], b"a01234567890");
    line.text(&[b'x'; 300]);
    assert_eq!(line.length, 256);
}
