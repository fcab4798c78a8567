//! Calls of the C library that no crate makes safely. Four lines of `unsafe`.

/// Makes all threads share one heap if address space is limited (`ulimit -v`). Otherwise glibc makes up to eight heaps
/// for each core and reserves 64 MiB for each (mallopt(3), `M_ARENA_MAX`). Call it before threads are started.
pub fn spare_address_space() {
    #[cfg(target_env = "gnu")]
    if rustix::process::getrlimit(rustix::process::Resource::As).current.is_some() {
        // SAFETY: the call sets a number, under the allocator's own lock.
        #[allow(unsafe_code)]
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}

/// Ignores `signal` from now on.
pub fn ignore(signal: i32) {
    // SAFETY: to ignore runs no code, and touches none of the process's memory.
    #[allow(unsafe_code)]
    unsafe {
        libc::signal(signal, libc::SIG_IGN);
    }
}

/// Gives the system back what was freed: glibc keeps it otherwise, so that after a crowd has left the process stays as
/// large as the crowd was (malloc_trim(3)).
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes the allocator's own locks, one heap after the other.
    #[allow(unsafe_code)]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The system's error with which SQLite has failed last in `database`.
#[cfg(feature = "store")]
pub fn system_error(database: &rusqlite::Connection) -> std::io::Error {
    // SAFETY: the handle is open as long as `database` is borrowed, and the call only reads a number.
    #[allow(unsafe_code)]
    let number = unsafe { rusqlite::ffi::sqlite3_system_errno(database.handle()) };
    std::io::Error::from_raw_os_error(number)
}
