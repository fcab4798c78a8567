//! Promise: `/` is a dashboard in a browser and help in a terminal. The page is small, asks nobody else, takes no
//! markup from anybody, and shows what happens as it happens: people, pipelines, hosts. Proved in Chromium, by the
//! scenarios of `tests/dashboard`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Folder, Server};

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// Plays a scenario in Chromium, with a new server.
fn play(scenario: &str) {
    play_in("chromium", scenario);
}

/// Plays a scenario in a browser, with a new server.
fn play_in(browser: &str, scenario: &str) {
    let server = Server::start(&[]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dashboard");
    for needed in ["/usr/bin/chromium", "/usr/bin/firefox-esr", "../readers/node_modules/axe-core"] {
        assert!(folder.join(needed).exists(), "{needed} is missing; run scripts/install-test-tools.sh");
    }
    let temporary = Folder::new("dashboard"); // for the browser, which leaves folders there
    let output = Command::new("node")
        .env("TMPDIR", &temporary.0)
        .args(["scenarios.mjs", scenario, &server.url(""), env!("CARGO_BIN_EXE_aloud"), browser])
        .current_dir(&folder)
        .output()
        .expect("node is installed; else run scripts/install-test-tools.sh");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    print!("{}", text(&output.stdout));
}

#[test]
fn what_is_said_by_curl_is_on_the_page_and_the_other_way_round() {
    play("talk");
}

#[test]
fn what_was_said_before_is_on_the_page_when_it_opens() {
    play("history");
}

#[test]
fn a_host_is_up_then_late_then_down_then_up_again() {
    play("hosts");
}

#[test]
fn a_pipeline_is_one_row_that_changes() {
    play("pipelines");
}

#[test]
fn nothing_that_is_said_is_more_than_text() {
    play("hostile");
}

#[test]
fn ten_thousand_messages_and_five_hundred_hosts_are_a_window_of_elements() {
    play("crowd");
}

#[test]
fn a_lost_connection_is_shown_and_comes_back_by_itself() {
    play("connection");
}

#[test]
fn a_cookie_that_another_page_has_set_locks_nobody_out() {
    play("cookie");
}

#[test]
fn a_token_is_asked_for_once() {
    play("token");
}

#[test]
fn the_pure_parts_of_the_page_keep_their_promises() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dashboard");
    let output = Command::new("node").args(["--test", "unit.test.mjs"]).current_dir(&folder).output();
    let output = output.expect("node is installed; else run scripts/install-test-tools.sh");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_server_that_is_frozen_killed_or_takes_the_token_no_more_is_said_to_be_so() {
    play("truth");
}

#[test]
fn firefox_says_so_too() {
    play_in("firefox", "truth");
}

#[test]
fn in_firefox_a_second_page_and_one_that_missed_nothing_are_live_too() {
    play_in("firefox", "hosts");
    play_in("firefox", "acknowledged");
}

#[test]
fn a_row_that_is_acknowledged_is_out_of_the_headline_until_it_changes() {
    play("acknowledged");
}

#[test]
fn a_row_opens_and_what_was_heard_survives_a_reload() {
    play("opened");
}

#[test]
fn what_turns_bad_is_told() {
    play("told");
}

#[test]
fn a_hidden_page_is_told_nothing_but_what_its_title_needs_and_catches_up() {
    play("hidden");
}

#[test]
fn while_every_page_is_hidden_no_stream_stays_open_and_the_title_is_true() {
    play("resting");
}

#[test]
fn on_a_wall_the_lists_go_on_by_themselves() {
    play("wall");
}

#[test]
fn enter_twice_says_once_and_what_is_new_is_counted() {
    play("manners");
}

#[test]
fn commands_work_behind_a_proxy_and_a_page_is_loaded_anew_after_an_update() {
    play("proxies");
}

#[test]
fn what_failed_before_anybody_looked_is_in_the_headline_whatever_is_filtered() {
    play("standing");
}

#[test]
fn a_number_said_by_curl_is_a_plot() {
    play("numbers");
}

#[test]
fn every_theme_size_and_area_is_accessible() {
    play("accessible");
}

#[test]
fn a_browser_gets_the_page_and_curl_gets_help() {
    let server = Server::start(&[]);
    let page = server.request("GET", "/", &[BROWSER], b"");
    assert_eq!((page.status, page.header("Content-Type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.body.starts_with("<!doctype html>"), "{}", page.body);
    let help = server.request("GET", "/", &["Accept: */*"], b"");
    assert_eq!(help.header("Content-Type"), Some("text/plain; charset=utf-8"));
    for answer in [&page, &help] {
        assert_eq!(answer.header("Vary"), Some("Accept"), "a cache keeps them apart");
    }
    assert_eq!(server.request("POST", "/", &[BROWSER], b"x").status, 405);
}

#[test]
fn the_whole_page_is_at_most_twenty_kilobytes_as_gzip_packs_it() {
    let server = Server::start(&[]);
    let packed = |target: &str| {
        let file = server.request("GET", target, &[BROWSER], b"").body;
        let mut gzip = Command::new("gzip").arg("-9c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = gzip.stdin.take().unwrap();
        std::thread::spawn(move || input.write_all(file.as_bytes()));
        gzip.wait_with_output().unwrap().stdout.len()
    };
    let sizes = ["/", "/page/aloud.css", "/page/aloud.js"].map(packed);
    assert!(sizes.iter().sum::<usize>() <= 20_000, "{sizes:?}");
}

#[test]
fn the_page_and_its_files_are_locked_down_and_asked_for_once() {
    let server = Server::start(&[]);
    let check = |target: &str, content_type: &str| {
        let file = server.request("GET", target, &[BROWSER], b"");
        assert_eq!((file.status, file.header("Content-Type")), (200, Some(content_type)), "{target}");
        let policy = file.header("Content-Security-Policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe") && policy.contains("require-trusted-types-for 'script'"), "{policy}");
        assert_eq!(file.header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(file.header("Referrer-Policy"), Some("no-referrer"));

        let tag = file.header("ETag").unwrap();
        let again = server.request("GET", target, &[BROWSER, &format!("If-None-Match: {tag}")], b"");
        assert_eq!((again.status, again.header("ETag"), again.body.as_str()), (304, Some(tag), ""), "{target}");
        let changed = server.request("GET", target, &[BROWSER, "If-None-Match: \"other\""], b"");
        assert_eq!((changed.status, changed.body), (200, file.body.clone()));
        let head = server.request("HEAD", target, &[BROWSER], b"");
        assert_eq!(head.header("Content-Length"), Some(file.body.len().to_string().as_str()));
    };
    check("/", "text/html; charset=utf-8");
    check("/page/aloud.css", "text/css; charset=utf-8");
    check("/page/aloud.js", "text/javascript; charset=utf-8");
    for other in ["/page", "/page/", "/page/index.html", "/page/../Cargo.toml", "/page/text.js", "/page/icon.svg"] {
        assert_eq!(server.request("GET", other, &[BROWSER], b"").status, 404, "{other}");
    }
}
