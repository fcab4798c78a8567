//! Promise: every command in the README and in the manual (`src/manual`) works as printed. And what else stands there
//! leads somewhere: links, files, flags.
//!
//! A `console` block holds commands after `$ ` and what they print; `…` stands for anything. A block whose command is a
//! listener is started when its turn comes and compared when the next heading is reached; all others are run at once.
//! `aloud` with a `--bind` starts one more server beside the one at port 4000, each on a free port in truth.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::support::{Folder, Server, wait_until};

/// The servers that were started, each with the address that the page gives it.
type Servers = Vec<(String, Server)>;

/// A command and what it shall print.
struct Example {
    command: String,
    expected: String,
}

/// A listener that was started, and what it has printed so far.
struct Running {
    example: Example,
    process: Child,
    heard: Arc<Mutex<String>>,
}

#[test]
fn every_command_of_the_readme_and_of_the_manual_prints_what_it_says() {
    let mut run = 0;
    for (path, text) in pages() {
        println!("{}", path.display());
        run += run_examples(&text);
    }
    assert!(run > 50, "the examples are found: {run}");
}

#[test]
fn a_page_with_a_command_that_prints_something_else_fails() {
    let run = |page: &'static str| std::panic::catch_unwind(|| run_examples(page)).ok();
    assert_eq!(run("# Page\n\n## One\n\n```console\n$ echo right\nright\n```\n"), Some(1));
    assert_eq!(run("# Page\n\n## One\n\n```console\n$ echo right\nwrong\n```\n"), None);
    assert_eq!(run("# Page\n\n```console\n$ curl localhost:4000/say -d message=Hi\nok!\n```\n"), None);
}

/// The README and the pages of the manual.
fn pages() -> Vec<(PathBuf, String)> {
    let files = std::fs::read_dir("src/manual").unwrap().map(|entry| entry.unwrap().path());
    let pages = files.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let pages: Vec<_> = pages.chain([PathBuf::from("README.md")]).map(|path| (path.clone(), text_of(&path))).collect();
    assert!(pages.len() > 10, "the pages are found: {}", pages.len());
    pages
}

fn text_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs the examples of a page, at servers of its own; returns how many there are.
fn run_examples(page: &str) -> usize {
    let folder = Folder::new("page");
    let page = page.replace("aloud.store", folder.0.join("aloud.store").to_str().unwrap());
    let mut servers = vec![("localhost:4000".to_owned(), Server::start(&["--log", "debug"]))];
    let mut listeners: Vec<Running> = vec![];
    let mut run = 0;
    for block in page.split("\n## ").flat_map(|section| section.split("```").skip(1).step_by(2).chain([""])) {
        if block.is_empty() {
            listeners.drain(..).for_each(finish);
        }
        let Some(console) = block.strip_prefix("console\n") else { continue };
        for example in examples(console) {
            run += 1;
            if let Some(flags) = example.command.strip_prefix("aloud --bind 127.0.0.1:") {
                servers.push(start_server(flags));
            } else if example.command.contains("/listen") {
                let listening = joins(&servers);
                listeners.push(start(&servers, example));
                wait_until("the listener has joined", || joins(&servers) > listening);
            } else {
                check(&servers, &example);
            }
        }
    }
    run
}

fn examples(console: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = vec![];
    for line in console.split_inclusive('\n') {
        match line.strip_prefix("$ ") {
            Some(command) => examples.push(Example { command: command.trim_end().to_owned(), expected: String::new() }),
            None => examples.last_mut().expect("a block begins with a command").expected.push_str(line),
        }
    }
    examples
}

/// Starts what `aloud --bind 127.0.0.1:` and `port_and_flags` would.
fn start_server(port_and_flags: &str) -> (String, Server) {
    let (port, flags) = port_and_flags.split_once(' ').unwrap();
    let flags: Vec<&str> = flags.split(' ').chain(["--log", "debug"]).collect();
    (format!("localhost:{port}"), Server::start(&flags))
}

/// How often somebody has begun to listen.
fn joins(servers: &Servers) -> usize {
    servers.iter().map(|(_, server)| server.log().matches(" listens").count()).sum()
}

fn shell(servers: &Servers, command: &str) -> Command {
    let command = command.replace("aloud --help", concat!(env!("CARGO_BIN_EXE_aloud"), " --help"));
    let command =
        servers.iter().fold(command, |command, (name, server)| command.replace(name, &server.address().to_string()));
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec 2>/dev/null; {command}")]).stdout(Stdio::piped()).stdin(Stdio::null());
    shell
}

fn check(servers: &Servers, example: &Example) {
    let output = shell(servers, &example.command).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n");
    let (printed, expected) = (printed.trim_end(), example.expected.trim_end());
    assert!(matches(printed, expected), "{}\nprints\n{printed}\nand not\n{expected}", example.command);
}

fn start(servers: &Servers, example: Example) -> Running {
    let mut process = shell(servers, &example.command).process_group(0).spawn().unwrap();
    let mut output = process.stdout.take().unwrap();
    let heard = Arc::new(Mutex::new(String::new()));
    let heard_by_thread = heard.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut bytes) {
            heard_by_thread.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    });
    Running { example, process, heard }
}

fn finish(mut listener: Running) {
    let heard = || listener.heard.lock().unwrap().replace("\r\n", "\n");
    wait_until(&format!("{} prints\n{}", listener.example.command, listener.example.expected), || {
        matches(heard().trim_end(), listener.example.expected.trim_end())
    });
    // The whole pipeline, of which the process is the shell.
    let killed = Command::new("kill").args(["-KILL", "--", &format!("-{}", listener.process.id())]).status().unwrap();
    assert!(killed.success());
    listener.process.wait().unwrap();
}

/// Whether `text` is `pattern`, in which `…` stands for anything within a line.
fn matches(text: &str, pattern: &str) -> bool {
    let (mut text, mut pieces) = (text, pattern.split('…'));
    let Some(rest) = text.strip_prefix(pieces.next().unwrap_or("")) else { return false };
    text = rest;
    let mut last = "";
    for piece in pieces {
        let Some(place) = text.find(piece) else { return false };
        if text[..place].contains('\n') {
            return false;
        }
        text = &text[place + piece.len()..];
        last = piece;
    }
    text.is_empty() || (last.is_empty() && pattern.ends_with('…') && !text.contains('\n'))
}

#[test]
fn the_patterns_of_the_readme_match_what_they_say() {
    for (text, pattern, expected) in [
        ("ok.", "ok.", true),
        ("ok", "ok.", false),
        ("ok. more", "ok.", false),
        ("id: 5\nx", "id: …\nx", true),
        ("id: 5\ny\nx", "id: …\nx", false),
        ("Aloud-Id: 17", "Aloud-Id: …", true),
        ("{\"id\":\"1\",\"time\":\"2Z\"}", "{\"id\":\"…\",\"time\":\"…Z\"}", true),
    ] {
        assert_eq!(matches(text, pattern), expected, "{text:?} {pattern:?}");
    }
}

/// The text without its blocks, and the blocks, each with its language.
fn parts(page: &str) -> (String, Vec<(&str, &str)>) {
    let pieces: Vec<_> = page.split("```").collect();
    let blocks = pieces.iter().skip(1).step_by(2).map(|block| block.split_once('\n').unwrap_or((block, "")));
    (pieces.iter().step_by(2).copied().collect(), blocks.collect())
}

/// The texts between backticks.
fn code(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

#[test]
fn the_readme_fits_on_one_page() {
    let lines = text_of(Path::new("README.md")).lines().count();
    assert!(lines <= 300, "{lines} lines; what is not for a newcomer goes to src/manual");
}

#[test]
fn every_block_is_of_a_kind_that_is_known_and_a_shell_can_read_it() {
    for (path, page) in pages() {
        for (language, block) in parts(&page).1 {
            let known = ["console", "sh", "text", "js", "yaml", "nginx", "caddy"].contains(&language);
            assert!(known, "{} has a block of {language:?}; a command goes into console or sh", path.display());
            if language == "sh" {
                let output = Command::new("sh").args(["-n", "-c", block]).output().unwrap();
                assert!(output.status.success(), "{}: {output:?}\n{block}", path.display());
            }
        }
    }
}

#[test]
fn aloud_takes_the_flags_and_the_variables_that_the_pages_give_it() {
    let mut taken = 0;
    for (path, page) in pages() {
        let (prose, blocks) = parts(&page);
        let commands = blocks.iter().filter(|(language, _)| *language == "sh").flat_map(|(_, block)| block.lines());
        for command in commands.chain(code(&prose)) {
            let command = command.replace("cargo run --release -- ", "aloud ");
            let start = command.split(' ').take_while(|word| word.starts_with("ALOUD_")).map(|word| word.len() + 1);
            let (variables, rest) = command.split_at(start.sum::<usize>().min(command.len()));
            let Some(flags) = rest.strip_prefix("aloud").filter(|flags| flags.starts_with(" --") || flags.is_empty())
            else {
                continue;
            };
            // Nothing is served: flags and variables are read, and then nobody is found at port 1.
            let aloud = env!("CARGO_BIN_EXE_aloud");
            let script = format!("{variables} {aloud} {flags} --check --bind 127.0.0.1:1");
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert!(matches!(output.status.code(), Some(0 | 1)), "{}: {command}: {output:?}", path.display());
            taken += 1;
        }
    }
    assert!(taken > 5, "the commands are found: {taken}");
}

#[test]
fn every_file_that_a_page_names_is_there() {
    for (path, page) in pages() {
        let (prose, blocks) = parts(&page);
        let shown = blocks.iter().filter(|(language, _)| ["console", "sh"].contains(language)).map(|(_, block)| *block);
        for word in code(&prose).chain(shown).flat_map(|text| text.split([' ', '\n', '@', '"', '(', ')'])) {
            if ["src/", "scripts/", "tests/"].iter().any(|folder| word.starts_with(folder)) {
                let (folder, name) = word.rsplit_once('/').unwrap();
                let start = name.split('*').next().unwrap();
                let fits = |entry: std::fs::DirEntry| match name.contains('*') {
                    true => entry.file_name().to_string_lossy().starts_with(start),
                    false => entry.file_name() == name || name.is_empty(),
                };
                let is_there = std::fs::read_dir(folder).is_ok_and(|mut all| all.any(|entry| fits(entry.unwrap())));
                assert!(is_there, "{} names {word}", path.display());
            }
        }
    }
}

/// The lines `[label]: target` of a page.
fn definitions(page: &str) -> impl Iterator<Item = (&str, &str)> {
    page.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "))
}

/// The anchor of a heading, as viewers of repositories and rustdoc make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|char| char.is_alphanumeric() || matches!(char, '-' | '_')).collect()
}

#[test]
fn every_link_leads_to_something() {
    let mut followed = 0;
    let benchmark = Path::new("scripts/bench/README.md");
    for (path, page) in pages().into_iter().chain([(benchmark.to_owned(), text_of(benchmark))]) {
        let (prose, _) = parts(&page);
        let inline = prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
        for link in inline.chain(definitions(&prose).map(|(_, target)| target)) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(file.exists(), "{} links to {link}", path.display());
            if !fragment.is_empty() {
                let target = text_of(&file);
                let headings = parts(&target).0;
                let mut headings = headings.lines().filter(|line| line.starts_with('#'));
                let is_there = headings.any(|heading| anchor(heading.trim_start_matches('#')) == fragment);
                assert!(is_there, "{} links to {link}", path.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 50, "the links are found: {followed}");
}

#[test]
fn every_page_of_the_manual_is_listed_and_its_links_work_in_the_crate_documentation_too() {
    let [links, module, readme] =
        ["src/manual/links.txt", "src/manual/mod.rs", "README.md"].map(|path| text_of(path.as_ref()));
    let module = module.split_once("pages!(").unwrap().1;
    for (path, page) in pages().into_iter().filter(|(path, _)| path.starts_with("src")) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let is_listed = module.split(|char: char| !char.is_alphanumeric()).any(|word| word == name);
        assert!(is_listed && readme.contains(path.to_str().unwrap()), "src/manual/mod.rs and README.md list {name}");
        let (prose, _) = parts(&page);
        let inline = prose.split("](").skip(1).find(|link| !link.starts_with("https://"));
        assert_eq!(inline, None, "{}: write [text][label], and [label]: FILE at the end", path.display());
        for label in prose.split("][").skip(1).map(|rest| rest.split(']').next().unwrap()) {
            assert!(definitions(&prose).any(|(defined, _)| defined == label), "{}: [{label}]: FILE", path.display());
        }
        for (label, target) in definitions(&prose) {
            let there = definitions(&links).find(|(defined, _)| *defined == label).map(|(_, target)| target.to_owned());
            let there = there.unwrap_or_else(|| panic!("src/manual/links.txt has no [{label}]: crate::MODULE"));
            if !target.starts_with("..") {
                assert_eq!(there, format!("crate::manual::{}", target.replace(".md", "")), "{}", path.display());
            }
        }
    }
}
