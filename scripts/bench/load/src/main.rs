//! The load generator: one thread, one epoll, thousands of listeners, so that it takes as little as it
//! can of the two cores it shares with the server. One run is one command and prints one line of JSON.
//!
//! In reading order: `options` (the command line), `dialect` (what differs between servers), `message`
//! (what is said), `chunked` and `listener` (hearing it), `speaker` (saying it), `conversation` (both at
//! once, paced or flat out), `scenarios` (which figures each command prints), `server` (what the server
//! costs), `histogram`, `poller`.

mod chunked;
mod conversation;
mod dialect;
mod histogram;
mod listener;
mod message;
mod options;
mod poller;
mod scenarios;
mod server;
mod speaker;

use std::process::ExitCode;

use options::{Command, Options};

fn main() -> ExitCode {
    match run() {
        Ok(figures) => {
            println!("{}", scenarios::json(&figures));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<scenarios::Figures, String> {
    let options = Options::parse(std::env::args().skip(1))?;
    poller::prepare_process()?;
    match options.command {
        Command::Say => scenarios::say(&options),
        Command::Fanout => scenarios::fanout(&options),
        Command::Join => scenarios::join(&options),
        Command::Rejoin => scenarios::rejoin(&options),
        Command::Idle => scenarios::idle(&options),
        Command::Start => scenarios::start(&options),
    }
}
