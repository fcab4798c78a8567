//! Flags, log, start, wait for a signal, stop, exit code.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use aloud::config::{Config, STOP_LIMIT};
use aloud::flags::{self, Wish};
use aloud::http::auth;
use aloud::os::raw::{ignore, is_ignored, restore, spare_address_space};
use aloud::os::service_manager;
use aloud::serve::pool::Pool;
use aloud::{check, journal};
use crossbeam_channel::{Receiver, bounded};

/// How long the end waits for the log to be read; a part of the time to stop.
const LOG_LIMIT: Duration = Duration::from_millis(500);

/// How the process ends.
#[derive(Clone, Copy)]
enum Exit {
    Stopped = 0,
    /// The server cannot start; with `--check`, the server that was asked is not well.
    CannotStart = 1,
    BadUsage = 2,
    /// 128 + SIGINT, as shells count: a second signal did not wait for the first.
    Interrupted = 130,
}

/// The signals of a stack that has overflowed. If they have their default effect when Rust's library starts, it gives
/// each thread a second stack, only to say which thread's stack that was. Without it, 1.15 times as many listeners join
/// in a second, each for 0.8 times the processor time (the scenario join of `scripts/bench`). The kernel ends the
/// process all the same.
const OVERFLOW: [i32; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// Has the loader call [`ignore_overflow`] before Rust's library starts (the section `.init_array` of elf(5)).
#[used]
#[allow(unsafe_code)]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = ignore_overflow;

/// Ignores [`OVERFLOW`] until `main` restores it.
extern "C" fn ignore_overflow() {
    OVERFLOW.into_iter().for_each(ignore);
}

fn main() -> ExitCode {
    OVERFLOW.into_iter().for_each(restore);
    let end = match flags::read(|name| std::env::var_os(name), std::env::args_os().skip(1)) {
        Ok(Wish::Run(config)) => run(*config),
        Ok(Wish::Check(bind)) => {
            check::ask(&bind).map_or_else(|line| complain(&line, Exit::CannotStart), |()| Exit::Stopped)
        }
        Ok(Wish::Print(text)) => {
            let _ = std::io::stdout().write_all(text.as_bytes()); // a reader that closed early wants no more
            Exit::Stopped
        }
        Err(line) => complain(&line, Exit::BadUsage),
    };
    ExitCode::from(end as u8)
}

fn run(config: Config) -> Exit {
    spare_address_space();
    ignore(libc::SIGXFSZ); // a file that may not grow (`ulimit -f`) is an error of that write
    let signals = match journal::start(config.log).and_then(|()| signals()) {
        Ok(signals) => signals,
        Err(error) => {
            let line = format!("aloud: cannot start a thread ({error}); allow more of them (ulimit -u)");
            return complain(&line, Exit::CannotStart);
        }
    };
    let served = serve(config, signals).inspect_err(|line| journal::say(&format!("aloud: {line}")));
    journal::finish(LOG_LIMIT);
    if served.is_ok() { Exit::Stopped } else { Exit::CannotStart }
}

/// Serves until the first signal.
///
/// # Errors
/// The reason why the server cannot start.
fn serve(config: Config, signals: Receiver<()>) -> Result<(), String> {
    for line in flags::misspelt(std::env::vars_os().map(|(name, _)| name)) {
        log::warn!("{line}");
    }
    let pool = match Pool::start(config.clone()) {
        Err(_) if signals.try_recv().is_ok() => return Ok(()), // it may have failed because of the signal
        pool => pool?,
    };
    log::info!("Running at {}", pool.listening().name);
    if let Some(line) = auth::warning(&config, pool.listening().address) {
        log::warn!("{line}");
    }
    service_manager::tell("READY=1");
    let _ = signals.recv();
    drop(signals); // the next signal finds no receiver
    service_manager::tell("STOPPING=1");
    log::info!("Stopping");
    let all = pool.stop(STOP_LIMIT - LOG_LIMIT);
    log::info!("{}", if all { "Stopped" } else { "Stopped, though some were still busy" });
    Ok(())
}

/// Says on stderr why the process ends. If that fails, the exit code still tells.
fn complain(line: &str, end: Exit) -> Exit {
    let _ = writeln!(std::io::stderr(), "{line}");
    end
}

/// Receives the first SIGINT, SIGTERM or SIGHUP. One that was ignored at the start, as `nohup` does, stays ignored. The
/// signal after the first ends the process at once. ctrlc's thread sends. Capacity one; disconnected once the first was
/// heard.
///
/// # Errors
/// The system's, if no thread can be started.
fn signals() -> std::io::Result<Receiver<()>> {
    let (signal, signals) = bounded(1);
    let handler = move || {
        if signal.try_send(()).is_err() {
            std::process::exit(Exit::Interrupted as i32);
        }
    };
    let mut ignored = vec![libc::SIGHUP, libc::SIGINT, libc::SIGTERM];
    ignored.retain(|signal| is_ignored(*signal));
    match ctrlc::set_handler(handler) {
        Ok(()) => {
            ignored.into_iter().for_each(ignore);
            Ok(signals)
        }
        Err(ctrlc::Error::System(error)) => Err(error),
        Err(error) => unreachable!("no handler was set before: {error}"),
    }
}
