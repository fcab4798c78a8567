use super::*;
use crate::clock;
use crate::room::message::HOST_EVENT;
use crate::room::subscription::Events;
use std::borrow::Cow;
use std::time::Duration;

/// Began at 100.
fn history(most_messages: usize, most_bytes: usize) -> History {
    History::resume(
        most_messages,
        most_bytes,
        Restored { begun: 100, forgotten: 100, last: 100, ..Restored::default() },
    )
}

fn message(id: u64, text: &str) -> Arc<Message> {
    Arc::new(Message {
        id,
        time: id,
        event: Cow::Borrowed("message"),
        channel: if text == "for somebody else" { "elsewhere" } else { "here" }.to_owned(),
        message: text.to_owned(),
        ..Message::default()
    })
}

fn ids(history: &History) -> Vec<u64> {
    replayed(history, Since::OLDEST).1
}

fn on(channel: &str) -> Subscription {
    Subscription { channels: channel.to_owned(), ..Subscription::default() }
}

/// The replay at the time 1000: the gap, as the id asked for and the oldest; and the messages, oldest first.
fn replayed(history: &History, since: Since) -> (Option<(u64, Option<u64>)>, Vec<u64>) {
    let replay = history.replay(since, 1000, &on("here"));
    let ids = replay.messages.iter().rev().map(|message| message.id).collect();
    (replay.gap.map(|gap| (gap.after, gap.oldest)), ids)
}

fn after(id: u64) -> Since {
    Since { point: Point::After(id), most: usize::MAX }
}

#[test]
fn the_oldest_goes_when_the_count_is_reached() {
    let mut history = history(3, usize::MAX);
    (101..=105).for_each(|id| history.keep(message(id, "x")));
    assert_eq!(ids(&history), [103, 104, 105]);
}

#[test]
fn the_oldest_goes_when_the_bytes_are_reached() {
    let one = message(1, &"x".repeat(1000)).weight();
    let mut history = history(100, 3 * one);
    (101..=105).for_each(|id| history.keep(message(id, &"x".repeat(1000))));
    assert_eq!(ids(&history), [103, 104, 105]);
    history.keep(message(106, &"x".repeat(2000)));
    assert_eq!(ids(&history), [105, 106], "a heavy one pushes out two");
    history.keep(message(107, &"x".repeat(4000)));
    assert_eq!(ids(&history), [0u64; 0], "one that is too heavy pushes out all and itself");
    assert_eq!(replayed(&history, after(106)), (Some((106, None)), vec![]));
    assert_eq!(replayed(&history, after(107)), (None, vec![]));
}

#[test]
fn zero_keeps_nothing() {
    let mut history = history(0, 1_000_000);
    history.keep(message(101, "x"));
    assert_eq!(ids(&history), [0u64; 0]);
    assert_eq!(history.bytes, 0);
}

#[test]
fn what_is_superseded_goes_first_and_only_those_are_told_of_a_gap_who_wanted_it() {
    let past = Restored { begun: 100, forgotten: 100, last: 100, ..Restored::default() };
    let mut history = History::resume(4, usize::MAX, past);
    history.passed = Some(VecDeque::new());
    let state = |id: u64| Arc::new(Message { event: "host-state".into(), ..Message::clone(&message(id, "x")) });
    history.keep(message(110, "x"));
    history.keep(state(120));
    history.keep_at(state(130), 130, Some(120));
    history.keep_at(state(140), 140, Some(130));
    assert_eq!(ids(&history), [110, 120, 130, 140], "as long as there is room, all is kept");
    history.keep(message(150, "x"));
    history.keep(message(160, "x"));
    assert_eq!(ids(&history), [110, 140, 150, 160], "the oldest stays");
    let replay = |history: &History, after: u64, event: &str| {
        let point = Since { point: Point::After(after), most: usize::MAX };
        let wants = Subscription { events: Events::Only(vec![event.to_owned()]), ..on("") };
        let replay = history.replay(point, 1000, &wants);
        let ids: Vec<_> = replay.messages.iter().rev().map(|message| message.id).collect();
        (replay.gap.is_some(), ids)
    };
    assert_eq!(replay(&history, 110, "message"), (false, vec![150, 160]));
    assert_eq!(replay(&history, 110, "host-state"), (true, vec![140]));
    assert_eq!(replay(&history, 120, "host-state"), (true, vec![140]));
    assert_eq!(replay(&history, 130, "host-state"), (false, vec![140]), "heard before it went");
    let newest = |most: usize| replayed(&history, Since { most, ..Since::OLDEST });
    assert_eq!(newest(3), (None, vec![140, 150, 160]));
    assert_eq!(newest(4), (Some((110, Some(110))), vec![110, 140, 150, 160]), "it does not have the newest four");
    assert_eq!(newest(5), (Some((100, Some(110))), vec![110, 140, 150, 160]), "there were more");
    history.keep(message(170, "x"));
    assert_eq!((ids(&history), history.take_dropped()), (vec![140, 150, 160, 170], vec![120, 130, 110]));
    history.keep_at(state(180), 180, Some(140));
    assert_eq!((ids(&history), history.take_dropped()), (vec![150, 160, 170, 180], vec![140]));
    history.keep_at(state(190), 190, Some(180));
    history.keep(message(200, "x"));
    assert_eq!((ids(&history), history.take_dropped()), (vec![170, 180, 190, 200], vec![150, 160]));
    assert_eq!(replay(&history, 170, "host-state"), (false, vec![180, 190]), "away for a moment, nothing is missed");
}

#[test]
fn what_is_lost_elsewhere_is_a_gap_here() {
    let mut history = history(10, usize::MAX);
    [200, 210].into_iter().for_each(|id| history.keep(message(id, "x")));
    history.forget(250);
    history.keep(message(260, "x"));
    assert_eq!(replayed(&history, after(210)), (Some((210, Some(260))), vec![260]));
    assert_eq!(replayed(&history, after(250)), (None, vec![260]));
    assert_eq!(history.size(), (1, message(260, "x").weight()));
}

#[test]
fn a_beat_passes_and_who_heard_it_last_has_missed_nothing() {
    let beat = |id: u64| Arc::new(Message { event: Cow::Borrowed(HOST_EVENT), ..Message::clone(&message(id, "")) });
    let messages = vec![beat(200), message(210, "x"), beat(220)];
    let past = Restored { begun: 100, forgotten: 100, last: 230, messages, ..Restored::default() };
    let mut history = History::resume(10, usize::MAX, past);
    assert_eq!(ids(&history), [210]);
    assert_eq!(replayed(&history, after(220)), (None, vec![]));
    assert_eq!(replayed(&history, after(230)), (None, vec![]), "the newest before a restart");
    assert_eq!(replayed(&history, after(231)), (Some((231, Some(210))), vec![210]));
    history.keep(beat(240));
    assert_eq!(replayed(&history, after(240)), (None, vec![]));
    assert_eq!(history.size().0, 1);
}

#[test]
fn it_goes_on_where_a_store_has_stopped() {
    let past = || Restored {
        begun: 100,
        forgotten: 200,
        last: 240,
        messages: (210..=240).step_by(10).map(|id| message(id, "x")).collect(),
        ..Restored::default()
    };
    let history = History::resume(10, usize::MAX, past());
    assert_eq!(replayed(&history, after(200)), (None, vec![210, 220, 230, 240]), "no gap that is none");
    assert_eq!(replayed(&history, after(240)), (None, vec![]));
    assert_eq!(replayed(&history, after(199)), (Some((199, Some(210))), vec![210, 220, 230, 240]));
    let smaller = History::resume(2, usize::MAX, past());
    assert_eq!(replayed(&smaller, after(210)), (Some((210, Some(230))), vec![230, 240]));
    let gone = vec![("here".to_owned(), "message".to_owned(), 220)];
    let told = History::resume(10, usize::MAX, Restored { gone, ..past() });
    assert_eq!(replayed(&told, after(210)).0, Some((210, Some(210))), "as was noted before the restart");
}

#[test]
fn what_is_replayed_and_where_a_gap_is_told() {
    let mut history = history(4, usize::MAX);
    let check = |history: &History, since: Since, gap: Option<(u64, Option<u64>)>, ids: &[u64]| {
        assert_eq!(replayed(history, since), (gap, ids.to_vec()), "{since:?}");
    };
    let ago = |micros: u64| Since { point: Point::Ago(Duration::from_micros(micros)), most: usize::MAX };

    // Nothing was said yet.
    check(&history, Since::OLDEST, None, &[]);
    check(&history, after(99), Some((99, None)), &[]);
    check(&history, after(100), None, &[]);
    check(&history, after(101), Some((101, None)), &[]);
    check(&history, ago(5000), None, &[]);
    check(&history, ago(0), None, &[]);

    // Everything is kept.
    [200, 210, 220].into_iter().for_each(|id| history.keep(message(id, "x")));
    check(&history, Since::OLDEST, None, &[200, 210, 220]);
    check(&history, after(99), Some((99, Some(200))), &[200, 210, 220]);
    check(&history, after(100), None, &[200, 210, 220]);
    check(&history, after(200), None, &[210, 220]);
    check(&history, after(205), None, &[210, 220]);
    check(&history, after(220), None, &[]);
    check(&history, after(221), Some((221, Some(200))), &[200, 210, 220]);
    check(&history, after(u64::MAX), Some((u64::MAX, Some(200))), &[200, 210, 220]);
    check(&history, ago(5000), None, &[200, 210, 220]);
    check(&history, ago(785), None, &[220]);
    check(&history, ago(0), None, &[]);

    // 200 and 210 are let go of.
    [230, 240, 250].into_iter().for_each(|id| history.keep(message(id, "x")));
    check(&history, Since::OLDEST, None, &[220, 230, 240, 250]);
    check(&history, after(200), Some((200, Some(220))), &[220, 230, 240, 250]);
    check(&history, after(210), None, &[220, 230, 240, 250]);
    check(&history, after(240), None, &[250]);
    check(&history, ago(795), Some((205, Some(220))), &[220, 230, 240, 250]);
    check(&history, ago(785), None, &[220, 230, 240, 250]);

    // The newest so many, and only wanted ones.
    history.keep(message(260, "for somebody else"));
    check(&history, Since { most: 2, ..Since::OLDEST }, None, &[240, 250]);
    check(&history, Since { most: 0, ..Since::OLDEST }, None, &[]);
    check(&history, Since { most: 1, ..after(230) }, None, &[250]);
    check(&history, after(200), Some((200, Some(230))), &[230, 240, 250]);
    check(&history, after(250), None, &[]);
}

/// A plausible time, so many minutes later.
fn at(minutes: u64) -> u64 {
    NEVER_SET + 60_000_000 * (1_000_000 + minutes)
}

#[test]
fn what_was_kept_before_is_as_old_as_its_times_tell_and_never_older() {
    // In minutes: the times, 9999 for one of 1970; now; and when each was said.
    let check = |times: &[u64], now: u64, expected: &[u64]| {
        let time = |minutes: u64| if minutes == 9999 { 1_000_000 } else { at(minutes) };
        let messages: Vec<_> = (1..)
            .zip(times)
            .map(|(id, time_of)| Arc::new(Message { time: time(*time_of), ..Message::clone(&message(id, "")) }))
            .collect();
        let said: Vec<_> = expected.iter().map(|minutes| at(*minutes)).collect();
        assert_eq!(moments(&messages, at(now)), said, "{times:?} at {now}");
    };
    check(&[], 100, &[]);
    check(&[10, 20, 20, 30], 100, &[10, 20, 20, 30]);
    check(&[10, 5000, 5001], 100, &[10, 100, 100]); // the clock was ahead, and was set right
    check(&[10, 5000, 30], 100, &[10, 30, 30]);
    check(&[10, 9999, 9999], 100, &[10, 100, 100]); // there was no clock
    check(&[9999, 9999, 20], 100, &[20, 20, 20]);
    check(&[50, 20, 60], 100, &[50, 60, 60]); // one of the two was wrong
    let now_there_is_no_clock = moments(&[message(at(10), "")], 1_000_000);
    assert_eq!(now_there_is_no_clock, [1_000_000]);
}

#[test]
fn a_gap_is_told_where_something_so_young_is_gone_though_its_id_is_old() {
    let mut history = history(1, usize::MAX);
    history.keep_at(message(200, "for somebody else"), 900, None); // an id of another machine's clock
    history.keep_at(message(210, "x"), 950, None);
    let since = |micros: u64| Since { point: Point::Ago(Duration::from_micros(micros)), most: usize::MAX };
    let gap = |since: Since| history.replay(since, 1000, &on("elsewhere")).gap.is_some();
    assert!(gap(since(200)) && !gap(since(60)) && !gap(after(200)));
}

#[test]
fn what_was_said_so_long_ago_is_found_whatever_the_clock_said_then() {
    let said = |id: u64, time: u64| Arc::new(Message { time, ..Message::clone(&message(id, "x")) });
    let check = |history: &History, minutes: u64, now: u64, gap: Option<u64>, expected: &[u64]| {
        let point = Point::Ago(Duration::from_secs(60 * minutes));
        let replay = history.replay(Since { point, most: usize::MAX }, now, &on(""));
        let ids: Vec<_> = replay.messages.iter().rev().map(|message| message.id).collect();
        assert_eq!((replay.gap.map(|gap| gap.after), ids), (gap, expected.to_vec()), "{minutes} minutes ago");
    };
    // Said two years ahead of today's clock, then today; ids go on from where they are.
    let (ahead, now) = (at(1_000_000), at(100));
    clock::set(Some(now));
    let messages = vec![said(ahead, ahead), said(ahead + 1, at(40))];
    let past = Restored { begun: at(0), forgotten: at(0), last: ahead + 1, messages, ..Restored::default() };
    let mut history = History::resume(3, usize::MAX, past);
    history.keep(said(ahead + 2, at(120)));
    check(&history, 10, at(125), None, &[ahead + 2]);
    check(&history, 10, at(131), None, &[]);
    check(&history, 86, at(125), None, &[ahead, ahead + 1, ahead + 2]);

    // The oldest is forgotten; a client that asks for a time before it is told.
    history.keep(said(ahead + 3, at(130)));
    check(&history, 10, at(131), None, &[ahead + 3]);
    check(&history, 90, at(129), Some(at(39)), &[ahead + 1, ahead + 2, ahead + 3]);
    check(&history, 89, at(129), None, &[ahead + 2, ahead + 3]);

    // A store that was begun without a clock and has forgotten something, nobody knows when.
    clock::set(Some(at(0)));
    let past = Restored { begun: 10, forgotten: 20, last: 30, messages: vec![said(30, 30)], ..Restored::default() };
    let history = History::resume(3, usize::MAX, past);
    check(&history, 10, at(5), Some(19), &[30]);
    check(&history, 10, at(10), None, &[]);
    clock::set(None);
}

#[test]
fn an_id_that_was_not_given_here_is_from_before_whatever_the_clock_says_since() {
    let mut history = history(3, usize::MAX);
    history.passed = Some(VecDeque::new());
    let beat = |id: u64| Arc::new(Message { event: Cow::Borrowed(HOST_EVENT), ..Message::clone(&message(id, "")) });
    assert_eq!(replayed(&history, after(100)), (None, vec![]), "it began then");
    [message(200, "x"), beat(205), message(210, "x")].into_iter().for_each(|message| history.keep(message));
    for (id, rest) in [(200, vec![210]), (205, vec![210]), (210, vec![])] {
        assert_eq!(replayed(&history, after(id)), (None, rest), "{id}");
    }
    for id in [99, 101, 201, 206, 211] {
        assert_eq!(replayed(&history, after(id)), (Some((id, Some(200))), vec![200, 210]), "{id}");
    }
    history.keep(message(220, "x"));
    history.keep(message(230, "x"));
    assert_eq!(replayed(&history, after(200)), (None, vec![210, 220, 230]), "it was let go of last");
    (0..MOST_PASSED as u64).for_each(|more| history.keep(beat(1000 + more)));
    assert_eq!(replayed(&history, after(1000)), (None, vec![]));
    assert_eq!(history.passed.as_ref().unwrap().len(), MOST_PASSED, "a bounded number");
}
