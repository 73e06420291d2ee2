//! Forgetting a variable, in a process of one thread: the kernel then shows nothing of it.
//!
//! The test starts itself again, with the variable (twice) and with another one that must stay.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::ffi::{OsStr, OsString};
use std::fs;

use linux::spawn::spawn_runtime;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

const CANARY: &str = "canary-in-the-environment";

fn main() {
    if std::env::args().nth(1).as_deref() == Some("inside") {
        return inside();
    }
    // Twice under one name, which the standard library would not do.
    let names = [("SECRET", CANARY), ("OTHER", "stays"), ("SECRET", CANARY), ("SECRETIVE", "stays too")];
    let env = names.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let arguments = [OsString::from("inside")];
    let itself = std::env::current_exe().unwrap();
    let child = spawn_runtime(&itself, &arguments, &[], Some(env.into())).unwrap();
    let child = Pid::from_raw(i32::try_from(child).unwrap());
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
}

fn shown() -> String {
    String::from_utf8(fs::read("/proc/self/environ").unwrap()).unwrap()
}

fn inside() {
    // The control: it is there, and taking the pointer away leaves it there.
    assert!(shown().contains(CANARY));
    linux::environment::forget("MISSING").unwrap();
    linux::environment::forget("").unwrap();

    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || stopped.recv().is_err());
    let refused = linux::environment::forget("SECRET").unwrap_err();
    assert!(refused.to_string().contains("2 threads"), "{refused}");
    assert_eq!(std::env::var_os("SECRET").as_deref(), Some(OsStr::new(CANARY)));
    drop(stop);
    thread.join().unwrap();
    // A thread that was joined may not have left the list yet.
    while fs::read_dir("/proc/self/task").unwrap().count() > 1 {
        std::thread::yield_now();
    }

    linux::environment::forget("SECRET").unwrap();
    assert!(!shown().contains(CANARY) && !shown().contains("SECRET="), "{}", shown());
    assert!(shown().contains("OTHER=stays") && shown().contains("SECRETIVE=stays too"));
    assert_eq!(std::env::var_os("SECRET"), None);
    assert_eq!(std::env::vars_os().filter(|(name, _)| name == "OTHER").count(), 1);
    assert!(std::env::vars_os().all(|(name, _)| !name.is_empty()));
}
