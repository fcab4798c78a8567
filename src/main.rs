//! Flags, log, start, wait for a signal, stop, exit code.

use std::io::Write;
use std::process::ExitCode;

use aloud::config::{self, Bind, Config, STOP_LIMIT, Wish};
use aloud::pool::Pool;
use aloud::socket::spare_address_space;
use aloud::{check, door, journal, manager};
use crossbeam_channel::{Receiver, bounded};

/// How the process ends.
#[derive(Clone, Copy)]
enum Exit {
    Stopped = 0,
    /// Also: the server that was asked is not well.
    CannotStart = 1,
    BadUsage = 2,
    /// 128 + SIGINT, as shells count: a second signal did not wait for the first.
    Interrupted = 130,
}

fn main() -> ExitCode {
    let end = match config::read(|name| std::env::var_os(name), std::env::args_os().skip(1)) {
        Ok(Wish::Run(config)) => run(*config),
        Ok(Wish::Check(bind)) => ask(&bind),
        Ok(Wish::Print(text)) => {
            let _ = std::io::stdout().write_all(text.as_bytes()); // a reader that closed early wants no more
            Exit::Stopped
        }
        Err(line) => {
            eprintln!("{line}");
            Exit::BadUsage
        }
    };
    ExitCode::from(end as u8)
}

fn run(config: Config) -> Exit {
    spare_address_space();
    journal::start(config.log);
    for line in config::misspelt(std::env::vars_os().map(|(name, _)| name)) {
        log::warn!("{line}");
    }
    let signals = signals();
    let pool = match Pool::start(config.clone()) {
        Ok(pool) => pool,
        Err(line) => {
            eprintln!("aloud: {line}");
            return Exit::CannotStart;
        }
    };
    log::info!("Running at {}", pool.name());
    if let Some(line) = door::warning(&config, pool.address()) {
        log::warn!("{line}");
    }
    manager::tell("READY=1");
    let _ = signals.recv();
    manager::tell("STOPPING=1");
    drop(signals); // the next signal finds nobody
    log::info!("Stopping");
    let all = pool.stop(STOP_LIMIT);
    log::info!("{}", if all { "Stopped" } else { "Stopped, though some were still busy" });
    Exit::Stopped
}

/// Asks a server whether it is well; what is wrong with it goes to stderr.
fn ask(bind: &Bind) -> Exit {
    match check::ask(bind) {
        Ok(()) => Exit::Stopped,
        Err(error) => {
            eprintln!("aloud: the server at {bind} is not well ({error}); give the address it has with --bind");
            Exit::CannotStart
        }
    }
}

/// Receives the first SIGINT, SIGTERM or SIGHUP; the one after it ends the process at once. Sent to by ctrlc's thread,
/// capacity one, disconnected once the first was heard.
fn signals() -> Receiver<()> {
    let (signal, signals) = bounded(1);
    let handler = move || {
        if signal.try_send(()).is_err() {
            std::process::exit(Exit::Interrupted as i32);
        }
    };
    ctrlc::set_handler(handler).expect("no handler was set before");
    signals
}
