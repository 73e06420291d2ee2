//! Calls that the filter of a sandbox refuses, made only to see that it does.
//!
//! Each is harmless where nothing refuses it: it fails for want of arguments, or makes something that ends with this process.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use nix::sched::{CloneFlags, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// unshare(2), for a process with one thread.
pub fn new_user_namespace() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_NEWUSER)?)
}

/// clone3(2) without arguments: `EINVAL` where it is there.
pub fn clone3() -> io::Result<()> {
    let none = std::ptr::null::<libc::clone_args>();
    // SAFETY: with a size of 0 the kernel refuses before it reads anything.
    let returned = unsafe { libc::syscall(libc::SYS_clone3, none, 0_usize) };
    if returned == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A socket that hears what devices come and go (netlink(7)); anybody may have one.
pub fn device_events() -> io::Result<()> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: three numbers.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_KOBJECT_UEVENT) };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given it to this process, and nobody else knows it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}

/// personality(2) with `ADDR_NO_RANDOMIZE`, which holds for programs this one starts.
pub fn without_randomisation() -> io::Result<()> {
    let domain = libc::ADDR_NO_RANDOMIZE.cast_unsigned();
    // SAFETY: one number.
    let before = unsafe { libc::personality(domain.into()) };
    if before == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// memfd_create(2).
pub fn memory_file() -> io::Result<()> {
    Ok(memfd_create("self-test", MFdFlags::MFD_CLOEXEC).map(drop)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_the_filter_reaches_the_kernel() {
        memory_file().unwrap();
        device_events().unwrap();
        // A container's own filter may say that there is none.
        let errno = clone3().unwrap_err().raw_os_error();
        assert!([Some(libc::EINVAL), Some(libc::ENOSYS)].contains(&errno), "{errno:?}");
    }
}
