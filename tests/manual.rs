//! Promise: the manual page and the completions of the shells say what `--help` says.
//!
//! They are made here, from what `--help` prints, and stand in `scripts/man`; so the binary carries none of them. After
//! a flag was added, `ALOUD_WRITE_MANUAL=1 cargo test --test tests manual` writes them anew.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// A flag as `--help` describes it.
struct Flag {
    name: String,
    /// The word for its value; empty if it takes none.
    value: String,
    meaning: String,
    default: Option<String>,
}

#[test]
fn the_manual_and_the_completions_say_what_the_help_says() {
    let flags = flags();
    assert!(flags.iter().any(|flag| flag.name == "bind" && flag.default.as_deref() == Some(":4000")), "they are read");
    for (name, text) in [
        ("aloud.1", manual(&flags)),
        ("aloud.bash", bash(&flags)),
        ("_aloud", zsh(&flags)),
        ("aloud.fish", fish(&flags)),
    ] {
        let path = Path::new("scripts/man").join(name);
        if std::env::var_os("ALOUD_WRITE_MANUAL").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == text, "{name} is older than --help; write it anew (see the head of tests/manual.rs)");
    }
}

#[test]
fn man_reads_the_manual_without_a_complaint() {
    let output = Command::new("man").args(["--warnings", "-l", "scripts/man/aloud.1"]).env("MANPAGER", "cat").output();
    let output = output.expect("man is installed");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(page.contains("--max-listeners N"), "{page}");
}

#[test]
fn bash_completes_flags_and_levels() {
    let check = |words: &str, expected: &str| {
        let script = format!(
            "source scripts/man/aloud.bash; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _aloud aloud \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; echo \"${{COMPREPLY[*]}}\""
        );
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), expected, "{words}");
    };
    check("aloud --history-", "--history-bytes");
    check("aloud --log de", "debug");
    check("aloud --queue ''", "");
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

const LEVELS: &str = "off error warn info debug trace";

fn bash(flags: &[Flag]) -> String {
    let names: Vec<_> = flags.iter().map(|flag| format!("--{}", flag.name)).collect();
    let plain: Vec<_> = flags.iter().filter(|flag| flag.value.is_empty()).map(|flag| flag.name.as_str()).collect();
    format!(
        "# Completion of aloud for bash; made by tests/manual.rs. Goes into /usr/share/bash-completion/completions/aloud.\n\
         _aloud() {{\n    \
             case $3 in\n    \
             --log) mapfile -t COMPREPLY < <(compgen -W '{LEVELS}' -- \"$2\") ;;\n    \
             --{}) mapfile -t COMPREPLY < <(compgen -W '{names}' -- \"$2\") ;;\n    \
             --*) COMPREPLY=() ;;\n    \
             *) mapfile -t COMPREPLY < <(compgen -W '{names}' -- \"$2\") ;;\n    \
             esac\n\
         }}\n\
         complete -F _aloud aloud\n",
        plain.join(" | --"),
        names = names.join(" "),
    )
}

fn zsh(flags: &[Flag]) -> String {
    let mut text = String::from(
        "#compdef aloud\n# Completion of aloud for zsh; made by tests/manual.rs. Goes into a folder of $fpath as _aloud.\n_arguments",
    );
    for Flag { name, value, meaning, .. } in flags {
        let meaning = meaning.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]");
        let value = match (name.as_str(), value.as_str()) {
            (_, "") => String::new(),
            ("log", _) => format!(":level:({LEVELS})"),
            (_, value) => format!(":{value}:"),
        };
        let _ = write!(text, " \\\n  '--{name}[{meaning}]{value}'");
    }
    text + "\n"
}

fn fish(flags: &[Flag]) -> String {
    let mut text = String::from(
        "# Completion of aloud for fish; made by tests/manual.rs. Goes into /usr/share/fish/vendor_completions.d/aloud.fish.\n\
         complete -c aloud -f\n",
    );
    for Flag { name, value, meaning, .. } in flags {
        let takes = match (name.as_str(), value.as_str()) {
            (_, "") => String::new(),
            ("log", _) => format!(" -x -a '{LEVELS}'"),
            _ => " -x".to_owned(),
        };
        let _ = writeln!(text, "complete -c aloud -l {name}{takes} -d '{}'", meaning.replace('\'', "\\'"));
    }
    text
}
