//! The log: to stderr, one line for each event worth knowing. Trouble that may come a thousand times a second is
//! logged a few times, then counted, so that no client can fill a disk with it. Client input is escaped before it is
//! logged (`text::shown`).
//!
//! **Nobody waits for stderr**, which may be a stopped terminal, or a pipe that nobody reads. Lines are put into a
//! bounded queue, and a thread writes them. A line that does not fit is dropped and counted, and the count is written
//! when there is room again.

use std::fmt::Display;
use std::io::{self, LineWriter, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use log::LevelFilter;
use simplelog::{ConfigBuilder, WriteLogger};

use crate::clock;
use crate::sync::lock;

/// Lines written about one kind of trouble in one [`SPAN`].
const LINES: u64 = 5;

/// The time after which a kind of trouble is news again.
const SPAN: Duration = Duration::from_secs(10);

/// The most lines that wait to be written.
const MOST_WAITING: usize = 500;

/// Room for a line that simplelog writes in pieces, in bytes.
const LINE_BYTES: usize = 16 * 1024;

/// The stack of the thread that writes.
const STACK_BYTES: usize = 64 * 1024;

/// The lines on their way to stderr.
static QUEUE: LazyLock<Queue> = LazyLock::new(Queue::default);

/// Starts a thread that writes log lines of `level` or graver to stderr, a panic's message among them.
///
/// # Errors
/// The system's, if no thread can be started.
pub fn start(level: LevelFilter) -> io::Result<()> {
    let write = || QUEUE.write_to(io::stderr());
    thread::Builder::new().name("log".to_owned()).stack_size(STACK_BYTES).spawn(write)?;
    let mut config = ConfigBuilder::new();
    config.set_time_level(LevelFilter::Off).set_thread_level(LevelFilter::Off).set_target_level(LevelFilter::Off);
    config.set_location_level(LevelFilter::Off);
    // An embedding program may have a log already.
    let _ = WriteLogger::init(level, config.build(), LineWriter::with_capacity(LINE_BYTES, Lines));
    // This goes past the log, because the panic may be in the middle of a log line.
    std::panic::set_hook(Box::new(|panic| {
        if log::max_level() >= LevelFilter::Error {
            QUEUE.put(format!("{} [ERROR] {}\n", now(), panic.to_string().replace(char::is_control, " ")).into());
        }
    }));
    Ok(())
}

/// Writes `line` as it is, whatever the level.
pub fn say(line: &str) {
    QUEUE.put(format!("{line}\n").into());
}

/// Waits until all lines are written, but no longer than `limit`.
pub fn finish(limit: Duration) {
    let deadline = Instant::now() + limit;
    let (tell, told) = bounded(0);
    let _ = QUEUE.lines.0.send_deadline((vec![], Some(tell)), deadline);
    let _ = told.recv_deadline(deadline);
}

/// Puts lines into the queue, each behind the time.
struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        QUEUE.put([now().as_bytes(), b" ", line].concat());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line for the thread that writes, and a sender that it drops when the line is written.
type Entry = (Vec<u8>, Option<Sender<()>>);

/// Lines that wait to be written.
struct Queue {
    /// To the thread that writes, which lives as long as the process. Bounded; a line that does not fit is lost.
    lines: (Sender<Entry>, Receiver<Entry>),
    /// How many lines were lost and not told of yet.
    lost: AtomicU64,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { lines: bounded(MOST_WAITING), lost: AtomicU64::new(0) }
    }
}

impl Queue {
    /// Puts a line. Never waits for the writer. After a lost line none is put until all are written, so that the count
    /// stands in the place of the lost lines.
    fn put(&self, line: Vec<u8>) {
        let is_behind = self.lost.load(Ordering::SeqCst) > 0 && !self.lines.0.is_empty();
        if is_behind || self.lines.0.try_send((line, None)).is_err() {
            self.lost.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The life of the thread that writes: each line in one write, which a pipe takes whole, and behind the last one
    /// how many were lost.
    fn write_to(&self, mut out: impl Write) {
        for (line, _told) in &self.lines.1 {
            if out.write_all(&line).is_err() {
                self.lost.fetch_add(1, Ordering::SeqCst);
            } else if self.lines.1.is_empty() {
                let count = self.lost.swap(0, Ordering::SeqCst);
                let line = format!("{} [WARN] {count} log lines were lost; nobody read them\n", now());
                if count > 0 && out.write_all(line.as_bytes()).is_err() {
                    self.lost.fetch_add(count, Ordering::SeqCst);
                }
            }
        }
    }
}

fn now() -> String {
    clock::rfc3339(clock::machine_micros())
}

/// New connections that fail: no thread could be started, or descriptors ran out.
pub static ACCEPTING: RateLimited = RateLimited::new("trouble with accepting");
/// Listeners that were hung up on or given up.
pub static SLOW_LISTENERS: RateLimited = RateLimited::new("slow listeners");
/// Clients that were turned away because the server was full.
pub static FULL: RateLimited = RateLimited::new("turned away");
/// Webhooks that did not prove the secret.
pub static HOOKS: RateLimited = RateLimited::new("refused hooks");
/// Messages that could not be kept.
pub static KEEPING: RateLimited = RateLimited::new("trouble with keeping messages");

/// One kind of trouble.
pub struct RateLimited {
    what: &'static str,
    /// How often it came since its first line, and when that was written; `None` if it is news.
    lately: Mutex<Option<(Instant, u64)>>,
}

impl RateLimited {
    const fn new(what: &'static str) -> RateLimited {
        RateLimited { what, lately: Mutex::new(None) }
    }

    /// Logs `line` as a warning, or only counts it if enough like it were logged lately.
    pub fn warn(&self, line: impl Display) {
        if self.is_news(Instant::now()) {
            log::warn!("{line}");
        }
    }

    fn is_news(&self, now: Instant) -> bool {
        self.settle(now);
        let mut lately = lock(&self.lately);
        let (_, count) = lately.get_or_insert((now, 0));
        *count += 1;
        *count <= LINES
    }

    /// Logs how many lines were only counted, once their span is over.
    fn settle(&self, now: Instant) {
        let over = lock(&self.lately).take_if(|(since, _)| now.duration_since(*since) >= SPAN);
        if let Some((_, count)) = over.filter(|(_, count)| *count > LINES) {
            log::warn!("{}: {} more in {} s", self.what, count - LINES, SPAN.as_secs());
        }
    }
}

/// Logs the counts of every kind of trouble. The keeper calls it once a second.
pub fn settle_all() {
    let now = Instant::now();
    [&ACCEPTING, &SLOW_LISTENERS, &FULL, &HOOKS, &KEEPING].into_iter().for_each(|trouble| trouble.settle(now));
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;

    #[test]
    fn repeated_trouble_is_counted_and_news_again_later() {
        let trouble = RateLimited::new("test");
        let start = Instant::now();
        let said = (0..100).filter(|_| trouble.is_news(start)).count();
        assert_eq!(said as u64, LINES);
        assert_eq!(*trouble.lately.lock().unwrap(), Some((start, 100)));
        assert!(trouble.is_news(start + SPAN), "news again after the span");
        assert_eq!(*trouble.lately.lock().unwrap(), Some((start + SPAN, 1)), "what was counted has been said");
    }

    /// A stderr that takes nothing before it is allowed to, then all.
    struct Stuck {
        allowed: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Stuck {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let _ = self.allowed.recv();
            let _ = self.written.send(text.to_vec());
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue_and_writer(out: impl Write + Send + 'static) -> &'static Queue {
        let queue: &Queue = Box::leak(Box::default());
        thread::spawn(|| queue.write_to(out));
        queue
    }

    fn writer_that_is_stuck() -> (&'static Queue, Sender<()>, Receiver<Vec<u8>>) {
        let (allow, allowed) = unbounded();
        let (written, text) = unbounded();
        (queue_and_writer(Stuck { allowed, written }), allow, text)
    }

    #[test]
    fn lines_that_nobody_reads_are_counted_and_the_count_is_written_where_they_are_missing() {
        let (queue, allow, text) = writer_that_is_stuck();
        (0..1000).for_each(|number| queue.put(format!("{number}\n").into()));
        drop(allow);
        let mut numbers: Vec<u32> = vec![];
        let lost: u32 = loop {
            let line = String::from_utf8(text.recv().unwrap()).unwrap();
            if let Some((before, _)) = line.split_once(" log lines were lost; nobody read them\n") {
                break before.rsplit(' ').next().unwrap().parse().unwrap();
            }
            numbers.push(line.trim_end().parse().unwrap());
        };
        assert!((MOST_WAITING..=MOST_WAITING + 1).contains(&numbers.len()), "{}", numbers.len());
        assert!(numbers.iter().copied().eq(0..numbers.len() as u32), "the oldest, in order");
        assert_eq!(numbers.len() as u32 + lost, 1000);
        queue.put(b"there is room again\n".to_vec());
        assert_eq!(text.recv().unwrap(), b"there is room again\n");
    }

    #[test]
    fn what_could_not_be_written_is_counted_too() {
        struct Full(u32, Sender<Vec<u8>>);
        impl Write for Full {
            fn write(&mut self, text: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0 <= 2 {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.1.send(text.to_vec()).unwrap();
                Ok(text.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (written, text) = unbounded();
        let queue = queue_and_writer(Full(0, written));
        for lost in 1..=2 {
            queue.put(b"a line\n".to_vec());
            while queue.lost.load(Ordering::SeqCst) < lost {
                thread::yield_now();
            }
        }
        queue.put(b"three\n".to_vec());
        assert_eq!(text.recv().unwrap(), b"three\n");
        let count = String::from_utf8(text.recv().unwrap()).unwrap();
        assert!(count.ends_with(" [WARN] 2 log lines were lost; nobody read them\n"), "{count}");
    }
}
