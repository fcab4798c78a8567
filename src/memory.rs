//! Memory where the system limits how much of it may be reserved (`ulimit -v`). Nothing goes on without the last of it,
//! so what takes much is refused before. Without such a limit nothing here costs anything.

use std::fs;
use std::sync::OnceLock;

use rustix::process::{Resource, getrlimit};

/// What is kept free, in bytes: for a full history, for letters, and for thousands of connections without a thread.
const SPARE: u64 = 32 * 1024 * 1024;

/// At most this part of a limit is kept free: where it is small, listeners are what it is for.
const SPARE_PART: u64 = 8;

/// Whether there is memory for one more thread, or one more long body.
pub fn is_left() -> bool {
    static LIMIT: OnceLock<Option<u64>> = OnceLock::new();
    match LIMIT.get_or_init(|| getrlimit(Resource::As).current) {
        None => true,
        Some(limit) => reserved().is_none_or(|reserved| reserved + SPARE.min(limit / SPARE_PART) <= *limit),
    }
}

/// How much is reserved now, in bytes: the 23rd field of proc_pid_stat(5), counted from behind the process's name.
/// `None` where that cannot be known.
fn reserved() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(20)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_reserved_is_counted() {
        let before = super::reserved().unwrap();
        let reserved = std::hint::black_box(Vec::<u8>::with_capacity(100 << 20));
        assert!(super::reserved().unwrap() >= before + reserved.capacity() as u64 / 2, "others give back meanwhile");
    }
}
