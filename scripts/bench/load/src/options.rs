//! The command line: `load COMMAND --key value ...`, and for `start` the server's command after `--`.

use std::net::{Ipv4Addr, SocketAddr};

use crate::dialect::Dialect;

pub const USAGE: &str = "usage: load say|fanout|join|rejoin|idle|start --port PORT [--pid PID] \
    [--dialect aloud|nchan] [--listeners N] [--speakers N] [--rate MESSAGES_A_SECOND, 0: flat out] \
    [--seconds S] [--outstanding N] [--channels N] [--bytes N] [-- SERVER ARGUMENT...]";

/// Four digits in the path.
const MAX_CHANNELS: usize = 9999;

/// The quantity to measure.
#[derive(Clone, Copy, PartialEq)]
pub enum Command {
    Say,
    Fanout,
    Join,
    Rejoin,
    Idle,
    Start,
}

/// Everything a run may be told; each command reads what concerns it.
pub struct Options {
    pub command: Command,
    pub port: u16,
    /// The server's first process; its children are counted with it.
    pub pid: u32,
    pub dialect: Dialect,
    pub listeners: usize,
    pub speakers: usize,
    /// Messages a second over all speakers; 0 means as fast as answers come.
    pub rate: u64,
    pub seconds: f64,
    /// Each listener hears one of so many channels, in turn; each speaker speaks on one after the other.
    pub channels: usize,
    /// The least length of a message.
    pub bytes: usize,
    /// How many joins may wait for their response head at once.
    pub outstanding: usize,
    pub server_command: Vec<String>,
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let command = match arguments.next().as_deref() {
            Some("say") => Command::Say,
            Some("fanout") => Command::Fanout,
            Some("join") => Command::Join,
            Some("rejoin") => Command::Rejoin,
            Some("idle") => Command::Idle,
            Some("start") => Command::Start,
            _ => return Err(USAGE.into()),
        };
        let mut options = Options {
            command,
            port: 0,
            pid: 0,
            dialect: Dialect::Aloud,
            listeners: 0,
            speakers: 1,
            rate: 0,
            seconds: 4.0,
            channels: 1,
            bytes: 0,
            outstanding: 64,
            server_command: Vec::new(),
        };
        while let Some(key) = arguments.next() {
            if key == "--" {
                options.server_command = arguments.by_ref().collect();
                break;
            }
            let value = arguments.next().ok_or_else(|| format!("{key} lacks its value; {USAGE}"))?;
            options.set(&key, &value)?;
        }
        options.check()?;
        Ok(options)
    }

    /// The address of the server.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "--port" => self.port = number(key, value)?,
            "--pid" => self.pid = number(key, value)?,
            "--dialect" => self.dialect = Dialect::named(value)?,
            "--listeners" => self.listeners = number(key, value)?,
            "--speakers" => self.speakers = number(key, value)?,
            "--rate" => self.rate = number(key, value)?,
            "--seconds" => self.seconds = number(key, value)?,
            "--channels" => self.channels = number(key, value)?,
            "--bytes" => self.bytes = number(key, value)?,
            "--outstanding" => self.outstanding = number(key, value)?,
            _ => return Err(format!("{key} is unknown; {USAGE}")),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let start = self.command == Command::Start;
        if self.port == 0 || self.outstanding == 0 {
            Err(format!("--port and --outstanding must not be 0; {USAGE}"))
        } else if !start && self.pid == 0 {
            Err(format!("--pid is missing; {USAGE}"))
        } else if start && self.server_command.is_empty() {
            Err(format!("the server's command is missing; {USAGE}"))
        } else if !(1..=crate::message::MAX_SPEAKERS).contains(&self.speakers) {
            Err(format!("--speakers must be 1 to {}", crate::message::MAX_SPEAKERS))
        } else if !(1..=MAX_CHANNELS).contains(&self.channels) || !self.listeners.is_multiple_of(self.channels) {
            Err(format!("--channels must be 1 to {MAX_CHANNELS}, and --listeners as many for each"))
        } else if !(0.1..=60.0).contains(&self.seconds) {
            Err("--seconds must be 0.1 to 60".into())
        } else {
            Ok(())
        }
    }
}

fn number<N: std::str::FromStr>(key: &str, value: &str) -> Result<N, String> {
    value.parse().map_err(|_| format!("{key} must be a number, not {value}"))
}
