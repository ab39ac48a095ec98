//! The process's allocator.
#![allow(unsafe_code)]

/// Lets all threads of this process allocate from one heap.
///
/// For programs that bound their memory, before they start threads: glibc gives each thread a heap of
/// its own, and none of them gives back what it once needed, so that together they may take several
/// times what is in use at any moment. Elsewhere this does nothing. The library never does this.
pub(crate) fn share_one_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes two integers and no pointers; glibc documents it as safe to call at any time
    // before or between allocations, under a lock of its own.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
