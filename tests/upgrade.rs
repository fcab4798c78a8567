//! Promise: a newer aloud opens every store that an older one has left since 0.2, of which `tests/stores` keeps one for each
//! version of its tables, and goes on with it. The store of 0.1 is refused by name, and left as it is.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Folder, Server};

fn start(store: &Path) -> Server {
    Server::start(&["--store", store.to_str().unwrap()])
}

#[test]
fn every_store_that_was_kept_since_0_2_is_opened_and_goes_on() {
    let mut tried = 0;
    for entry in std::fs::read_dir("tests/stores").unwrap() {
        let sample = entry.unwrap().path();
        if sample.extension().is_none_or(|extension| extension != "store") {
            continue;
        }
        let folder = Folder::new("upgrade");
        let store = folder.0.join("store");
        std::fs::write(&store, std::fs::read(&sample).unwrap()).unwrap();
        for time in 0..2 {
            let mut server = start(&store);
            let said = server.curl(&["/said?since=all"]);
            let more = "goes on\r\n".repeat(time);
            let old = "Ann Tea is ready\r\napp has failed\r\nweb1 is up\r\nGrüße & \"more\"\r\n";
            assert_eq!(said, format!("{old}{more}"), "{}", sample.display());
            let first = server.curl(&["/said?since=all&as=json"]);
            assert!(first.contains(r#""fields":{"mood":"good"}"#), "{first}");
            let status = server.curl(&[&server.url("/status")]);
            assert_eq!(status.trim_end(), "bad: app has failed", "{}", sample.display());
            assert!(server.curl(&[&server.url("/hosts")]).contains("web1  up"), "{}", sample.display());
            server.say("goes on");
            server.signal("TERM");
            assert_eq!(server.wait().code(), Some(0));
        }
        tried += 1;
    }
    assert!(tried > 0, "the samples are found");
}

#[test]
fn the_store_of_0_1_is_refused_by_name_and_left_as_it_is() {
    let folder = Folder::new("upgrade-0.1");
    let store = folder.0.join("store");
    let unpacked = Command::new("gzip").args(["-dc", "tests/stores/0.1.store.gz"]).output().unwrap().stdout;
    std::fs::write(&store, &unpacked).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    let output = command.args(["--bind", "127.0.0.1:0", "--store"]).arg(&store).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("store was kept by aloud before 0.2; take what it holds out with that aloud"), "{line}");
    assert!(std::fs::read(&store).unwrap() == unpacked, "not a byte of it has changed");
}
