//! How this process gives memory back.

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
