//! Promise: `scripts/hear.sh` runs a command once for each message, in order, whatever becomes of the server, and a
//! text stays a text whatever is said.

use std::fs;
#[cfg(feature = "store")]
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
#[cfg(feature = "store")]
use std::sync::mpsc;
#[cfg(feature = "store")]
use std::time::{Duration, Instant};

use crate::support::{Folder, PATIENCE, Server, wait_until, wait_until_within};

/// The shells that it has to run in.
pub const SHELLS: [&[&str]; 4] = [&["dash"], &["bash"], &["busybox", "sh"], &["mksh"]];

pub const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/hear.sh");

/// Writes down what a command is given: six variables and its standard input.
pub const NOTE: &str = r#"{ printf '%s\0' "$ALOUD_ID" "$ALOUD_EVENT" "$ALOUD_CHANNEL" "$ALOUD_NAME" "$ALOUD_MESSAGE" \
    "$ALOUD_STATUS"; cat; printf '\0'; } >>heard"#;

/// How many messages are said while the server is killed; `ALOUD_TEST_HEARD` says otherwise, for example 5000.
#[cfg(feature = "store")]
const HEARD: usize = 200;

/// The columns of a note.
const COLUMNS: usize = 7;

/// A `hear.sh` in a folder of its own; killed when dropped.
pub struct Hearer {
    process: Child,
    folder: Folder,
}

impl Hearer {
    /// Starts it with `arguments`; the command is `script`.
    fn start(shell: &[&str], folder: Folder, arguments: &[&str], script: &str) -> Hearer {
        let mut command = Command::new(shell[0]);
        fs::create_dir_all(folder.0.join("tmp")).unwrap();
        command.args(&shell[1..]).arg(SCRIPT).args(arguments).args(["--", "sh", "-c", script]);
        command.current_dir(&folder.0).env("TMPDIR", folder.0.join("tmp")).stdin(Stdio::null()).stderr(folder.errors());
        let process = command.spawn().unwrap_or_else(|error| panic!("{shell:?}: {error}; run install-test-tools.sh"));
        Hearer { process, folder }
    }

    /// Starts it at `server` with a state file, and waits until it has its place.
    pub fn ready(shell: &[&str], server: &Server, more: &[&str]) -> Hearer {
        let address = server.address().to_string();
        let hearer =
            Hearer::start(shell, Folder::new("hear"), &[&["--state", "place"], more, &[&address]].concat(), NOTE);
        wait_until("it has its place", || !hearer.file("place").is_empty());
        hearer
    }

    fn file(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.0.join(name)).unwrap_or_default()).into_owned()
    }

    /// Its standard error.
    fn errors(&self) -> String {
        self.file("errors")
    }

    /// The notes that are whole.
    fn heard(&self) -> Vec<Vec<String>> {
        let text = self.file("heard");
        let columns: Vec<String> = text.split_terminator('\0').map(str::to_owned).collect();
        columns.chunks_exact(COLUMNS).map(<[String]>::to_vec).collect()
    }

    pub fn wait_for(&self, count: usize) -> Vec<Vec<String>> {
        wait_until("the command runs", || self.heard().len() >= count);
        self.heard()
    }

    /// Waits until `condition` holds. That may take as long as it likes while something new is heard or told.
    #[cfg(feature = "store")]
    fn wait_while_it_works(&self, what: &str, condition: impl Fn() -> bool) {
        let length = |name| fs::metadata(self.folder.0.join(name)).map_or(0, |file| file.len());
        let (mut before, mut since) = (0, Instant::now());
        while !condition() {
            let now = length("heard") + length("errors");
            if now != before {
                (before, since) = (now, Instant::now());
            }
            let heard = self.heard().len();
            assert!(since.elapsed() < 2 * PATIENCE, "{what}: nothing new for {:?} after {heard}", 2 * PATIENCE);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends it a signal, if it still runs.
    fn signal(&mut self, signal: &str) {
        if self.process.try_wait().unwrap().is_none() {
            let pid = self.process.id().to_string();
            assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        }
    }

    /// The exit code.
    fn end(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("it ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Hearer {
    fn drop(&mut self) {
        // At a signal it tidies up at once; after a kill its watcher does, which takes seconds.
        match std::thread::panicking() {
            false => self.signal("TERM"),
            true => _ = self.process.kill(),
        }
        let _ = self.process.wait();
        wait_until_within(4 * PATIENCE, "its helpers are gone", || {
            fs::read_dir(self.folder.0.join("tmp")).unwrap().count() == 0
        });
        if std::thread::panicking() {
            eprintln!("--- errors ---\n{}", self.errors());
        }
    }
}

pub fn say(server: &Server, target: &str, fields: &[(&str, &str)]) {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let answer = server.request("POST", target, &[kind], form.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[cfg(feature = "store")]
fn start_at(address: &str, folder: &Folder) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args([
        "--log",
        "debug",
        "--bind",
        address,
        "--history",
        "100000",
        "--store",
        folder.0.join("store").to_str().unwrap(),
    ]);
    Server::start_command(command)
}

/// Says so many messages while the server is killed so many times. The command has to run for all that the
/// store has kept, once for each and in order.
#[cfg(feature = "store")]
fn survives(shell: &[&str], messages: usize, kills: usize) {
    let folder = Folder::new("hear-store");
    let mut server = start_at("127.0.0.1:0", &folder);
    let address = server.address();
    let light = NOTE.replace("cat; ", ""); // one process less for each message
    let arguments = ["--silence", "8", "--state", "place", &address.to_string()];
    let hearer = Hearer::start(shell, Folder::new("hear"), &arguments, &light);
    wait_until("it has its place", || !hearer.file("place").is_empty());
    let (count, counted) = mpsc::sync_channel(50); // it speaks on while the server is killed, but not to the end
    let speaker = std::thread::spawn(move || {
        for number in 0..messages {
            wait_until("a message is answered", || try_say(address, number) == Some(200));
            count.send(()).unwrap();
        }
    });
    for kill in 1..=kills {
        counted.iter().take(messages / (kills + 1)).for_each(drop);
        let listened = || server.log().contains(" listens");
        hearer.wait_while_it_works("it has come back after all it had to do", listened);
        server.signal("KILL");
        server.wait();
        if kill == 1 {
            let seen = |hearer: &Hearer| hearer.errors().matches("gives no answer").count();
            let before = seen(&hearer);
            hearer.wait_while_it_works("it finds nobody there", || seen(&hearer) > before);
        }
        server = start_at(&address.to_string(), &folder);
    }
    counted.iter().for_each(drop);
    speaker.join().unwrap();
    let kept = server.curl(&["/said?as=tsv"]);
    let kept: Vec<[&str; 2]> = kept
        .lines()
        .map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            [columns[0], columns[5]]
        })
        .collect();
    assert!(kept.len() >= messages);
    hearer.wait_while_it_works("the command has run for everything", || hearer.heard().len() >= kept.len());
    assert!(hearer.errors().matches("comes back").count() >= kills, "it has met each kill");
    let heard = hearer.heard();
    let heard: Vec<[&str; 2]> = heard.iter().map(|columns| [columns[0].as_str(), columns[4].as_str()]).collect();
    assert!(heard == kept, "{shell:?}: not each once and in order");
    let place = || hearer.file("place") == format!("{}\n", kept.last().unwrap()[0]);
    wait_until("its place is the last", place);
}

#[cfg(feature = "store")]
fn all_survive(messages: usize, kills: usize) {
    std::thread::scope(|scope| {
        for shell in SHELLS {
            scope.spawn(move || survives(shell, messages, kills));
        }
    });
}

/// One message, `None` if the server has gone meanwhile.
#[cfg(feature = "store")]
fn try_say(address: std::net::SocketAddr, number: usize) -> Option<u16> {
    let mut connection = std::net::TcpStream::connect(address).ok()?;
    connection.set_read_timeout(Some(PATIENCE)).ok()?;
    let body = format!("{number} $(touch x) `touch x` \"'\t\\");
    let request = format!("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    connection.write_all(request.as_bytes()).ok()?;
    let mut reader = BufReader::new(connection);
    reader.fill_buf().ok().filter(|bytes| !bytes.is_empty())?;
    Some(crate::support::Answer::read(&mut reader, false).status)
}

#[cfg(feature = "store")]
#[test]
fn hear_sh_runs_its_command_once_for_each_message_while_the_server_is_killed() {
    let messages = std::env::var("ALOUD_TEST_HEARD").map_or(HEARD, |text| text.parse().unwrap());
    all_survive(messages, (messages / 250).max(4));
}

#[test]
fn hear_sh_gives_texts_to_its_command_and_none_to_a_shell() {
    let server = Server::start(&["--history", "100000"]);
    let texts = [
        "$(touch x)",
        "`touch x`",
        "; touch x",
        "'; touch x; '",
        "\"; touch x; \"",
        "&& touch x",
        "| touch x",
        "-n",
        "--",
        "-e \\n\\t\\0",
        "*",
        "~",
        "%s%n",
        "\\",
        "a\\",
        "END",
        "  both  ends  ",
        "${IFS}",
        "!!",
        "a\nb\r\nc\td\u{0}\u{1b}[31m\u{85}\u{2028}",
        "\t",
        "naïve 😀",
        "",
        "x=1",
        "@file",
        "<script>",
    ];
    let spaced = |text: &str| text.replace(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'), " ");
    let hearers = SHELLS.map(|shell| Hearer::ready(shell, &server, &["--silence", "8"]));
    let mut expected: Vec<[String; COLUMNS - 1]> = vec![];
    for (place, text) in texts.iter().enumerate() {
        let other = texts[(place + 7) % texts.len()];
        let (channel, status, event) = [("", "", "message"), ("/a/b", "bad", "ci")][place % 2];
        let fields = [("name", *text), ("message", other), ("status", status), ("event", event)];
        say(&server, &format!("/say{channel}"), &fields);
        let [name, message] = [*text, other].map(spaced);
        let line = if name.is_empty() || message.is_empty() { "" } else { " " };
        let line = format!("{name}{line}{message}\n");
        expected.push([event, channel.trim_start_matches('/'), &name, &message, status, &line].map(str::to_owned));
    }
    for (shell, hearer) in SHELLS.iter().zip(&hearers) {
        let heard = hearer.wait_for(expected.len());
        for (heard, expected) in heard.iter().zip(&expected) {
            assert_eq!(&heard[1..], expected, "{shell:?}");
        }
        assert_eq!(heard.len(), expected.len());
        let mut files: Vec<_> =
            fs::read_dir(&hearer.folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["errors", "heard", "place", "tmp"], "{shell:?}: nothing was run");
        assert_eq!(hearer.errors(), "", "{shell:?}");
    }
    // A field of any length is cut out.
    let long = "n".repeat(30_000);
    say(&server, "/say", &[("name", &long), ("message", &long)]);
    for hearer in &hearers {
        let heard = hearer.wait_for(expected.len() + 1).pop().unwrap();
        assert_eq!([&heard[3], &heard[4]], [&long, &long]);
    }
}

#[test]
fn hear_sh_runs_nothing_for_a_heartbeat_and_misses_those_that_do_not_come() {
    let server = Server::start(&["--heartbeat", "1", "--log", "debug"]);
    let hearers = SHELLS.map(|shell| Hearer::ready(shell, &server, &["--silence", "4"]));
    let listening = || server.log().matches(" listens").count();
    wait_until("all listen", || listening() == SHELLS.len());
    server.listen("/listen?as=tsv").lines(6); // six seconds
    assert_eq!(listening(), SHELLS.len() + 1, "nobody had to come back: {}", server.log());
    assert!(hearers.iter().all(|hearer| hearer.file("heard").is_empty()));
    server.say("one");
    hearers.iter().for_each(|hearer| assert_eq!(hearer.wait_for(1).len(), 1));
    server.signal("STOP");
    for hearer in &hearers {
        wait_until("it says that nothing comes", || hearer.errors().contains("comes back in 1 s"));
    }
    server.signal("CONT");
    server.say("two");
    for (shell, hearer) in SHELLS.iter().zip(&hearers) {
        let texts: Vec<_> = hearer.wait_for(2).iter().map(|columns| columns[4].clone()).collect();
        assert_eq!(texts, ["one", "two"], "{shell:?}");
    }
}

#[test]
fn hear_sh_ends_when_it_is_refused_for_good() {
    let server = Server::start(&["--listen-token", "s3cret\"\\"]);
    let address = server.address().to_string();
    let path = Folder::new("hear-token");
    let file = path.0.join("token");
    fs::write(&file, "s3cret\"\\\r\n").unwrap();
    let from_file = format!("@{}", file.display());
    let check = |arguments: &[&str], code: i32, complaint: &str| {
        for shell in SHELLS {
            let mut hearer = Hearer::start(shell, Folder::new("hear"), arguments, NOTE);
            assert_eq!(hearer.end(), Some(code), "{shell:?} {arguments:?} {}", hearer.errors());
            let errors = hearer.errors();
            assert!(errors.starts_with("hear.sh: ") && errors.contains(complaint), "{shell:?} {errors}");
            assert_eq!((errors.lines().count(), hearer.heard().len()), (1, 0), "{shell:?} {errors}");
        }
    };
    let refused = format!("{address} answers 401: aloud: listening takes a token here; send ");
    check(&[&address], 1, &refused);
    check(&["--token", "other", &address], 1, "answers 401: aloud: listening takes another token here");
    let with_token = |more: &[&str], complaint: &str| check(&[&["--token", &from_file], more].concat(), 1, complaint);
    with_token(&[&format!("{address}/x/listen")], "answers 404: aloud: there is no \"/x/now\"; ");
    with_token(&[&format!("{address}/a//b")], "answers 400: aloud: \"a//b\" is no channel; ");
    with_token(&["--event", "two words", &address], "answers 400: aloud: \"two words\" is no event name; ");
    with_token(&["--since", "yesterday", &address], "answers 400: aloud: since=\"yesterday\" is no point in time; ");
    check(&[], 2, "it takes HOST[/CHANNEL] -- COMMAND");
    check(&["--bogus", &address], 2, "there is no option --bogus");
    check(&["--silence", "x", &address], 2, "\"x\" is no whole number of seconds");
    check(&[&format!("{address}/a?b")], 2, "is no HOST/CHANNEL");

    // The right token is heard with, and kept from the command.
    for shell in SHELLS {
        let token = format!("ALOUD_LISTEN_TOKEN={from_file}");
        let shell = [&["env", &token], shell].concat();
        let hearer = Hearer::start(&shell, Folder::new("hear"), &["--since", "all", &address], "env >heard");
        say(&server, "/say", &[("message", "Hi")]);
        wait_until("the command runs", || hearer.file("heard").contains("ALOUD_MESSAGE=Hi"));
        assert!(!hearer.file("heard").contains("TOKEN"), "{shell:?}");
    }
}

#[test]
fn hear_sh_goes_on_where_it_stopped_and_tells_what_may_be_missing_and_what_failed() {
    for shell in SHELLS {
        let server = Server::start(&[]);
        let address = format!("http://{}/listen/a,b", server.address());
        let start = |folder: Folder, more: &[&str], script: &str| {
            let arguments = [&["--silence", "4", "--state", "place"], more, &[&address]].concat();
            Hearer::start(shell, folder, &arguments, script)
        };
        let text = |target: &str, text: &str| say(&server, target, &[("message", text)]);
        text("/say/a", "one");
        text("/say/c", "elsewhere");
        let script = format!("{NOTE}; [ \"$ALOUD_MESSAGE\" != two ]");
        let mut hearer = start(Folder::new("hear"), &["--since", "all"], &script);
        text("/say/b/c", "two");
        text("/say/a", "three");
        let texts = |heard: &[Vec<String>]| heard.iter().map(|columns| columns[4].clone()).collect::<Vec<_>>();
        assert_eq!(texts(&hearer.wait_for(3)), ["one", "two", "three"], "{shell:?}");
        let id = hearer.heard()[2][0].clone();
        wait_until("it is remembered", || hearer.file("place").starts_with(&id));
        let failed = format!("hear.sh: the command for message {} has failed with 1\n", hearer.heard()[1][0]);
        assert_eq!(hearer.errors(), failed, "{shell:?}");

        // Killed, it runs nothing more, and leaves nothing behind: `drop` waits for that.
        hearer.process.kill().unwrap();
        hearer.process.wait().unwrap();
        text("/say/a", "four");
        let folder = std::mem::replace(&mut hearer.folder, Folder::new("hear"));
        fs::create_dir(hearer.folder.0.join("tmp")).unwrap();
        let mut hearer = start(folder, &["--since", "all"], NOTE);
        assert_eq!(texts(&hearer.wait_for(4)), ["one", "two", "three", "four"], "{shell:?}: its place wins");

        // A place of another server.
        hearer.process.kill().unwrap();
        hearer.process.wait().unwrap();
        let hearer = start(Folder::new("hear"), &["--since", "1700000000000000"], NOTE);
        hearer.wait_for(4);
        let gap = "hear.sh: aloud: messages after 1700000000000000 may be missing; the oldest kept is ";
        assert!(hearer.errors().starts_with(gap), "{shell:?}: {}", hearer.errors());
        let folder = Folder::new("hear");
        fs::write(folder.0.join("place"), "no id\n").unwrap();
        let mut hearer = start(folder, &[], NOTE);
        assert_eq!((hearer.end(), hearer.errors().lines().count()), (Some(1), 1), "{shell:?}: {}", hearer.errors());
    }
}

#[test]
fn hear_sh_lets_a_command_end_and_remembers_it_when_it_is_told_to_end() {
    for shell in SHELLS {
        let server = Server::start(&["--log", "debug"]);
        let address = server.address().to_string();
        let start = |folder: Folder, script: &str| {
            Hearer::start(shell, folder, &["--state", "place", "--silence", "40", &address], script)
        };
        let text = |text: &str| say(&server, "/say", &[("message", text)]);
        let moved = |hearer: &mut Hearer| {
            let code = hearer.end(); // mksh gives a code
            assert!(code.is_none_or(|code| code > 128), "{shell:?} ends by the signal: {code:?}");
            assert_eq!(fs::read_dir(hearer.folder.0.join("tmp")).unwrap().count(), 0, "{shell:?} is tidy");
            let folder = std::mem::replace(&mut hearer.folder, Folder::new("hear"));
            fs::create_dir(hearer.folder.0.join("tmp")).unwrap();
            folder
        };
        let waits = format!("{NOTE}; while ! [ -e go ]; do sleep 0.05; done; [ \"$ALOUD_MESSAGE\" != two ]");
        let listening = || server.log().matches(" listens").count();
        let mut hearer = start(Folder::new("hear"), &waits);
        wait_until("it listens", || listening() == 1);
        text("one");
        hearer.wait_for(1);
        hearer.signal("TERM");
        fs::write(hearer.folder.0.join("go"), "").unwrap();
        // A command that has ended well is not run again; one that has failed at the signal is.
        let mut hearer = start(moved(&mut hearer), &waits);
        wait_until("it listens", || listening() == 2);
        fs::remove_file(hearer.folder.0.join("go")).unwrap();
        text("two");
        hearer.wait_for(2);
        hearer.signal("INT");
        fs::write(hearer.folder.0.join("go"), "").unwrap();
        let mut hearer = start(moved(&mut hearer), NOTE);
        text("three");
        let heard: Vec<_> = hearer.wait_for(4).iter().map(|columns| columns[4].clone()).collect();
        assert_eq!(heard, ["one", "two", "two", "three"], "{shell:?}");
        // It ends while it waits for a message, and while it waits to come back.
        hearer.signal("HUP");
        let mut hearer = start(moved(&mut hearer), NOTE);
        wait_until("it listens", || listening() == 4);
        drop(server);
        wait_until("it has lost the server", || hearer.errors().contains("gives no answer; comes back in 2 s"));
        hearer.signal("TERM");
        moved(&mut hearer);
    }
}

#[test]
fn hear_sh_chooses_by_event_and_status() {
    let server = Server::start(&[]);
    let hearer = Hearer::ready(&["sh"], &server, &["--silence", "4", "--event", "ci,alert", "--status", "bad,warn"]);
    for (event, status) in [("ci", "failed"), ("ci", "passed"), ("alert", "late"), ("message", "bad"), ("ci", "bad")] {
        say(&server, "/say", &[("message", "x"), ("event", event), ("status", status)]);
    }
    let heard: Vec<_> = hearer.wait_for(3).iter().map(|columns| format!("{} {}", columns[1], columns[5])).collect();
    assert_eq!(heard, ["ci failed", "alert late", "ci bad"]);
}

#[test]
fn shellcheck_has_nothing_to_say_about_hear_sh() {
    let output = Command::new("shellcheck").args(["--shell=sh", "scripts/hear.sh"]).output();
    let output = output.expect("shellcheck is installed; else run scripts/install-test-tools.sh");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let help = Command::new("scripts/hear.sh").arg("--help").output().unwrap();
    assert!(help.status.success() && help.stdout.starts_with(b"usage: hear.sh "));
}
