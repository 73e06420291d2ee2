//! Takes a variable out of the environment that the kernel shows of this process.
//!
//! `/proc/PID/environ` is the block of memory that execve(2) made, whatever becomes of the pointers to it: taking a variable
//! away with unsetenv(3) leaves its bytes there. So the bytes themselves are overwritten.

use std::ffi::CString;
use std::{fs, io};

/// Overwrites the variable, name and value, with zeros, as often as it is there.
///
/// # Errors
/// This process has more than one thread, or it cannot be told (there is no `/proc`): another one might read the environment
/// at this moment. Nothing was changed. Also a name with a NUL in it.
pub fn forget(name: &str) -> io::Result<()> {
    let key = CString::new(name)?;
    if name.is_empty() || name.contains('=') || std::env::var_os(name).is_none() {
        return Ok(());
    }
    let threads = fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!("{threads} threads run already")));
    }
    loop {
        // SAFETY: there is no other thread, so nobody changes the environment meanwhile, and `key` is a C string.
        let value = unsafe { libc::getenv(key.as_ptr()) };
        if value.is_null() {
            return Ok(());
        }
        // SAFETY: getenv(3) gives the end of a C string `NAME=VALUE`, which is in the environment and stays there.
        let length = unsafe { libc::strlen(value) };
        // SAFETY: those bytes are the string's own, writable (the kernel puts it on the stack, setenv(3) on the heap), and
        // nobody else refers to them: there is no other thread, and `std::env` hands out copies.
        unsafe { value.write_bytes(0, length) };
        let before = name.len() + 1;
        // SAFETY: `NAME=` stands before the value, in the same string.
        let start = unsafe { value.sub(before) };
        // SAFETY: as for the value. What is left is an empty string, which is no variable: the next look finds the next one.
        unsafe { start.write_bytes(0, before) };
    }
}
