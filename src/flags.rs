//! Turns flags and environment into [`Config`]. One table, in `help.txt`, is `--help`, and makes the environment
//! variables and the README's block.

use std::ffi::OsString;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::config::{Bind, Config};
use crate::origin::Origins;
use crate::proxies::Proxies;
use crate::secret::Secret;
use crate::tokens::Tokens;

/// The output of `--help`. It has a line for each flag that takes a value: name, value, meaning and default.
/// `Given::config` knows each of them.
const HELP: &str = include_str!("help.txt");

/// One flag: `--name VALUE`, or `ALOUD_NAME` in the environment.
struct Flag {
    name: &'static str,
    value: &'static str,
    meaning: &'static str,
    default: &'static str,
    /// Its line in `--help`.
    line: &'static str,
}

/// All flags that take a value. The table is read once: to read it for each default would take a fifteenth of the time
/// of a start.
fn flags() -> impl Iterator<Item = &'static Flag> {
    static FLAGS: LazyLock<Vec<Flag>> = LazyLock::new(|| HELP.lines().filter_map(Flag::read).collect());
    FLAGS.iter()
}

impl Flag {
    fn read(line: &'static str) -> Option<Flag> {
        let (name, rest) = line.trim_start().strip_prefix("--")?.split_once(' ')?;
        let (value, rest) = rest.split_once("  ")?;
        let (meaning, default) = rest.trim_start().strip_suffix(']')?.rsplit_once(" [")?;
        Some(Flag { name, value, meaning, default, line })
    }
}

/// Whether this binary was built with the feature that the flag `name` takes, if it takes one.
fn is_built(name: &str) -> bool {
    let features = [("store", cfg!(feature = "store")), ("redis", cfg!(feature = "redis"))];
    features.iter().all(|(feature, built)| *built || name != *feature)
}

/// The values that were given: the name of the flag, what gave the value, a flag or a variable, and the value.
#[derive(Default)]
struct Given(Vec<(&'static str, String, String)>);

impl Given {
    /// Adds the `value` that `source` gives.
    fn add(&mut self, flag: &Flag, source: String, value: OsString) -> Result<(), String> {
        if !is_built(flag.name) {
            let built = "give a binary that was built with it, or leave";
            return Err(format!("aloud: {source} takes the feature {}; {built} {source} out", flag.name));
        }
        let text = value.into_string().map_err(|_| format!("aloud: {source} is no UTF-8; give it in UTF-8"))?;
        self.0.push((flag.name, source, text));
        Ok(())
    }

    /// All values of a flag, as `read` reads them. Its error is the fault and a remedy, to be read after the flag's
    /// name, and shows no secret.
    fn all<T>(&self, flag: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
        let values = self.0.iter().filter(|(name, ..)| *name == flag);
        values.map(|(_, source, text)| read(text).map_err(|wrong| format!("aloud: {source} {wrong}"))).collect()
    }

    /// The last value of a flag, if there is one.
    fn last<T>(&self, flag: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
        Ok(self.all(flag, read)?.pop())
    }

    /// The last value of a flag, or its default.
    fn value<T>(&self, flag: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
        let default = || read(flags().find(|known| known.name == flag).map_or("", |known| known.default));
        self.last(flag, &read)?.map_or_else(default, Ok)
    }

    fn config(&self) -> Result<Config, String> {
        Ok(Config {
            bind: self.value("bind", one(GOOD_BIND, bind))?,
            socket_mode: self.value("socket-mode", one(GOOD_MODE, mode))?,
            max_listeners: self.last("max-listeners", whole("", 1..=1_000_000))?,
            max_per_address: self.last("max-per-address", whole("", 1..=1_000_000))?,
            trust_proxy: self.last("trust-proxy", one(GOOD_PROXIES, Proxies::read))?.unwrap_or_default(),
            queue: self.value("queue", whole("", 8..=1_000_000))?,
            history: self.value("history", whole("", 0..=1_000_000))?,
            history_bytes: self.value("history-bytes", whole(" of bytes", 0..=1 << 30))?,
            things: self.value("things", whole("", 0..=1_000_000))?,
            store: self.last("store", one("the path of a file", path))?,
            redis: self.last("redis", redis)?,
            heartbeat: self.value("heartbeat", seconds)?,
            idle: self.value("idle", seconds)?,
            max_body: self.value("max-body", whole(" of bytes", 1..=16 * 1024 * 1024))?,
            say_token: self.last("say-token", Secret::read)?,
            listen_token: self.last("listen-token", Secret::read)?,
            tokens: self.last("tokens", Tokens::open)?.map(Arc::new),
            hook_secrets: self.all("hook-secret", Secret::read_text)?,
            allow_origin: self.value("allow-origin", one(GOOD_ORIGINS, Origins::read))?,
            log: self.value("log", one("off, error, warn, info, debug or trace", |text| text.parse().ok()))?,
        })
    }
}

/// Reads with `read`. If that cannot be done, the error says what is `good`.
fn one<T>(good: impl Display, read: impl Fn(&str) -> Option<T>) -> impl Fn(&str) -> Result<T, String> {
    move |text| read(text).ok_or_else(|| format!("is \"{}\"; give {good}", text.escape_debug()))
}

/// Reads a number of `things` within `range`.
fn whole(things: &str, range: RangeInclusive<usize>) -> impl Fn(&str) -> Result<usize, String> {
    let good = format!("a whole number{things} from {} to {}", range.start(), range.end());
    one(good, move |text| text.parse().ok().filter(|number| range.contains(number)))
}

fn seconds(text: &str) -> Result<Duration, String> {
    whole(" of seconds", 1..=3600)(text).map(|number| Duration::from_secs(number as u64))
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| text.into())
}

const GOOD_BIND: &str = ":4000, 127.0.0.1:4000, [::1]:4000, localhost:4000 or unix:/run/aloud.sock";
const GOOD_MODE: &str = "permissions in octal, such as 0660 or 0666";
const GOOD_PROXIES: &str =
    "addresses of proxies, such as 127.0.0.1,10.0.0.0/8,fd00::/8, or unix for whoever connects to the socket file";
const GOOD_ORIGINS: &str = "*, or origins as browsers send them, such as https://a.example,http://localhost:8080: \
     lower case, without path, end slash or default port";

fn bind(text: &str) -> Option<Bind> {
    if let Some(path) = text.strip_prefix("unix:") {
        return self::path(path).map(Bind::Unix);
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    Some(if host.is_empty() { Bind::EveryInterface(port) } else { Bind::Address(text.to_owned()) })
}

fn mode(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && !text.starts_with('+'))
}

/// Reads the URL of a Redis. Its error does not show it, because it may hold a password.
fn redis(text: &str) -> Result<String, String> {
    let known = ["redis://", "rediss://", "unix://"].iter().any(|scheme| text.starts_with(scheme));
    #[cfg(feature = "redis")]
    let known = known && redis::IntoConnectionInfo::into_connection_info(text).is_ok();
    let wrong = "is no URL of a Redis; give redis://[:PASSWORD@]HOST[:PORT][/DB], or rediss:// for TLS";
    if known { Ok(text.to_owned()) } else { Err(wrong.to_owned()) }
}

/// The wish of the command line.
pub enum Wish {
    /// Run with this configuration.
    Run(Box<Config>),
    /// Ask the server at this address whether it is well.
    Check(Bind),
    /// Print this text and end.
    Print(String),
}

/// Reads the environment, then the arguments (without the program's name). The arguments win.
///
/// # Errors
/// One line with the fault and a remedy.
pub fn read(
    environment: impl Fn(&str) -> Option<OsString>,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Wish, String> {
    let mut given = Given::default();
    for flag in flags() {
        let variable = variable(flag.name);
        if let Some(value) = environment(&variable) {
            given.add(flag, variable, value)?;
        }
    }
    let mut check = false;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(|error| complaint(&error.to_string()))? {
        match argument {
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => return Ok(Wish::Print(help())),
            lexopt::Arg::Long("version") | lexopt::Arg::Short('V') => {
                let version = concat!("aloud ", env!("CARGO_PKG_VERSION"), " (", env!("ALOUD_BUILD"), ")\n");
                return Ok(Wish::Print(version.to_owned()));
            }
            lexopt::Arg::Long("check") => check = true,
            lexopt::Arg::Long(name) => {
                let flag = flags().find(|flag| flag.name == name);
                let flag = flag.ok_or_else(|| complaint(&format!("there is no flag --{}", name.escape_debug())))?;
                let Flag { name, value, meaning, .. } = flag;
                let value_given = parser
                    .value()
                    .map_err(|_| format!("aloud: --{name} has no value; give --{name} {value}: {meaning}"))?;
                given.add(flag, format!("--{name}"), value_given)?;
            }
            other => return Err(complaint(&other.unexpected().to_string())),
        }
    }
    if check {
        // The files of tokens are for the server alone.
        given.0.retain(|(name, _, value)| *name != "tokens" && !value.starts_with('@'));
    }
    let mut config = given.config()?;
    if check {
        return Ok(Wish::Check(config.bind));
    }
    if config.store.is_some() && config.redis.is_some() {
        return Err("aloud: --store and --redis both keep what is said; give one of them".to_owned());
    }
    if handed_over(&environment)? {
        config.bind = Bind::HandedOver;
    }
    Ok(Wish::Run(Box::new(config)))
}

/// Whether a service manager hands a socket over to this very process. It says so in the environment, which the
/// children of that process inherit too.
fn handed_over(environment: impl Fn(&str) -> Option<OsString>) -> Result<bool, String> {
    let number = |name| environment(name).and_then(|text| text.to_str()?.parse::<u32>().ok());
    let is_ours = number("LISTEN_PID") == Some(std::process::id());
    match number("LISTEN_FDS").filter(|_| is_ours) {
        None | Some(0) => Ok(false),
        Some(1) => Ok(true),
        Some(sockets) => {
            let send = "hand over one socket, with one Listen line in its unit";
            Err(format!("aloud: LISTEN_FDS is \"{sockets}\"; {send}"))
        }
    }
}

fn complaint(what: &str) -> String {
    format!("aloud: {what}; aloud --help lists what there is")
}

/// The environment variable that stands for the flag `name`.
fn variable(name: &str) -> String {
    format!("ALOUD_{}", name.to_uppercase().replace('-', "_"))
}

/// A line about each environment variable that is nearly one of ours, and does nothing.
pub fn misspelt(variables: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let ours: Vec<String> = flags().map(|flag| variable(flag.name)).collect();
    let complaint = |name: OsString| {
        let name = name.into_string().ok()?;
        let like_ours = name.to_uppercase().replace('-', "_");
        if !like_ours.starts_with("ALOUD") || ours.contains(&name) {
            return None; // to compare all of them would take a third of the time of a start
        }
        let near = |ours: &&String| {
            let letters = ours.len() - "ALOUD_".len();
            strsim::osa_distance(&like_ours, ours) <= if letters < 5 { 1 } else { 2 }
        };
        let nearest = ours.iter().filter(near).min_by_key(|ours| strsim::osa_distance(&like_ours, ours))?;
        Some(format!("{} does nothing; is {nearest} meant?", name.escape_debug()))
    };
    variables.into_iter().filter_map(complaint).collect()
}

/// The output of `--help`, without the flags that this binary has not.
fn help() -> String {
    let missing: Vec<_> = flags().filter(|flag| !is_built(flag.name)).map(|flag| flag.line).collect();
    HELP.lines().filter(|line| !missing.contains(line)).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MOST_FROM_ONE_ADDRESS, MOST_LISTENERS};

    impl Default for Config {
        fn default() -> Config {
            Given::default().config().unwrap()
        }
    }

    fn read_all(environment: &[(&str, &str)], arguments: &[&str]) -> Result<Wish, String> {
        read(
            |name| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()),
            arguments.iter().map(OsString::from),
        )
    }

    fn config(environment: &[(&str, &str)], arguments: &[&str]) -> Config {
        match read_all(environment, arguments) {
            Ok(Wish::Run(config)) => *config,
            _ => panic!("{environment:?} {arguments:?}"),
        }
    }

    #[test]
    fn without_a_flag_its_default_holds() {
        let plain = Config::default();
        assert_eq!((plain.bind, plain.socket_mode, plain.things), (Bind::EveryInterface(4000), 0o660, 2000));
        assert!(plain.allow_origin.is_every() && plain.tokens.is_none() && plain.hook_secrets.is_empty());
        assert_eq!((plain.max_listeners, plain.max_per_address), (None, None), "they depend on the machine then");
        let default = |name: &str| flags().find(|flag| flag.name == name).unwrap().default.parse();
        let defaults = (default("max-listeners"), default("max-per-address"));
        assert_eq!(defaults, (Ok(MOST_LISTENERS), Ok(MOST_FROM_ONE_ADDRESS)));
    }

    #[test]
    fn a_flag_beats_the_environment_beats_the_default() {
        assert_eq!(config(&[], &[]).queue, 256);
        assert_eq!(config(&[("ALOUD_QUEUE", "9")], &[]).queue, 9);
        assert_eq!(config(&[("ALOUD_QUEUE", "9")], &["--queue=10"]).queue, 10);
        assert_eq!(config(&[("ALOUD_MAX_BODY", "1")], &[]).max_body, 1);
    }

    #[test]
    fn addresses() {
        assert_eq!(bind(":4000"), Some(Bind::EveryInterface(4000)));
        assert_eq!(bind("127.0.0.1:0"), Some(Bind::Address("127.0.0.1:0".to_owned())));
        assert_eq!(bind("[::1]:80"), Some(Bind::Address("[::1]:80".to_owned())));
        assert_eq!(bind("unix:/run/a.sock"), Some(Bind::Unix("/run/a.sock".into())));
        for bad in ["", "4000", ":", ":x", ":65536", "localhost", "unix:", "host:"] {
            assert_eq!(bind(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_bad_value_is_one_line_that_says_what_to_give() {
        let check = |environment: &[(&str, &str)], arguments: &[&str], expected: &str| {
            assert_eq!(read_all(environment, arguments).err().unwrap(), expected);
        };
        check(&[], &["--queue", "x\n"], "aloud: --queue is \"x\\n\"; give a whole number from 8 to 1000000");
        check(&[("ALOUD_IDLE", "0")], &[], "aloud: ALOUD_IDLE is \"0\"; give a whole number of seconds from 1 to 3600");
        check(&[], &["--bogus"], "aloud: there is no flag --bogus; aloud --help lists what there is");
        check(&[], &["extra"], "aloud: unexpected argument \"extra\"; aloud --help lists what there is");
        check(
            &[],
            &["--trust-proxy", "10.0.0.0/33"],
            "aloud: --trust-proxy is \"10.0.0.0/33\"; give addresses of proxies, such as 127.0.0.1,10.0.0.0/8,fd00::/8, or \
             unix for whoever connects to the socket file",
        );
        check(&[], &["--log", "loud"], "aloud: --log is \"loud\"; give off, error, warn, info, debug or trace");
        check(
            &[],
            &["--idle"],
            "aloud: --idle has no value; give --idle S: a connection silent for so many seconds between requests is closed",
        );
    }

    #[test]
    fn a_value_that_is_no_text_is_refused_rather_than_changed() {
        use std::os::unix::ffi::OsStringExt;
        let arguments = ["--hook-secret".into(), OsString::from_vec(b"hush\xff".to_vec())];
        assert_eq!(read(|_| None, arguments).err().unwrap(), "aloud: --hook-secret is no UTF-8; give it in UTF-8");
    }

    #[test]
    fn a_secret_that_is_bad_is_not_shown() {
        let good = config(&[("ALOUD_LISTEN_TOKEN", "hush")], &["--say-token", "hush"]);
        assert!(good.say_token.as_ref().is_some_and(|token| token.is(b"hush")));
        assert!(good.listen_token.as_ref().is_some_and(|token| token.is(b"hush")));
        let give = "give 1 to 512 visible ASCII characters, or @FILE with a file that holds them";
        let check = |environment: &[(&str, &str)], arguments: &[&str], expected: &str| {
            assert_eq!(read_all(environment, arguments).err().unwrap(), format!("aloud: {expected}; {give}"));
        };
        check(&[], &["--say-token="], "--say-token is empty");
        check(&[("ALOUD_SAY_TOKEN", "")], &[], "ALOUD_SAY_TOKEN is empty");
        check(&[], &["--say-token", "hush hush"], "--say-token holds a space or what is no visible ASCII character");
        check(
            &[],
            &["--listen-token", "@"],
            "--listen-token cannot be read from \"\" (No such file or directory (os error 2))",
        );
    }

    #[test]
    fn a_socket_that_was_handed_over_to_this_process_goes_before_bind() {
        let this = std::process::id().to_string();
        let check = |sockets: &str, process: &str, expected: Bind| {
            let environment = [("LISTEN_FDS", sockets), ("LISTEN_PID", process)];
            assert_eq!(config(&environment, &["--bind", ":1"]).bind, expected, "{sockets} {process}");
        };
        check("1", &this, Bind::HandedOver);
        check("1", "1", Bind::EveryInterface(1));
        check("1", "", Bind::EveryInterface(1));
        check("0", &this, Bind::EveryInterface(1));
        check("x", &this, Bind::EveryInterface(1));
        let two = read_all(&[("LISTEN_FDS", "2"), ("LISTEN_PID", &this)], &[]).err().unwrap();
        assert_eq!(two, "aloud: LISTEN_FDS is \"2\"; hand over one socket, with one Listen line in its unit");
    }

    #[test]
    fn every_flag_of_the_table_can_be_set() {
        for flag in flags() {
            let wrong = read_all(&[], &[&format!("--{}", flag.name), ""]).err();
            assert!(wrong.unwrap().starts_with(&format!("aloud: --{} ", flag.name)), "nothing is no value of it");
            assert!(help().contains(flag.line) == is_built(flag.name), "{}", flag.name);
        }
        assert!(flags().count() > 15, "the table is read");
    }

    #[test]
    fn a_variable_that_is_nearly_a_flags_is_told_of() {
        let check = |name: &str, meant: Option<&str>| {
            let line = meant.map(|meant| format!("{name} does nothing; is {meant} meant?"));
            assert_eq!(misspelt([OsString::from(name)]), line.into_iter().collect::<Vec<_>>());
        };
        check("ALOUD_HITSORY", Some("ALOUD_HISTORY"));
        check("ALOUD_SAYTOKEN", Some("ALOUD_SAY_TOKEN"));
        check("ALOUD_TOKEN", Some("ALOUD_TOKENS"));
        check("ALOUD_LOGS", Some("ALOUD_LOG"));
        check("ALOUD-MAX-BODY", Some("ALOUD_MAX_BODY"));
        check("aloud_queue", Some("ALOUD_QUEUE"));
        check("ALOUD_HISTORY", None);
        for other in ["ALOUD_SERVER", "ALOUD_PORT", "ALOUD_SERVICE_HOST", "ALOUD_HOST", "LOUD_LOG", "ALOUD", "PATH"] {
            check(other, None);
        }
    }
}
