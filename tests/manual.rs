//! Promise: the manual page, the completions of the shells and the settings of the service say what `--help` says.
//!
//! They are made here, from what `--help` prints, and stand in `scripts/man` and `scripts/deb`; so the binary carries none of them. After
//! a flag was added, `ALOUD_WRITE_MANUAL=1 cargo test --test tests manual` writes them anew.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::Folder;

/// A flag as `--help` describes it.
struct Flag {
    name: String,
    /// The word for its value; empty if it takes none.
    value: String,
    meaning: String,
    default: Option<String>,
}

#[test]
fn the_manual_the_completions_and_the_settings_say_what_the_help_says() {
    let flags = flags();
    assert!(flags.iter().any(|flag| flag.name == "bind" && flag.default.as_deref() == Some(":4000")), "they are read");
    for (name, text) in [
        ("man/aloud.1", manual(&flags)),
        ("man/aloud.bash", bash(&flags)),
        ("man/_aloud", zsh(&flags)),
        ("man/aloud.fish", fish(&flags)),
        ("deb/aloud.env", settings(&flags)),
    ] {
        let path = Path::new("scripts").join(name);
        if std::env::var_os("ALOUD_WRITE_MANUAL").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == text, "{name} is older than --help; write it anew (see the head of tests/manual.rs)");
    }
}

#[test]
fn every_setting_of_the_service_is_one_that_aloud_knows_and_its_default() {
    let settings = std::fs::read_to_string("scripts/deb/aloud.env").unwrap();
    let of =
        |line: &str| line.strip_prefix('#')?.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings: Vec<_> = settings.lines().filter(|line| line.starts_with("#ALOUD_")).filter_map(of).collect();
    assert_eq!(settings.len(), flags().iter().filter(|flag| !flag.value.is_empty()).count());
    // Capitals stand for what only the administrator knows; the store of the service is not there while tests run.
    let given =
        settings.iter().filter(|(_, value)| value.contains(|char: char| char.is_lowercase() || char.is_numeric()));
    let given = given.filter(|(name, _)| name != "ALOUD_STORE").map(|(name, value)| (name, value));
    let mut check = Command::new(env!("CARGO_BIN_EXE_aloud"));
    let output = check.args(["--check", "--bind", "127.0.0.1:1"]).envs(given).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "nobody is there, and nothing is wrong with the settings: {output:?}");
}

#[test]
fn man_reads_the_manual_without_a_complaint() {
    let output = Command::new("man").args(["--warnings", "-l", "scripts/man/aloud.1"]).env("MANPAGER", "cat").output();
    let output = output.expect("man is installed");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(page.contains("--max-listeners N"), "{page}");
}

/// The arguments of a command that is typed into bash with a Tab at its end. `script` gives bash a terminal.
fn typed_into_bash(line: &str) -> String {
    let folder = Folder::new("completion");
    for file in ["store.one", "my token", "deep/secret"] {
        std::fs::create_dir_all(folder.0.join(file).parent().unwrap()).unwrap();
        std::fs::write(folder.0.join(file), "").unwrap();
    }
    let completion = std::fs::canonicalize("scripts/man/aloud.bash").unwrap();
    let start = "bind 'set bell-style none'; aloud() { printf '\\ngot'; printf '<%s>' \"$@\"; printf '.\\n'; }";
    std::fs::write(folder.0.join(".start"), format!("{start}\nsource {}\n", completion.display())).unwrap();
    let mut bash = Command::new("script");
    bash.args(["-qec", "bash --noprofile --rcfile .start -i", "/dev/null"]).current_dir(&folder.0).env("TERM", "dumb");
    let mut bash = bash.env("HISTFILE", "/dev/null").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut keys = bash.stdin.take().unwrap();
    std::io::Write::write_all(&mut keys, format!("aloud {line}\t\nexit\n").as_bytes()).unwrap();
    let output = bash.wait_with_output().unwrap();
    drop(keys);
    let screen = String::from_utf8_lossy(&output.stdout).into_owned();
    let got = screen.lines().find_map(|line| line.trim_end().strip_prefix("got")?.strip_suffix('.'));
    got.unwrap_or_else(|| panic!("bash runs the command: {screen:?}")).to_owned()
}

#[test]
fn bash_completes_flags_levels_files_and_files_after_an_at() {
    let check = |line: &str, expected: &str| assert_eq!(typed_into_bash(line), expected, "{line}");
    check("--history-", "<--history-bytes>");
    check("--check --history-", "<--check><--history-bytes>");
    check("--log de", "<--log><debug>");
    check("--log=de", "<--log=debug>");
    check("--queue st", "<--queue><st>");
    check("--store st", "<--store><store.one>");
    check("--store=st", "<--store=store.one>");
    check("--tokens deep/", "<--tokens><deep/secret>");
    check("--say-token @st", "<--say-token><@store.one>");
    check("--say-token=@st", "<--say-token=@store.one>");
    check("--say-token st", "<--say-token><st>");
    check("--listen-token @my", "<--listen-token><@my token>");
    check("--hook-secret @de", "<--hook-secret><@deep/>");
    check("--hook-secret @deep/", "<--hook-secret><@deep/secret>");
    check("--bind unix:st", "<--bind><unix:store.one>");
}

/// The flags that `--help` lists.
fn flags() -> Vec<Flag> {
    let output = Command::new(env!("CARGO_BIN_EXE_aloud")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let lines = help.lines().filter_map(|line| line.strip_prefix("  --"));
    let (last, lines): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with("help"));
    assert_eq!(last, ["help, --version"]);
    let mut flags: Vec<Flag> = lines.into_iter().map(flag).collect();
    for (name, meaning) in [("help", "prints what there is, and ends"), ("version", "prints the version, and ends")] {
        flags.push(Flag { name: name.to_owned(), value: String::new(), meaning: meaning.to_owned(), default: None });
    }
    flags
}

/// Reads `NAME VALUE  MEANING [DEFAULT]`.
fn flag(line: &str) -> Flag {
    let (usage, meaning) = line.split_once("  ").expect("two spaces stand before the meaning");
    let (name, value) = usage.split_once(' ').unwrap_or((usage, ""));
    let bracket = meaning.rfind(" [").filter(|_| meaning.ends_with(']'));
    let default = bracket.map(|place| meaning[place + 2..meaning.len() - 1].to_owned());
    let meaning = meaning[..bracket.unwrap_or(meaning.len())].trim();
    Flag { name: name.to_owned(), value: value.to_owned(), meaning: meaning.to_owned(), default }
}

/// Text as roff takes it: a hyphen that is one, and no line that begins like a request (groff_char(7)).
fn roff(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq")
}

fn manual(flags: &[Flag]) -> String {
    let mut options = String::new();
    for Flag { name, value, meaning, default } in flags {
        let space = if value.is_empty() { "" } else { " " };
        let _ = writeln!(options, ".TP\n\\fB\\-\\-{}\\fR{space}\\fI{value}\\fR\n{}.", roff(name), roff(meaning));
        if let Some(default) = default {
            let _ = writeln!(options, "Default: {}.", roff(default));
        }
    }
    include_str!("../scripts/man/aloud.1.in")
        .replace("@OPTIONS@\n", &options)
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
}

/// All variables for a service, each as a comment that has to lose one character.
fn settings(flags: &[Flag]) -> String {
    let mut text = String::from(
        "# Settings of aloud as a service, made by tests/manual.rs. After a change: systemctl restart aloud.service\n\
         # Each stands for a flag of aloud(1). After the = stands the default or, where there is none, a word for what to give.\n\
         # ALOUD_BIND counts where aloud.socket is disabled and aloud.service enabled. Tokens may stand here, because only\n\
         # root reads this file. A file that is named here is one that the user aloud has to be able to read.\n",
    );
    for Flag { name, value, meaning, default } in flags.iter().filter(|flag| !flag.value.is_empty()) {
        let variable = format!("ALOUD_{}", name.to_uppercase().replace('-', "_"));
        let value = match (name.as_str(), default.as_deref()) {
            ("store", _) => "/var/lib/aloud/store",
            (_, None | Some("none")) => value,
            (_, Some(default)) => default,
        };
        let _ = write!(text, "\n# {meaning} (--{name})\n#{variable}={value}\n");
    }
    text
}

const LEVELS: &str = "off error warn info debug trace";

/// A value that shells can complete.
enum Completed {
    Levels,
    File,
    /// A secret, or a file after an `@`.
    Secret,
}

impl Flag {
    fn completed(&self) -> Option<Completed> {
        match (self.name.as_str(), self.value.as_str()) {
            ("log", _) => Some(Completed::Levels),
            (_, "FILE") => Some(Completed::File),
            _ => self.meaning.contains("@FILE").then_some(Completed::Secret),
        }
    }
}

/// The completion for bash. It reads the line itself, because bash splits words at `=`, `:` and `@` as well.
fn bash(flags: &[Flag]) -> String {
    let names: Vec<_> = flags.iter().map(|flag| format!("--{}", flag.name)).collect();
    let cases = |pattern: &str, is_one: &dyn Fn(&Flag) -> bool| {
        let flags = flags.iter().filter(|flag| is_one(flag));
        flags.map(|flag| format!("--{}{pattern}", flag.name)).collect::<Vec<_>>().join(" | ")
    };
    include_str!("../scripts/man/aloud.bash.in")
        .replace("@LEVELS@", LEVELS)
        .replace("@FLAGS@", &names.join(" "))
        .replace("@FILES@", &cases(":*", &|flag| matches!(flag.completed(), Some(Completed::File))))
        .replace("@SECRETS@", &cases(":@*", &|flag| matches!(flag.completed(), Some(Completed::Secret))))
        .replace("@PLAIN@", &cases(":*", &|flag| flag.value.is_empty()))
}

fn zsh(flags: &[Flag]) -> String {
    let mut text = String::from(
        "#compdef aloud\n# Completion of aloud for zsh; made by tests/manual.rs. Goes into a folder of $fpath as _aloud.\n_arguments",
    );
    for flag @ Flag { name, value, meaning, .. } in flags {
        let meaning = meaning.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]");
        let action = match flag.completed() {
            Some(Completed::Levels) => format!("({LEVELS})"),
            Some(Completed::File) => "_files".to_owned(),
            Some(Completed::Secret) => "{ compset -P @ && _files }".to_owned(),
            None => String::new(),
        };
        let (equals, value) = match value.as_str() {
            "" => ("", String::new()),
            value => ("=", format!(":{value}:{action}")),
        };
        let _ = write!(text, " \\\n  '--{name}{equals}[{meaning}]{value}'");
    }
    text + "\n"
}

fn fish(flags: &[Flag]) -> String {
    let mut text = String::from(
        "# Completion of aloud for fish; made by tests/manual.rs. Goes into /usr/share/fish/vendor_completions.d/aloud.fish.\n\
         function __aloud_secret\n    \
             set -l word (string replace -r '^--[a-z-]*=' '' -- (commandline -ct))\n    \
             string match -q '@*' -- $word; or return\n    \
             for path in (__fish_complete_path (string sub -s 2 -- $word))\n        \
                 echo @$path\n    \
             end\n\
         end\n\
         complete -c aloud -f\n",
    );
    for flag @ Flag { name, value, meaning, .. } in flags {
        let takes = match flag.completed() {
            Some(Completed::Levels) => format!(" -x -a '{LEVELS}'"),
            Some(Completed::File) => " -r -F".to_owned(),
            Some(Completed::Secret) => " -x -a '(__aloud_secret)'".to_owned(),
            None if value.is_empty() => String::new(),
            None => " -x".to_owned(),
        };
        let _ = writeln!(text, "complete -c aloud -l {name}{takes} -d '{}'", meaning.replace('\'', "\\'"));
    }
    text
}
