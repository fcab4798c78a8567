//! Turns flags and environment into [`Config`]. One table, `FLAGS`, makes the parsing, the environment variables,
//! `--help` and the README's block.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt::Write;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Bind, Config};
use crate::origin::Origins;
use crate::proxies::Proxies;
use crate::secret::Secret;
use crate::tokens::Tokens;

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
    Give(Cow<'static, str>),
    /// The value is a secret and not shown; this says the fault and a remedy.
    Secret(String),
}

impl From<&'static str> for Wrong {
    fn from(good: &'static str) -> Wrong {
        Wrong::Give(good.into())
    }
}

/// The default of a flag for something that is off by default.
const NONE: &str = "none";

const fn flag(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    meaning: &'static str,
    set: fn(&mut Config, &str) -> Result<(), Wrong>,
) -> Flag {
    Flag { name, value, default, meaning, set }
}

const FLAGS: &[Flag] = &[
    flag(
        "bind",
        "ADDR",
        ":4000",
        "address and port; `:4000` is every interface, v6 and v4; `unix:PATH` a socket file; port 0 picks one",
        |config, text| {
            put(
                &mut config.bind,
                bind(text)
                    .ok_or(Wrong::from(":4000, 127.0.0.1:4000, [::1]:4000, localhost:4000 or unix:/run/aloud.sock")),
            )
        },
    ),
    flag(
        "socket-mode",
        "MODE",
        "0660",
        "the permissions of the socket file, in octal; who may write to it may connect",
        |config, text| {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && !text.starts_with('+'));
            config.socket_mode = mode.ok_or("permissions in octal, such as 0660 or 0666")?;
            Ok(())
        },
    ),
    flag(
        "max-listeners",
        "N",
        "10000",
        "the most who may listen at once, or what the open-file limit allows if less; past it, \"full\"",
        |config, text| put(&mut config.max_listeners, whole(text, "", 1..=1_000_000).map(Some)),
    ),
    flag(
        "max-per-address",
        "N",
        "1000",
        "the most connections from one address, at most half of all; if not given, this machine's own has half",
        |config, text| put(&mut config.max_per_address, whole(text, "", 1..=1_000_000).map(Some)),
    ),
    flag(
        "trust-proxy",
        "A,...",
        NONE,
        "proxies whose Forwarded or X-Forwarded-For says who the client is: addresses, networks, `unix`",
        |config, text| {
            put(
                &mut config.trust_proxy,
                Proxies::read(text).ok_or(Wrong::from(
                    "addresses of proxies, such as 127.0.0.1,10.0.0.0/8,fd00::/8, or unix for whoever connects to the \
                 socket file",
                )),
            )
        },
    ),
    flag(
        "queue",
        "N",
        "256",
        "messages that may wait for one listener; one that falls further behind is hung up on",
        |config, text| put(&mut config.queue, whole(text, "", 8..=1_000_000)),
    ),
    flag(
        "history",
        "N",
        "1000",
        "messages kept for those who come back or ask for what was said; the oldest goes first",
        |config, text| put(&mut config.history, whole(text, "", 0..=1_000_000)),
    ),
    flag("history-bytes", "BYTES", "8388608", "the most that the messages kept may weigh together", |config, text| {
        config.history_bytes = whole(text, " of bytes", 0..=1 << 30)?;
        Ok(())
    }),
    flag("things", "N", "2000", "the most things of which the newest word is kept, see /now", |config, text| {
        put(&mut config.things, whole(text, "", 0..=1_000_000))
    }),
    #[cfg(feature = "store")]
    flag(
        "store",
        "FILE",
        NONE,
        "keeps what was said in this file, across restarts; without it, in memory",
        |config, text| {
            config.store = Some(text.into()).filter(|file: &std::path::PathBuf| !file.as_os_str().is_empty());
            config.store.is_some().then_some(()).ok_or("the path of a file")?;
            Ok(())
        },
    ),
    #[cfg(feature = "redis")]
    flag(
        "redis",
        "URL",
        NONE,
        "shares what is said with other servers: redis://[:PASSWORD@]HOST[:PORT][/DB], rediss:// for TLS",
        |config, text| {
            let known = ["redis://", "rediss://", "unix://"].iter().any(|scheme| text.starts_with(scheme));
            let line = "is no URL of a Redis; give redis://[:PASSWORD@]HOST[:PORT][/DB], or rediss:// for TLS";
            config.redis = known.then(|| crate::config::RedisUrl(text.to_owned()));
            known.then_some(()).ok_or_else(|| Wrong::Secret(line.to_owned()))
        },
    ),
    flag("heartbeat", "S", "15", "seconds of silence after which a listener gets a sign of life", |config, text| {
        config.heartbeat = seconds(text)?;
        Ok(())
    }),
    flag("idle", "S", "75", "a connection silent for so many seconds between requests is closed", |config, text| {
        config.idle = seconds(text)?;
        Ok(())
    }),
    flag("max-body", "BYTES", "65536", "largest body /say takes", |config, text| {
        config.max_body = whole(text, " of bytes", 1..=16 * 1024 * 1024)?;
        Ok(())
    }),
    flag(
        "say-token",
        "T",
        NONE,
        "what has to be shown to say something; @FILE reads it from a file",
        |config, text| put(&mut config.say_token, Secret::read(text).map(Some).map_err(Wrong::Secret)),
    ),
    flag(
        "listen-token",
        "T",
        NONE,
        "what has to be shown to hear or see what was said; @FILE reads it from a file",
        |config, text| put(&mut config.listen_token, Secret::read(text).map(Some).map_err(Wrong::Secret)),
    ),
    flag(
        "tokens",
        "FILE",
        NONE,
        "a file of tokens, read again when it changes: one `TOKEN say|listen|both [CHANNEL]` a line",
        |config, text| {
            config.tokens = Some(Arc::new(Tokens::open(text).map_err(Wrong::Secret)?));
            Ok(())
        },
    ),
    flag(
        "hook-secret",
        "S",
        NONE,
        "what CI webhooks have to prove that they know, any text; @FILE reads it from a file",
        |config, text| put(&mut config.hook_secret, Secret::read_text(text).map(Some).map_err(Wrong::Secret)),
    ),
    flag(
        "allow-origin",
        "O,...",
        "*",
        "which web pages may use the server: every one, or those of these origins (CORS)",
        |config, text| {
            put(
                &mut config.allow_origin,
                Origins::read(text).ok_or(Wrong::from(
                    "*, or origins as browsers send them, such as https://a.example,http://localhost:8080: lower case, \
                 without path, end slash or default port",
                )),
            )
        },
    ),
    flag("log", "LEVEL", "info", "off, error, warn, info, debug or trace; goes to stderr", |config, text| {
        config.log = text.parse().map_err(|_| "off, error, warn, info, debug or trace")?;
        Ok(())
    }),
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
    for (flag, variable) in FLAGS.iter().zip(variables()) {
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

/// The environment variables that stand for flags.
pub fn variables() -> Vec<String> {
    FLAGS.iter().map(|flag| variable(flag.name)).collect()
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

/// Puts a value into its place, if it is good.
fn put<T>(place: &mut T, value: Result<T, Wrong>) -> Result<(), Wrong> {
    *place = value?;
    Ok(())
}

fn bind(text: &str) -> Option<Bind> {
    if let Some(path) = text.strip_prefix("unix:") {
        return (!path.is_empty()).then(|| Bind::Unix(path.into()));
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    Some(if host.is_empty() { Bind::EveryInterface(port) } else { Bind::Address(text.to_owned()) })
}

/// A whole number of things, such as ` of bytes`.
fn whole(text: &str, things: &str, range: RangeInclusive<usize>) -> Result<usize, Wrong> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    let (least, most) = (range.start(), range.end());
    number.ok_or_else(|| Wrong::Give(format!("a whole number{things} from {least} to {most}").into()))
}

fn seconds(text: &str) -> Result<Duration, Wrong> {
    Ok(Duration::from_secs(whole(text, " of seconds", 1..=3600)? as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MOST_FROM_ONE_ADDRESS, MOST_LISTENERS};

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
    fn help_names_every_flag() {
        for flag in FLAGS {
            assert!(help().contains(&format!("--{} {}", flag.name, flag.value)), "{}", flag.name);
        }
    }
}
