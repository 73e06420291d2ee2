//! How this process gives memory back, and which of it it can still write.

use std::io;

/// Keeps the C library from holding on to large buffers that were freed: from 1 MiB on each is a mapping of its own
/// (mallopt(3)), and the kernel has it back at once.
///
/// Left alone, glibc raises that threshold each time such a mapping is freed, up to 32 MiB: after a few answers of 10 MiB
/// the next ones come from the heaps of whichever threads made them, and those heaps hardly ever shrink.
pub fn return_large_buffers() {
    // Other C libraries have no such threshold.
    #[cfg(target_env = "gnu")]
    // SAFETY: `mallopt` takes two numbers and changes nothing but the allocator's own settings.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1024 * 1024);
    }
}

/// Gives the kernel back what was freed and lies between what is still used, in the heaps of all threads (malloc_trim(3)). glibc
/// does so by itself only at the end of a heap. Takes milliseconds, in which other threads may wait for memory.
pub fn return_what_is_free() {
    // Other C libraries have no such call.
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` takes a number and changes nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Makes read-only what had to be written only while this program was loaded, such as its tables of functions (`PT_GNU_RELRO`,
/// elf(5)). The loader of a dynamic program does that. A static one with musl has no loader, and musl leaves it undone (1.2.5).
///
/// Call it before there is a second thread.
pub fn protect_what_was_relocated() -> io::Result<()> {
    #[cfg(target_env = "musl")]
    {
        let mut result: libc::c_int = 0;
        let place: *mut libc::c_int = &mut result;
        // SAFETY: `protect` is called for each loaded object before this returns, and `result` outlives that.
        unsafe { libc::dl_iterate_phdr(Some(protect), place.cast()) };
        if result != 0 {
            return Err(io::Error::from_raw_os_error(result));
        }
    }
    Ok(())
}

/// For dl_iterate_phdr(3): leaves the error's number in `result`, and ends the walk then.
#[cfg(target_env = "musl")]
unsafe extern "C" fn protect(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    result: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the C library hands out a valid description of a loaded object.
    let object = unsafe { &*object };
    // SAFETY: so many headers lie there, for as long as the object is loaded.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
    // SAFETY: sysconf(3) takes a number and gives one.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as libc::Elf64_Addr;
    for header in headers.iter().filter(|header| header.p_type == libc::PT_GNU_RELRO) {
        let begin = object.dlpi_addr + header.p_vaddr;
        // A last page that is ours in part stays writable: what else lies in it must be.
        let (first, end) = (begin / page * page, (begin + header.p_memsz) / page * page);
        let length = end.saturating_sub(first) as libc::size_t;
        // SAFETY: these pages are this program's own; the linker put there only what is written while it is loaded.
        if unsafe { libc::mprotect(first as *mut libc::c_void, length, libc::PROT_READ) } != 0 {
            let error = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL);
            // SAFETY: the caller passes a place for one number.
            unsafe { result.cast::<libc::c_int>().write(error) };
            return error;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A function's address in a constant that is not known before the program is loaded.
    static RELOCATED: &[fn() -> io::Result<()>] = &[protect_what_was_relocated];

    #[test]
    fn what_was_relocated_cannot_be_written_any_more() {
        protect_what_was_relocated().unwrap();
        let address = std::hint::black_box(RELOCATED).as_ptr() as usize;
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let holds = |line: &&str| {
            let (begin, end) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
            let number = |text| usize::from_str_radix(text, 16).unwrap();
            (number(begin)..number(end)).contains(&address)
        };
        let line = maps.lines().find(holds).unwrap();
        assert!(line.contains(" r--p "), "{line}");
    }
}
