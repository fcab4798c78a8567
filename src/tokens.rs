//! `--tokens FILE`: one `TOKEN say|listen|both [CHANNEL]` a line. When a token is checked, the file is looked at, at
//! most once a second, and read again if it has changed. So tokens change without a restart, and no thread is needed.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::names::{is_channel, is_within};
use crate::secret::Secret;

/// How often the file is looked at, at most.
const LOOK: Duration = Duration::from_secs(1);

/// A file that was changed less than this ago may be half written. It is left for the next look.
const SETTLED: Duration = Duration::from_secs(1);

/// The longest file that is read, in bytes: ten thousand tokens.
const FILE_LIMIT: u64 = 1 << 20;

/// The purpose of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Something that everybody may see.
    Open,
    /// To say something: `--say-token`.
    Say,
    /// To hear or see messages, or the hosts: `--listen-token`.
    Listen,
}

/// A line of the file.
#[derive(PartialEq, Eq)]
struct Grant {
    /// The digest of the token. All digests have one length, so every comparison takes equally long.
    digest: [u8; 32],
    /// The door that it opens; `None` for both.
    door: Option<Door>,
    /// This channel and those below it; empty for every channel.
    channel: String,
}

/// The tokens in a file, as it stands now.
pub struct Tokens {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    grants: Arc<[Grant]>,
    looked: Instant,
    /// The stamp of the file when it was read; `None` if it was not settled.
    stamp: Option<Stamp>,
}

/// Inode, size, and time of the last change in seconds and nanoseconds; all 0 where there is no file.
type Stamp = (u64, u64, i64, i64);

impl Tokens {
    /// Reads the tokens in the file at `path`.
    ///
    /// # Errors
    /// The fault of the file and a remedy, to be read after the flag's name. Holds nothing of a token.
    pub fn open(path: &str) -> Result<Tokens, String> {
        let (path, looked) = (PathBuf::from(path), Instant::now());
        let stamp = path.metadata().ok().as_ref().and_then(stamp);
        let state = State { grants: read(&path)?.into(), looked, stamp };
        Ok(Tokens { path, state: Mutex::new(state) })
    }

    /// Whether one of `offered` is a token that opens `door` to `channel`, which may be several channels with commas
    /// between. Comparing takes equally long in both cases.
    pub fn allow(&self, offered: &[impl AsRef<[u8]>], door: Door, channel: &str) -> bool {
        let grants = self.current();
        let digests: Vec<[u8; 32]> = offered.iter().map(|token| Sha256::digest(token).into()).collect();
        let is_offered = |grant: &Grant| {
            digests.iter().fold(false, |found, digest| found | bool::from(grant.digest[..].ct_eq(&digest[..])))
        };
        let suits = |grant: &Grant| grant.door.is_none_or(|opened| opened == door);
        let held: Vec<&Grant> = grants.iter().filter(|grant| is_offered(grant) & suits(grant)).collect();
        channel.split(',').all(|channel| held.iter().any(|grant| is_within(channel, &grant.channel)))
    }

    /// The grants in the file now, or before somebody broke it.
    fn current(&self) -> Arc<[Grant]> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK {
            self.look(&mut state);
            state.looked = Instant::now();
        }
        state.grants.clone()
    }

    /// Reads the file again if it has changed. If it is bad or gone, that is told once.
    fn look(&self, state: &mut State) {
        let stamp = match self.path.metadata() {
            Ok(file) if !file.is_file() => return, // a pipe was read, and holds no more
            Ok(file) => stamp(&file),
            Err(_) => Some(Stamp::default()),
        };
        if stamp.is_none() || stamp == state.stamp {
            return;
        }
        state.stamp = stamp;
        match read(&self.path) {
            Ok(grants) if grants[..] == state.grants[..] => {}
            Ok(grants) => {
                log::info!("Read the tokens again: {} are good now", grants.len());
                state.grants = grants.into();
            }
            Err(complaint) => log::warn!("The tokens stay as they were: --tokens {complaint}"),
        }
    }
}

/// The stamp of a file; `None` if it was changed just now. A change in the future counts as old.
fn stamp(file: &Metadata) -> Option<Stamp> {
    let is_new = SystemTime::now().duration_since(file.modified().ok()?).is_ok_and(|age| age < SETTLED);
    (!is_new).then(|| (file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
}

fn read(path: &PathBuf) -> Result<Vec<Grant>, String> {
    let shown = path.display().to_string().escape_debug().to_string();
    let mut bytes = vec![];
    File::open(path)
        .and_then(|file| file.take(FILE_LIMIT + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read from \"{shown}\" ({error}); give a file that holds tokens"))?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(format!("names \"{shown}\", which is too long; give a file of at most {FILE_LIMIT} bytes"));
    }
    let text = String::from_utf8_lossy(&bytes);
    let mut grants = vec![];
    for (place, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
        if !words.is_empty() {
            let rule = "give TOKEN say|listen|both [CHANNEL] on each line";
            let bad = |what: &str| format!("names \"{shown}\", whose line {} {what}; {rule}", place + 1);
            grants.push(grant(&words).map_err(bad)?);
        }
    }
    Ok(grants)
}

fn grant(words: &[&str]) -> Result<Grant, &'static str> {
    let (token, rights, channel) = match words {
        [token, rights] => (token, rights, ""),
        [token, rights, channel] if is_channel(channel) => (token, rights, *channel),
        [_, _, _] => return Err("ends in what is no channel"),
        _ => return Err("is not of two or three words"),
    };
    let door = match *rights {
        "say" => Some(Door::Say),
        "listen" => Some(Door::Listen),
        "both" => None,
        _ => return Err("says neither say nor listen nor both"),
    };
    if !Secret::may_be_token(token.as_bytes()) {
        return Err("begins with what is no token (1 to 512 visible ASCII characters)");
    }
    Ok(Grant { digest: Sha256::digest(token.as_bytes()).into(), door, channel: channel.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens in a file that holds `text`, and the file, which is removed by the test.
    fn tokens(name: &str, text: &str) -> (Result<Tokens, String>, PathBuf) {
        let path = std::env::temp_dir().join(format!("aloud-tokens-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        (Tokens::open(path.to_str().unwrap()), path)
    }

    #[test]
    fn a_token_is_good_for_what_its_line_says_and_below() {
        let text =
            "# of the team\n\na both\r\n  b say  build # Florian's\nc listen build/main\nd say x\nd say y\n#e both";
        let (tokens, path) = tokens("rights", text);
        std::fs::remove_file(path).unwrap();
        let tokens = tokens.unwrap();
        let check = |token: &str, door: Door, channel: &str, expected: bool| {
            assert_eq!(tokens.allow(&[b"", token.as_bytes()], door, channel), expected, "{token} {door:?} {channel}");
        };
        check("a", Door::Say, "", true);
        check("a", Door::Listen, "build", true);
        check("b", Door::Say, "build", true);
        check("b", Door::Say, "build/main", true);
        check("b", Door::Say, "", false);
        check("b", Door::Say, "builder", false);
        check("b", Door::Listen, "build", false);
        check("c", Door::Listen, "build/main/x", true);
        check("c", Door::Listen, "build", false);
        check("c", Door::Say, "build/main", false);
        check("d", Door::Say, "x,y/z", true);
        check("d", Door::Say, "x,z", false);
        check("e", Door::Say, "", false);
        check("#e", Door::Say, "", false);
        check("", Door::Say, "", false);
    }

    #[test]
    fn a_bad_file_is_refused_in_one_line_without_showing_a_token() {
        let check = |text: &str, expected: &str| {
            let (tokens, path) = tokens("bad", text);
            let line = tokens.err().unwrap();
            std::fs::remove_file(&path).unwrap();
            let give = "give TOKEN say|listen|both [CHANNEL] on each line";
            assert_eq!(line, format!("names \"{}\", whose line {expected}; {give}", path.display()));
        };
        check("hush", "1 is not of two or three words");
        check("hush both\nhush say a b", "2 is not of two or three words");
        check("\nhush shout", "2 says neither say nor listen nor both");
        check("say hush", "1 says neither say nor listen nor both");
        check("hush say /build", "1 ends in what is no channel");
        check("h\u{fc}sh say", "1 begins with what is no token (1 to 512 visible ASCII characters)");
        let missing = Tokens::open("/no/such/file").err().unwrap();
        assert!(missing.starts_with("cannot be read from \"/no/such/file\" (No such file"), "{missing}");
        assert!(Tokens::open("/dev/zero").err().unwrap().contains("which is too long; "));
    }
}
