//! The costs of the server: its processor time and its memory, from outside.
//!
//! Processor time is read from the CPU clock of each process (clock_getcpuclockid). The kernel keeps it in
//! nanoseconds for all threads of the process, those that ended among them, where /proc/PID/stat has only
//! ticks of 10 ms. Processes are those found when the run begins: a server that forks later is undercounted.

use std::fs;

/// A page, as /proc/PID/statm counts them.
const PAGE_BYTES: u64 = 4096;

/// The server's first process and all below it.
pub struct Server {
    processes: Vec<(u32, libc::clockid_t)>,
}

/// Kernel memory of the whole machine that grows with threads and sockets, in bytes.
pub struct KernelMemory {
    pub stacks: u64,
    pub slab: u64,
    pub page_tables: u64,
}

impl Server {
    pub fn of(pid: u32) -> Result<Server, String> {
        let mut pids = vec![pid];
        let parents = parents()?;
        let mut next = 0;
        while next < pids.len() {
            let parent = pids[next];
            let children = parents.iter().filter(|(_, above)| *above == parent);
            pids.extend(children.map(|(child, _)| child));
            next += 1;
        }
        let processes = pids.into_iter().map(|pid| Ok((pid, cpu_clock(pid)?))).collect::<Result<_, String>>()?;
        Ok(Server { processes })
    }

    /// Processor time so far, user and system, in nanoseconds.
    pub fn cpu_nanoseconds(&self) -> Result<u64, String> {
        let clocks = self.processes.iter();
        clocks.map(|(pid, clock)| read_clock(*pid, *clock)).sum()
    }

    /// Resident memory in bytes, added up: pages that processes share count in each.
    pub fn resident_bytes(&self) -> Result<u64, String> {
        let pids = self.processes.iter().map(|(pid, _)| pid);
        pids.map(|pid| {
            let path = format!("/proc/{pid}/statm");
            let text = read(&path)?;
            let pages = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
            let pages: u64 = pages.ok_or_else(|| format!("{path} lacks its second number"))?;
            Ok(pages * PAGE_BYTES)
        })
        .sum()
    }
}

impl KernelMemory {
    pub fn now() -> Result<KernelMemory, String> {
        let text = read("/proc/meminfo")?;
        let bytes = |key: &str| {
            let line = text.lines().find(|line| line.starts_with(key));
            let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
            let kilobytes: u64 = kilobytes.ok_or_else(|| format!("/proc/meminfo lacks {key}"))?;
            Ok::<u64, String>(kilobytes * 1024)
        };
        Ok(KernelMemory {
            stacks: bytes("KernelStack:")?,
            slab: bytes("SUnreclaim:")?,
            page_tables: bytes("PageTables:")?,
        })
    }
}

/// Every process and the one above it.
fn parents() -> Result<Vec<(u32, u32)>, String> {
    let entries = fs::read_dir("/proc").map_err(|error| format!("cannot list /proc: {error}"))?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids
        .filter_map(|pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name, in parentheses, may hold spaces; state and parent follow it.
            let behind_name = &stat[stat.rfind(')')? + 2..];
            Some((pid, behind_name.split(' ').nth(1)?.parse().ok()?))
        })
        .collect())
}

fn cpu_clock(pid: u32) -> Result<libc::clockid_t, String> {
    let mut clock = 0;
    // SAFETY: writes one clock id to a variable that outlives the call.
    match unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) } {
        0 => Ok(clock),
        error => Err(format!("process {pid} has no CPU clock: {}", std::io::Error::from_raw_os_error(error))),
    }
}

fn read_clock(pid: u32, clock: libc::clockid_t) -> Result<u64, String> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec to a variable that outlives the call.
    match unsafe { libc::clock_gettime(clock, &mut time) } {
        0 => Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64),
        _ => Err(format!("the server's process {pid} ended during the run")),
    }
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_is_seen_to_be_busy() {
        let server = Server::of(std::process::id()).unwrap();
        let before = server.cpu_nanoseconds().unwrap();
        let begin = std::time::Instant::now();
        while begin.elapsed().as_millis() < 20 {}
        let spent = server.cpu_nanoseconds().unwrap() - before;
        assert!(spent > 1_000_000, "only {spent} ns of processor time");
        assert!(server.resident_bytes().unwrap() > 100_000);
    }
}
