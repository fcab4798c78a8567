//! Calls of the C library that no crate makes safely. Five lines of `unsafe`.

use std::time::Duration;

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

/// The time since boot, the machine's sleep included; on a kernel before 2.6.39, the time that it was awake.
/// (clock_gettime(2). rustix finds the call by itself, and fails where a process runs under valgrind.)
pub fn since_boot() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    for clock in [libc::CLOCK_BOOTTIME, libc::CLOCK_MONOTONIC] {
        // SAFETY: the call writes to `time`, which lives as long as the call.
        #[allow(unsafe_code)]
        let result = unsafe { libc::clock_gettime(clock, &mut time) };
        if result == 0 {
            break;
        }
    }
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The system's error with which SQLite has failed last in `database`.
#[cfg(feature = "store")]
pub fn system_error(database: &rusqlite::Connection) -> std::io::Error {
    // SAFETY: the handle is open as long as `database` is borrowed, and the call only reads a number.
    #[allow(unsafe_code)]
    let number = unsafe { rusqlite::ffi::sqlite3_system_errno(database.handle()) };
    std::io::Error::from_raw_os_error(number)
}
