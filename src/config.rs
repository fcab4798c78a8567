//! Turns flags and environment into [`Config`]. One table, `FLAGS`, makes the parsing, the environment variables,
//! `--help` and the README's block.

use std::ffi::OsString;
use std::fmt::{Display, Formatter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;

use crate::origin::Origins;
use crate::proxies::Proxies;
use crate::secret::Secret;
use crate::tokens::Tokens;

/// The longest URL taken, in bytes. Longer texts belong in a body.
pub const URL_LIMIT: usize = 8 * 1024;

/// The most `fields` one message carries.
pub const FIELDS_LIMIT: usize = 32;

/// The most listeners, unless told otherwise and if the open-file limit allows.
pub const MOST_LISTENERS: usize = 10_000;

/// The most connections from one address, unless told otherwise. This machine's own may have half of all then: a proxy
/// on it speaks for everyone.
pub const MOST_FROM_ONE_ADDRESS: usize = 1000;

/// The most bytes the history keeps, unless told otherwise: a thousand messages of 8 KiB.
pub const HISTORY_BYTES: usize = 8 * 1024 * 1024;

/// The longest time that stopping takes. After that the process ends, even if work is still under way.
pub const STOP_LIMIT: Duration = Duration::from_secs(5);

/// All settings of a user.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen at.
    pub bind: Bind,
    /// The permissions of a socket file.
    pub socket_mode: u32,
    /// The most listeners at once; `None`: [`MOST_LISTENERS`], or the number that the open-file limit allows if less.
    pub max_listeners: Option<usize>,
    /// The most connections from one address, and never more than half of all; `None`: [`MOST_FROM_ONE_ADDRESS`], and
    /// from this machine half of all.
    pub max_per_address: Option<usize>,
    /// The proxies that are believed when they say whom a connection is for.
    pub trust_proxy: Proxies,
    /// Messages that may wait for one listener.
    pub queue: usize,
    /// Messages kept for replay.
    pub history: usize,
    /// The most bytes that these may weigh together.
    pub history_bytes: usize,
    /// The file that keeps messages; `None`: only memory does.
    pub store: Option<PathBuf>,
    /// The Redis by which this server shares messages with others; `None`: it shares none.
    pub redis: Option<RedisUrl>,
    /// The silence after which a listener gets a sign of life.
    pub heartbeat: Duration,
    /// The silence between requests after which a connection is closed.
    pub idle: Duration,
    /// The largest body `/say` takes, in bytes.
    pub max_body: usize,
    /// The token to say something; `None`: nobody needs one.
    pub say_token: Option<Secret>,
    /// The token to hear or see messages; `None`: nobody needs one.
    pub listen_token: Option<Secret>,
    /// The file of tokens for either; `None`: there is none.
    pub tokens: Option<Arc<Tokens>>,
    /// The secret that CI webhooks have to prove; `None`: they prove nothing.
    pub hook_secret: Option<Secret>,
    /// The origins whose pages may use the server.
    pub allow_origin: Origins,
    /// The level of the log.
    pub log: LevelFilter,
}

/// The URL of a Redis. It may hold a password, so it is never shown.
#[derive(Clone)]
pub struct RedisUrl(pub String);

impl std::fmt::Debug for RedisUrl {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RedisUrl")
    }
}

/// An address to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// `:PORT`: every interface, IPv6 and IPv4.
    EveryInterface(u16),
    /// `HOST:PORT`: one address. If HOST is a name, the first of its addresses that can be bound.
    Address(String),
    /// `unix:PATH`: a socket file.
    Unix(PathBuf),
    /// A socket at which the service manager that started us already listens (sd_listen_fds(3)).
    HandedOver,
}

impl Display for Bind {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Bind::EveryInterface(port) => write!(formatter, ":{port}"),
            Bind::Address(text) => formatter.write_str(text),
            Bind::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Bind::HandedOver => formatter.write_str("the socket that was handed over"),
        }
    }
}

impl Default for Config {
    /// The settings without any flag.
    fn default() -> Config {
        Config {
            bind: Bind::EveryInterface(4000),
            socket_mode: 0o660,
            max_listeners: None,
            max_per_address: None,
            trust_proxy: Proxies::default(),
            queue: 256,
            history: 1000,
            history_bytes: HISTORY_BYTES,
            store: None,
            redis: None,
            heartbeat: Duration::from_secs(15),
            idle: Duration::from_secs(75),
            max_body: 65536,
            say_token: None,
            listen_token: None,
            tokens: None,
            hook_secret: None,
            allow_origin: Origins::default(),
            log: LevelFilter::Info,
        }
    }
}

/// One flag: `--name VALUE`, or `ALOUD_NAME` in the environment.
struct Flag {
    name: &'static str,
    value: &'static str,
    default: &'static str,
    meaning: &'static str,
    /// Puts a value into the config.
    set: fn(&mut Config, &str) -> Result<(), Wrong>,
}

/// The fault of a value.
enum Wrong {
    /// The value is shown, with this remedy.
    Give(&'static str),
    /// The value is a secret and not shown; this says the fault and a remedy.
    Secret(String),
}

impl From<&'static str> for Wrong {
    fn from(good: &'static str) -> Wrong {
        Wrong::Give(good)
    }
}

/// The default of a flag for something that is off by default.
const NONE: &str = "none";

const FLAGS: &[Flag] = &[
    Flag {
        name: "bind",
        value: "ADDR",
        default: ":4000",
        meaning: "address and port; `:4000` is every interface, v6 and v4; `unix:PATH` a socket file; port 0 picks one",
        set: |config, text| {
            config.bind =
                bind(text).ok_or(":4000, 127.0.0.1:4000, [::1]:4000, localhost:4000 or unix:/run/aloud.sock")?;
            Ok(())
        },
    },
    Flag {
        name: "socket-mode",
        value: "MODE",
        default: "0660",
        meaning: "the permissions of the socket file, in octal; who may write to it may connect",
        set: |config, text| {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && !text.starts_with('+'));
            config.socket_mode = mode.ok_or("permissions in octal, such as 0660 or 0666")?;
            Ok(())
        },
    },
    Flag {
        name: "max-listeners",
        value: "N",
        default: "10000",
        meaning: "the most who may listen at once, or what the open-file limit allows if less; past it, \"full\"",
        set: |config, text| {
            config.max_listeners = Some(whole(text, 1..=1_000_000).ok_or("a whole number from 1 to 1000000")?);
            Ok(())
        },
    },
    Flag {
        name: "max-per-address",
        value: "N",
        default: "1000",
        meaning: "the most connections from one address, at most half of all; if not given, this machine's own has half",
        set: |config, text| {
            config.max_per_address = Some(whole(text, 1..=1_000_000).ok_or("a whole number from 1 to 1000000")?);
            Ok(())
        },
    },
    Flag {
        name: "trust-proxy",
        value: "A,...",
        default: NONE,
        meaning: "proxies whose Forwarded or X-Forwarded-For says who the client is: addresses, networks, `unix`",
        set: |config, text| {
            config.trust_proxy = Proxies::read(text).ok_or(
                "addresses of proxies, such as 127.0.0.1,10.0.0.0/8,fd00::/8, or unix for whoever connects to the \
                 socket file",
            )?;
            Ok(())
        },
    },
    Flag {
        name: "queue",
        value: "N",
        default: "256",
        meaning: "messages that may wait for one listener; one that falls further behind is hung up on",
        set: |config, text| {
            config.queue = whole(text, 8..=1_000_000).ok_or("a whole number from 8 to 1000000")?;
            Ok(())
        },
    },
    Flag {
        name: "history",
        value: "N",
        default: "1000",
        meaning: "messages kept for those who come back or ask for what was said; the oldest goes first",
        set: |config, text| {
            config.history = whole(text, 0..=1_000_000).ok_or("a whole number from 0 to 1000000")?;
            Ok(())
        },
    },
    Flag {
        name: "history-bytes",
        value: "BYTES",
        default: "8388608",
        meaning: "the most that the messages kept may weigh together",
        set: |config, text| {
            config.history_bytes = whole(text, 0..=1 << 30).ok_or("a whole number of bytes from 0 to 1073741824")?;
            Ok(())
        },
    },
    #[cfg(feature = "store")]
    Flag {
        name: "store",
        value: "FILE",
        default: NONE,
        meaning: "keeps what was said in this file, across restarts; without it, in memory",
        set: |config, text| {
            config.store = Some(text.into()).filter(|file: &PathBuf| !file.as_os_str().is_empty());
            config.store.is_some().then_some(()).ok_or("the path of a file")?;
            Ok(())
        },
    },
    #[cfg(feature = "redis")]
    Flag {
        name: "redis",
        value: "URL",
        default: NONE,
        meaning: "shares what is said with other servers: redis://[:PASSWORD@]HOST[:PORT][/DB], rediss:// for TLS",
        set: |config, text| {
            let known = ["redis://", "rediss://", "unix://"].iter().any(|scheme| text.starts_with(scheme));
            let line = "is no URL of a Redis; give redis://[:PASSWORD@]HOST[:PORT][/DB], or rediss:// for TLS";
            config.redis = known.then(|| RedisUrl(text.to_owned()));
            known.then_some(()).ok_or_else(|| Wrong::Secret(line.to_owned()))
        },
    },
    Flag {
        name: "heartbeat",
        value: "S",
        default: "15",
        meaning: "seconds of silence after which a listener gets a sign of life",
        set: |config, text| {
            config.heartbeat = seconds(text).ok_or("a whole number of seconds from 1 to 3600")?;
            Ok(())
        },
    },
    Flag {
        name: "idle",
        value: "S",
        default: "75",
        meaning: "a connection silent for so many seconds between requests is closed",
        set: |config, text| {
            config.idle = seconds(text).ok_or("a whole number of seconds from 1 to 3600")?;
            Ok(())
        },
    },
    Flag {
        name: "max-body",
        value: "BYTES",
        default: "65536",
        meaning: "largest body /say takes",
        set: |config, text| {
            config.max_body = whole(text, 1..=16 * 1024 * 1024).ok_or("a whole number of bytes from 1 to 16777216")?;
            Ok(())
        },
    },
    Flag {
        name: "say-token",
        value: "T",
        default: NONE,
        meaning: "what has to be shown to say something; @FILE reads it from a file",
        set: |config, text| {
            config.say_token = Some(Secret::read(text).map_err(Wrong::Secret)?);
            Ok(())
        },
    },
    Flag {
        name: "listen-token",
        value: "T",
        default: NONE,
        meaning: "what has to be shown to hear or see what was said; @FILE reads it from a file",
        set: |config, text| {
            config.listen_token = Some(Secret::read(text).map_err(Wrong::Secret)?);
            Ok(())
        },
    },
    Flag {
        name: "tokens",
        value: "FILE",
        default: NONE,
        meaning: "a file of tokens, read again when it changes: one `TOKEN say|listen|both [CHANNEL]` a line",
        set: |config, text| {
            config.tokens = Some(Arc::new(Tokens::open(text).map_err(Wrong::Secret)?));
            Ok(())
        },
    },
    Flag {
        name: "hook-secret",
        value: "S",
        default: NONE,
        meaning: "what CI webhooks have to prove that they know, any text; @FILE reads it from a file",
        set: |config, text| {
            config.hook_secret = Some(Secret::read_text(text).map_err(Wrong::Secret)?);
            Ok(())
        },
    },
    Flag {
        name: "allow-origin",
        value: "O,...",
        default: "*",
        meaning: "which web pages may use the server: every one, or those of these origins (CORS)",
        set: |config, text| {
            config.allow_origin = Origins::read(text).ok_or(
                "*, or origins as browsers send them, such as https://a.example,http://localhost:8080: lower case, \
                 without path, end slash or default port",
            )?;
            Ok(())
        },
    },
    Flag {
        name: "log",
        value: "LEVEL",
        default: "info",
        meaning: "off, error, warn, info, debug or trace; goes to stderr",
        set: |config, text| {
            config.log = text.parse().map_err(|_| "off, error, warn, info, debug or trace")?;
            Ok(())
        },
    },
];

/// Flags that this binary was built without, each with the feature that it takes.
const ABSENT: &[(&str, &str)] = &[
    #[cfg(not(feature = "store"))]
    ("store", "store"),
    #[cfg(not(feature = "redis"))]
    ("redis", "redis"),
];

/// The wish of the command line.
#[derive(Debug)]
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
    let mut config = Config::default();
    for flag in FLAGS {
        let variable = variable(flag.name);
        if let Some(value) = environment(&variable) {
            set(&mut config, flag, &variable, value)?;
        }
    }
    for (name, feature) in ABSENT {
        let variable = variable(name);
        if environment(&variable).is_some() {
            return Err(without(&variable, feature));
        }
    }
    let mut check = false;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(|error| complaint(&error.to_string()))? {
        match argument {
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => return Ok(Wish::Print(help())),
            lexopt::Arg::Long("version") | lexopt::Arg::Short('V') => {
                return Ok(Wish::Print(format!("aloud {}\n", env!("CARGO_PKG_VERSION"))));
            }
            lexopt::Arg::Long("check") => check = true,
            lexopt::Arg::Long(name) => {
                if let Some((_, feature)) = ABSENT.iter().find(|(absent, _)| *absent == name) {
                    return Err(without(&format!("--{name}"), feature));
                }
                let flag = FLAGS.iter().find(|flag| flag.name == name);
                let flag = flag.ok_or_else(|| complaint(&format!("there is no flag --{}", name.escape_debug())))?;
                let value =
                    parser.value().map_err(|_| format!("aloud: --{} has no value; {}", flag.name, usage(flag)))?;
                set(&mut config, flag, &format!("--{}", flag.name), value)?;
            }
            other => return Err(complaint(&other.unexpected().to_string())),
        }
    }
    if check {
        return Ok(Wish::Check(config.bind));
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
    match number("LISTEN_FDS") {
        Some(sockets @ 1..) if number("LISTEN_PID") == Some(std::process::id()) => match sockets {
            1 => Ok(true),
            _ => Err(format!(
                "aloud: LISTEN_FDS is \"{sockets}\"; hand over one socket, with one Listen line in its unit"
            )),
        },
        _ => Ok(false),
    }
}

fn set(config: &mut Config, flag: &Flag, source: &str, value: OsString) -> Result<(), String> {
    let text = value.to_str().ok_or_else(|| format!("aloud: {source} is no UTF-8; give it in UTF-8"))?;
    (flag.set)(config, text).map_err(|wrong| match wrong {
        Wrong::Give(good) => format!("aloud: {source} is \"{}\"; give {good}", text.escape_debug()),
        Wrong::Secret(line) => format!("aloud: {source} {line}"),
    })
}

fn complaint(what: &str) -> String {
    format!("aloud: {what}; aloud --help lists what there is")
}

fn usage(flag: &Flag) -> String {
    format!("give --{} {}: {}", flag.name, flag.value, flag.meaning)
}

fn without(source: &str, feature: &str) -> String {
    format!("aloud: {source} takes the feature {feature}; give a binary that was built with it, or leave {source} out")
}

/// The environment variable that stands for the flag `name`.
fn variable(name: &str) -> String {
    format!("ALOUD_{}", name.to_uppercase().replace('-', "_"))
}

/// A line about each environment variable that is nearly one of ours, and does nothing.
pub fn misspelt(variables: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let ours: Vec<String> = FLAGS.iter().map(|flag| variable(flag.name)).collect();
    let complaint = |name: OsString| {
        let name = name.into_string().ok()?;
        let like_ours = name.to_uppercase().replace('-', "_");
        let near = |ours: &&String| {
            let letters = ours.len() - "ALOUD_".len();
            strsim::osa_distance(&like_ours, ours) <= if letters < 5 { 1 } else { 2 }
        };
        let is_meant = like_ours.starts_with("ALOUD") && !ours.contains(&name);
        let nearest = ours.iter().filter(near).min_by_key(|ours| strsim::osa_distance(&like_ours, ours));
        Some(format!("{} does nothing; is {} meant?", name.escape_debug(), nearest.filter(|_| is_meant)?))
    };
    variables.into_iter().filter_map(complaint).collect()
}

/// The output of `--help`.
pub fn help() -> String {
    let mut text = String::from(
        "aloud: say it once, everyone listening hears it\n\n\
         usage: aloud [flags]\n\n\
         \x20 curl -sN localhost:4000/listen                               hear\n\
         \x20 curl localhost:4000/say -d 'name=Florian&message=Hi'         speak\n\n\
         flags (each is also an environment variable: --max-body is ALOUD_MAX_BODY)\n",
    );
    for flag in FLAGS {
        let name = format!("--{} {}", flag.name, flag.value);
        let _ = writeln!(text, "  {name:<21}  {} [{}]", flag.meaning.replace('`', ""), flag.default);
    }
    text.push_str("  --check                asks the server at --bind whether it is well; exit 0 if it is, 1 if not\n");
    text.push_str("  --help, --version\n");
    text
}

fn bind(text: &str) -> Option<Bind> {
    if let Some(path) = text.strip_prefix("unix:") {
        return (!path.is_empty()).then(|| Bind::Unix(path.into()));
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    Some(if host.is_empty() { Bind::EveryInterface(port) } else { Bind::Address(text.to_owned()) })
}

fn whole(text: &str, range: std::ops::RangeInclusive<usize>) -> Option<usize> {
    text.parse().ok().filter(|number| range.contains(number))
}

fn seconds(text: &str) -> Option<Duration> {
    Some(Duration::from_secs(whole(text, 1..=3600)? as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(environment: &[(&str, &str)], arguments: &[&str]) -> Result<Wish, String> {
        read(
            |name| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()),
            arguments.iter().map(OsString::from),
        )
    }

    fn config(environment: &[(&str, &str)], arguments: &[&str]) -> Config {
        match read_all(environment, arguments) {
            Ok(Wish::Run(config)) => *config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_table_states_the_defaults_that_hold() {
        let plain = format!("{:?}", config(&[], &[]));
        for flag in FLAGS.iter().filter(|flag| flag.default != NONE) {
            let mut set = config(&[], &[&format!("--{}", flag.name), flag.default]);
            // A value that is set counts for this machine too; without one, the limit depends on the machine.
            match flag.name {
                "max-listeners" => assert_eq!(set.max_listeners.take(), Some(MOST_LISTENERS)),
                "max-per-address" => assert_eq!(set.max_per_address.take(), Some(MOST_FROM_ONE_ADDRESS)),
                _ => {}
            }
            assert_eq!(format!("{set:?}"), plain, "--{}", flag.name);
        }
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
            assert_eq!(read_all(environment, arguments).unwrap_err(), expected);
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
        assert_eq!(read(|_| None, arguments).unwrap_err(), "aloud: --hook-secret is no UTF-8; give it in UTF-8");
    }

    #[test]
    fn a_secret_is_shown_neither_when_it_is_good_nor_when_it_is_bad() {
        let good = config(&[("ALOUD_LISTEN_TOKEN", "hush")], &["--say-token", "hush"]);
        assert!(good.say_token.as_ref().is_some_and(|token| token.is(b"hush")));
        assert!(good.listen_token.as_ref().is_some_and(|token| token.is(b"hush")));
        assert!(!format!("{good:?}").contains("hush"), "{good:?}");
        let give = "give 1 to 512 visible ASCII characters, or @FILE with a file that holds them";
        let check = |environment: &[(&str, &str)], arguments: &[&str], expected: &str| {
            assert_eq!(read_all(environment, arguments).unwrap_err(), format!("aloud: {expected}; {give}"));
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
        let two = read_all(&[("LISTEN_FDS", "2"), ("LISTEN_PID", &this)], &[]).unwrap_err();
        assert_eq!(two, "aloud: LISTEN_FDS is \"2\"; hand over one socket, with one Listen line in its unit");
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

    #[test]
    fn help_names_every_flag() {
        for flag in FLAGS {
            assert!(help().contains(&format!("--{} {}", flag.name, flag.value)), "{}", flag.name);
        }
    }
}
