//! Calls of the C library that no crate makes safely.

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
    handle(signal, libc::SIG_IGN);
}

/// Gives `signal` its default effect from now on (signal(7)).
pub fn restore(signal: i32) {
    handle(signal, libc::SIG_DFL);
}

/// Whether `signal` is ignored.
pub fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeros are a valid action, which the call only overwrites; it changes nothing else.
    #[allow(unsafe_code)]
    let action = unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

fn handle(signal: i32, handler: libc::sighandler_t) {
    // SAFETY: neither handler runs code of ours, or touches the process's memory.
    #[allow(unsafe_code)]
    unsafe {
        libc::signal(signal, handler);
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
