//! Memory under a limit: on reserved memory (`ulimit -v`), on written memory (`ulimit -d`) or on held memory (a control
//! group: a container, a unit of systemd). A process that has used all of it cannot go on, so large uses are refused
//! before that. If there is no such limit, this costs nothing. With or without one, a budget bounds all that slow
//! clients hold together.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Resource, getrlimit};
use rustix::system::sysinfo;

/// Memory that is kept free, in bytes: for a full history, for letters, and for thousands of connections without a
/// thread.
const SPARE: u64 = 32 * 1024 * 1024;

/// At most one in so many bytes of a limit is kept free, so that a small limit leaves room for listeners.
const SPARE_PART: u64 = 8;

/// The budget: slow clients may hold one in so many bytes of the smallest limit together, in half-sent answers and
/// half-received bodies.
const BUDGET_PART: u64 = 4;

/// The control groups of this process that have a limit at the first look.
static GROUPS: LazyLock<Vec<Group>> = LazyLock::new(|| {
    let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups(Path::new("/sys/fs/cgroup"), &memberships)
});

/// The smallest limit at the first look, in bytes. A machine's own limit is its memory.
static SMALLEST: LazyLock<u64> = LazyLock::new(|| {
    let machine = sysinfo();
    let of_limits = limits().map(|(limit, _)| limit);
    of_limits.fold(machine.totalram as u64 * u64::from(machine.mem_unit), u64::min)
});

/// Whether there is memory for one more thread or one more long body, as far as can be known.
pub fn is_left() -> bool {
    limits().all(|(limit, held)| held + SPARE.min(limit / SPARE_PART) <= limit)
}

/// How many unsent bytes the kernel may hold for one client: more on a machine that has more memory.
pub fn unsent_bytes() -> u32 {
    (*SMALLEST / 2048).clamp(32 * 1024, 128 * 1024) as u32
}

/// Bytes of the budget, given back when dropped.
#[derive(Default)]
pub struct Claim(u64);

/// The largest claim that may use all of the budget, in bytes. It is twice the longest message taken by default, as the
/// receiving buffer grows by doubling.
const SMALL: usize = 128 * 1024;

/// Bytes of the budget that are claimed.
static CLAIMED: AtomicU64 = AtomicU64::new(0);

impl Claim {
    /// Claims `bytes`; `None` if the budget is used up.
    pub fn of(bytes: usize) -> Option<Claim> {
        let mut claim = Claim::default();
        claim.grow_to(bytes).then_some(claim)
    }

    /// Makes sure that `bytes` are claimed; false if the budget is used up. A large claim may use only half of the
    /// budget, and only while memory is left. So small claims, which nearly all messages are, find room behind the
    /// large ones.
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let more = (bytes as u64).saturating_sub(self.0);
        if bytes > SMALL && more > 0 && !is_left() {
            return false;
        }
        let most = *SMALLEST / BUDGET_PART / if bytes > SMALL { 2 } else { 1 };
        if CLAIMED.fetch_add(more, Ordering::Relaxed) + more > most {
            CLAIMED.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.0 += more;
        true
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// The limits on this process that are known, each in bytes, and how many bytes count.
fn limits() -> impl Iterator<Item = (u64, u64)> {
    // All of the address space, and private memory that can be written, by their names in proc_pid_status(5).
    let of_process = [(Resource::As, "VmSize:"), (Resource::Data, "VmData:")].into_iter();
    let of_process = of_process.filter_map(|(resource, name)| Some((getrlimit(resource).current?, status(name)?)));
    of_process.chain(GROUPS.iter().filter_map(of_group))
}

/// The folder of a control group, and the names of its files.
type Group = (PathBuf, [&'static str; 4]);

/// The control groups that `memberships` lists (cgroups(7)), and those above them, as far as they have a limit.
fn groups(root: &Path, memberships: &str) -> Vec<Group> {
    let of_line = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (root, names) = match controllers {
            "" => (root.to_owned(), V2),
            names if names.split(',').any(|name| name == "memory") => (root.join("memory"), V1),
            _ => return None,
        };
        // In a container the path may be the host's; the container's own group is at the root.
        let above = Path::new(path.trim_start_matches('/')).ancestors().map(|path| root.join(path));
        Some(above.map(|folder| (folder, names)).collect::<Vec<_>>())
    };
    memberships.lines().filter_map(of_line).flatten().filter(|group| of_group(group).is_some()).collect()
}

/// The names in a control group of its limit, of the bytes that it holds, and of the pages of files among these, which
/// the kernel takes away first: in version 1 and in version 2 of control groups.
const V1: [&str; 4] = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file"];
const V2: [&str; 4] = ["memory.max", "memory.current", "inactive_file", "active_file"];

/// The limit of a control group, and the bytes that it holds.
fn of_group((folder, [limit, held, files @ ..]): &Group) -> Option<(u64, u64)> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let limit: u64 = read(limit)?.trim().parse().ok().filter(|limit| *limit < 1 << 62)?; // `max`, or nearly 2^63
    let stat = read("memory.stat")?;
    let pairs = stat.lines().filter_map(|line| line.split_once(' ')).filter(|(name, _)| files.contains(name));
    let of_files: u64 = pairs.filter_map(|(_, bytes)| bytes.parse::<u64>().ok()).sum();
    Some((limit, read(held)?.trim().parse::<u64>().ok()?.saturating_sub(of_files)))
}

/// The figure after `name` in what the kernel tells of this process, in bytes; it tells it in kB.
fn status(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(1024 * line.split_whitespace().next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn claims_are_given_back_and_never_more_than_the_budget() {
        let half = usize::try_from(*super::SMALLEST / super::BUDGET_PART / 2).unwrap();
        assert!(super::Claim::of(half + 1).is_none());
        let mut first = super::Claim::of(half - 1).unwrap();
        assert!(super::Claim::of(super::SMALL + 1).is_none() && !first.grow_to(half + 1));
        assert!(super::Claim::of(super::SMALL).is_some(), "what is small finds room");
        drop(first);
        assert!(super::Claim::of(half - 1).is_some(), "nothing is left of what was refused");
    }

    #[test]
    fn what_is_reserved_is_counted() {
        let before = super::status("VmSize:").unwrap();
        let reserved = std::hint::black_box(Vec::<u8>::with_capacity(100 << 20));
        let half = reserved.capacity() as u64 / 2;
        assert!(super::status("VmSize:").unwrap() >= before + half, "others give back meanwhile");
    }

    #[test]
    fn a_limit_of_a_control_group_of_either_version_is_found_also_of_one_above() {
        let root = std::env::temp_dir().join(format!("aloud-groups-{}", std::process::id()));
        let write = |file: &str, text: &str| {
            let file = root.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        let found = |memberships: &str| -> Vec<(u64, u64)> {
            super::groups(&root, memberships).iter().filter_map(super::of_group).collect()
        };
        assert_eq!(found("0::/a/b\n"), []);
        for (folder, limit) in [("a", "1000\n"), ("a/b", "max\n")] {
            write(&format!("{folder}/memory.max"), limit);
            write(&format!("{folder}/memory.current"), "900\n");
            write(&format!("{folder}/memory.stat"), "anon 500\ninactive_file 100\nactive_file 50\n");
        }
        assert_eq!(found("0::/a/b\n"), [(1000, 750)]);
        assert_eq!(found("0::/elsewhere\n1:cpu,memory:/a/b\n"), []);
        write("memory/memory.limit_in_bytes", "2000");
        write("memory/memory.usage_in_bytes", "1900");
        write("memory/memory.stat", "cache 7\ntotal_inactive_file 100\ntotal_active_file 200\n");
        assert_eq!(found("1:cpu,memory:/a/b\n"), [(2000, 1600)], "the container's own, at the root");
        write("memory/memory.limit_in_bytes", "9223372036854771712");
        assert_eq!(found("1:memory:/\n"), []);
        std::fs::remove_dir_all(root).unwrap();
    }
}
