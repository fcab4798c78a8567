//! The log: to stderr, one line for each event worth knowing. RateLimited that may come a thousand times a second is
//! logged a few times, then counted, so that no client can fill a disk with it. Client input is escaped before it is
//! logged (`exchange::shown`).
//!
//! **Nobody waits for stderr**, which may be a stopped terminal, or a pipe that nobody reads. Lines are put into a
//! bounded buffer, and a thread writes them. A line that does not fit is dropped and counted, and the count is written
//! when there is room again.

use std::fmt::Display;
use std::io::{self, Write};
use std::mem::take;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use log::{LevelFilter, Log, Metadata, Record};
use simplelog::{ConfigBuilder, WriteLogger};

use crate::clock;
use crate::sync::lock;

/// Lines written about one kind of trouble in one [`SPAN`].
const LINES: u32 = 5;

/// The time after which a kind of trouble is news again.
const SPAN: Duration = Duration::from_secs(10);

/// The most bytes that wait to be written; up to twice as many while the writer is stuck.
const MOST_WAITING: usize = 128 * 1024;

/// The most bytes of one write. A pipe takes so many whole, even if two processes share it (pipe(7), `PIPE_BUF`).
const WRITE_BYTES: usize = 4096;

/// The stack of the thread that writes.
const STACK_BYTES: usize = 64 * 1024;

static WAITING: Waiting = Waiting::new();

/// Starts a thread that writes log lines of `level` or graver to stderr, a panic's message among them.
///
/// # Errors
/// The system's, if no thread can be started.
pub fn start(level: LevelFilter) -> io::Result<()> {
    thread::Builder::new().name("log".to_owned()).stack_size(STACK_BYTES).spawn(|| WAITING.write_to(io::stderr()))?;
    let mut config = ConfigBuilder::new();
    config.set_time_level(LevelFilter::Off).set_thread_level(LevelFilter::Off).set_target_level(LevelFilter::Off);
    config.set_location_level(LevelFilter::Off);
    let lines = Lines { waiting: &WAITING, line: vec![] };
    log::set_max_level(level);
    // An embedding program may have a log already.
    let _ = log::set_boxed_logger(Box::new(Journal(WriteLogger::new(level, config.build(), lines))));
    // Not through the log: the panic may be in the middle of a log line.
    std::panic::set_hook(Box::new(|panic| {
        if log::max_level() >= LevelFilter::Error {
            let line = format!("[ERROR] {}", panic.to_string().replace(char::is_control, " "));
            WAITING.put(line.as_bytes());
        }
    }));
    Ok(())
}

/// Writes `line` as it is, whatever the level.
pub fn say(line: &str) {
    WAITING.put_bytes(&[line.as_bytes(), b"\n"]);
}

/// Waits until all lines are written, but no longer than `limit`.
pub fn finish(limit: Duration) {
    let state = lock(&WAITING.state);
    let _ = WAITING.changed.wait_timeout_while(state, limit, |state| state.is_busy || !state.text.is_empty());
}

/// simplelog's logger, under whose lock nothing is done that can panic.
struct Journal(Box<WriteLogger<Lines>>);

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = record.args().to_string();
            self.0.log(&Record::builder().metadata(record.metadata().clone()).args(format_args!("{text}")).build());
        }
    }

    fn flush(&self) {}
}

/// Gathers the pieces of a line.
struct Lines {
    waiting: &'static Waiting,
    line: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(piece);
        if let Some(line) = self.line.strip_suffix(b"\n") {
            self.waiting.put(line);
            self.line.clear();
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines that wait to be written.
struct Waiting {
    state: Mutex<Text>,
    /// Signalled when there is something to write, or all is written.
    changed: Condvar,
}

struct Text {
    text: Vec<u8>,
    lost: u64,
    /// Whether the writer has taken something and is not back yet.
    is_busy: bool,
}

impl Waiting {
    const fn new() -> Waiting {
        Waiting { state: Mutex::new(Text { text: vec![], lost: 0, is_busy: false }), changed: Condvar::new() }
    }

    /// Puts a line, with the time before it. Never waits for the writer.
    fn put(&self, line: &[u8]) {
        self.put_bytes(&[now().as_bytes(), b" ", line, b"\n"]);
    }

    fn put_bytes(&self, parts: &[&[u8]]) {
        let mut state = lock(&self.state);
        let length: usize = parts.iter().map(|part| part.len()).sum();
        // After a lost line no shorter one is put, so that the count stands in the place of the lost lines.
        if state.text.len() + length > MOST_WAITING || (state.lost > 0 && !state.text.is_empty()) {
            state.lost += 1;
            return;
        }
        parts.iter().for_each(|part| state.text.extend_from_slice(part));
        self.changed.notify_all();
    }

    /// The writer thread's loop.
    fn write_to(&self, mut out: impl Write) {
        loop {
            let (text, lost) = self.take();
            let count = format!("{} [WARN] {lost} log lines were lost; nobody read them\n", now());
            let written = write_lines(&mut out, &text);
            if let Err(lines) = written {
                lock(&self.state).lost += lost + lines;
            } else if lost > 0 && out.write_all(count.as_bytes()).is_err() {
                lock(&self.state).lost += lost;
            }
        }
    }

    /// Waits for text. Takes it, and the number of lines lost after it.
    fn take(&self) -> (Vec<u8>, u64) {
        let mut state = lock(&self.state);
        state.is_busy = false;
        self.changed.notify_all();
        while state.text.is_empty() {
            state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        state.is_busy = true;
        (take(&mut state.text), take(&mut state.lost))
    }
}

/// The time, as in a message.
fn now() -> String {
    humantime::format_rfc3339_micros(clock::machine_time()).to_string()
}

/// Writes `text`: at a time as many whole lines as a pipe takes whole.
///
/// # Errors
/// The number of lines that could not be written.
fn write_lines(out: &mut impl Write, mut text: &[u8]) -> Result<(), u64> {
    while !text.is_empty() {
        let first = &text[..text.len().min(WRITE_BYTES)];
        let end = memchr::memrchr(b'\n', first).or_else(|| memchr::memchr(b'\n', text));
        let (lines, rest) = text.split_at(end.map_or(text.len(), |end| end + 1));
        if out.write_all(lines).is_err() {
            return Err(text.iter().filter(|byte| **byte == b'\n').count() as u64);
        }
        text = rest;
    }
    Ok(())
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
    state: Mutex<State>,
}

struct State {
    since: Option<Instant>,
    lines: u32,
    unsaid: u64,
}

impl RateLimited {
    const fn new(what: &'static str) -> RateLimited {
        RateLimited { what, state: Mutex::new(State { since: None, lines: 0, unsaid: 0 }) }
    }

    /// Logs `line` as a warning, or only counts it if enough like it were logged lately.
    pub fn warn(&self, line: impl Display) {
        if self.is_news(Instant::now()) {
            log::warn!("{line}");
        }
    }

    fn is_news(&self, now: Instant) -> bool {
        self.settle(now);
        let mut state = lock(&self.state);
        state.since.get_or_insert(now);
        if state.lines < LINES {
            state.lines += 1;
            return true;
        }
        state.unsaid += 1;
        false
    }

    /// Logs how many lines were only counted, once their span is over.
    fn settle(&self, now: Instant) {
        let mut state = lock(&self.state);
        if state.since.is_some_and(|since| now.duration_since(since) >= SPAN) {
            if state.unsaid > 0 {
                log::warn!("{}: {} more in {} s", self.what, state.unsaid, SPAN.as_secs());
            }
            *state = State { since: None, lines: 0, unsaid: 0 };
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
    use super::*;
    use crossbeam_channel::{Receiver, Sender, unbounded};

    #[test]
    fn repeated_trouble_is_counted_and_news_again_later() {
        let trouble = RateLimited::new("test");
        let start = Instant::now();
        let said = (0..100).filter(|_| trouble.is_news(start)).count();
        assert_eq!(said as u32, LINES);
        assert_eq!(trouble.state.lock().unwrap().unsaid, 100 - u64::from(LINES));
        assert!(trouble.is_news(start + SPAN), "news again after the span");
        assert_eq!(trouble.state.lock().unwrap().unsaid, 0, "what was counted has been said");
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

    fn writer_that_is_stuck() -> (&'static Waiting, Sender<()>, Receiver<Vec<u8>>) {
        let (allow, allowed) = unbounded();
        let (written, text) = unbounded();
        let waiting: &'static Waiting = Box::leak(Box::new(Waiting::new()));
        thread::spawn(move || waiting.write_to(Stuck { allowed, written }));
        (waiting, allow, text)
    }

    #[test]
    fn lines_that_nobody_reads_are_counted_and_the_count_is_written_where_they_are_missing() {
        let (waiting, allow, text) = writer_that_is_stuck();
        let line = |number: u32| format!("{number} {}", "x".repeat(990));
        waiting.put_bytes(&[line(0).as_bytes(), b"\n"]);
        while !lock(&waiting.state).is_busy {
            thread::yield_now(); // until the writer has taken the first line, and is stuck
        }
        (1..1000).for_each(|number| waiting.put_bytes(&[line(number).as_bytes(), b"\n"]));
        waiting.put_bytes(&[b"a short one that would fit\n"]);
        drop(allow);
        let (mut numbers, mut all) = (vec![], String::new());
        let lost: u32 = loop {
            let piece = String::from_utf8(text.recv().unwrap()).unwrap();
            assert!(piece.ends_with('\n') && piece.len() <= WRITE_BYTES, "whole lines");
            all += &piece;
            numbers.extend(piece.lines().filter_map(|line| line.split(' ').next()?.parse::<u32>().ok()));
            if let Some((before, _)) = piece.split_once(" log lines were lost; nobody read them\n") {
                break before.rsplit(' ').next().unwrap().parse().unwrap();
            }
        };
        assert!(!all.contains("short one"), "{all}");
        assert!((100..=260).contains(&numbers.len()), "a bounded part is kept: {}", numbers.len());
        assert!(numbers.iter().copied().eq(0..numbers.len() as u32), "the oldest, in order");
        assert_eq!(numbers.len() as u32 + lost, 1001);
        waiting.put_bytes(&[b"there is room again\n"]);
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
        let waiting: &'static Waiting = Box::leak(Box::new(Waiting::new()));
        thread::spawn(move || waiting.write_to(Full(0, written)));
        for line in ["one\n", "two\n", "three\n"] {
            waiting.put_bytes(&[line.as_bytes()]);
            let state = waiting.state.lock().unwrap();
            drop(waiting.changed.wait_while(state, |state| state.is_busy || !state.text.is_empty()).unwrap());
        }
        assert_eq!(text.recv().unwrap(), b"three\n");
        let count = String::from_utf8(text.recv().unwrap()).unwrap();
        assert!(count.ends_with(" [WARN] 2 log lines were lost; nobody read them\n"), "{count}");
    }

    #[test]
    fn a_panic_in_the_middle_of_a_line_hinders_no_other_line() {
        struct Panics;
        impl Display for Panics {
            fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                panic!("in the middle of a line");
            }
        }
        let (waiting, allow, text) = writer_that_is_stuck();
        drop(allow);
        let mut config = ConfigBuilder::new();
        config.set_time_level(LevelFilter::Off);
        let lines = Lines { waiting, line: vec![] };
        let journal = Journal(WriteLogger::new(LevelFilter::Info, config.build(), lines));
        let log = |text: std::fmt::Arguments<'_>| {
            journal.log(&Record::builder().level(log::Level::Info).args(text).build());
        };
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| log(format_args!("{Panics}"))));
        assert!(panicked.is_err());
        log(format_args!("goes on"));
        let line = String::from_utf8(text.recv().unwrap()).unwrap();
        assert!(line.ends_with("Z [INFO] goes on\n"), "{line}");
    }
}
