//! Deliveries become notices by tables: `github.txt`, `gitlab.txt` and `alerts.txt`. A table has sections of rows, with
//! empty lines between them:
//!
//! ```text
//! event release                                      where the facts of this event stand
//!     known        release                           a delivery with this member is one, if no header tells
//!     kind         "release"
//!     object       release                           `.name` is a member of it, `action` is one of the whole
//!     title        .name .tag_name                   the first of these that is known
//!     it           ?.prerelease~true "pre-release"   only if that member contains this text; `?.draft`: if it is there
//!     it           "release"                         if the row above tells nothing
//!     state        action
//!
//! kind release                                       how this kind of notice is said
//!     say          "{by} {does} {it} {ref}[: {title}]"
//!     +published   published released                "published"
//!     ~updated     edited                            "updated"
//! ```
//!
//! A text is filled with facts. A part in brackets is left out if a fact in it is not known. If any other fact is not
//! known, there is no text. A row with a sign is an outcome. The first outcome that lists the word of `state` counts:
//! its name becomes the status, and its text becomes the fact `does`. `+` is said, `~` changes the dashboard only.
//! Without an outcome, an event is ignored. The rows of `any delivery` complete every event. All facts but the
//! [`HELPERS`] become fields of the message. The name of a fact tells how it is read: `ref` is shortened, `url` is a
//! link, and so on.

use std::sync::LazyLock;
use std::time::Duration;

use crate::hook::notice::{Notice, is_over, key_of};
use crate::hook::payload::{self, CUT, Payload, readable};
use crate::hook::sender::Sender;
use crate::hook::template;
use crate::http::form::Pairs;
use crate::room::{Message, message::digest_of};
use crate::text::spoken_in_minutes;

type Table = LazyLock<Vec<Row>>;

static GITHUB: Table = LazyLock::new(|| rows(include_str!("github.txt")));

static GITLAB: Table = LazyLock::new(|| rows(include_str!("gitlab.txt")));

static ALERTS: Table = LazyLock::new(|| rows(include_str!("alerts.txt")));

/// Facts that a notice is made of, and that are no fields of its message.
const HELPERS: &str = "known object state status say it by what thing key once stands quiet page home base branch \
    request file nanoseconds iid commit day zen fingerprint group child";

/// Facts that are numbers.
const NUMBERS: &str = "id iid number request attempt pipeline merge_request commits nanoseconds duration";

/// The fields that come first, in this order.
const FIRST: [&str; 13] =
    ["forge", "kind", "project", "ref", "status", "id", "number", "title", "who", "duration", "seconds", "url", "sha"];

/// Characters shown of a commit's hash; forges show as many.
const SHORT_SHA: usize = 8;

/// How many alerts of a delivery are told one by one.
const MOST_ALERTS: usize = 100;

/// How many failed jobs of a pipeline are named.
const MOST_JOBS: usize = 3;

/// Reads a forge's delivery. The payload or the `header` names its event. If neither does, a member that only one event
/// has tells it.
pub fn forge(sender: Sender, channel: &str, header: &str, payload: Payload<'_>) -> Option<Notice> {
    let table = if sender == Sender::GitLab { &GITLAB } else { &GITHUB };
    let named = [payload.at("object_kind").word(), payload.at("event_name").word(), header];
    let event = match named.into_iter().find(|name| !name.is_empty()) {
        Some(name) => name.replace(' ', "-"),
        None => table.iter().find(|row| row.knows(payload))?.names[0].to_owned(),
    };
    Telling::new(sender, table, &event, payload, payload)?.notice(channel)
}

/// Reads a monitor's delivery: its alerts, those first that are resolved, then how many more there are. Each alert is a
/// thing of its own, which fires until it is resolved.
pub fn alerts(sender: Sender, channel: &str, payload: Payload<'_>) -> Vec<Notice> {
    let tell = |event, object| Telling::new(sender, &ALERTS, event, payload, object)?.notice(channel);
    let alerts = payload.at("alerts").list().take(MOST_ALERTS);
    let mut notices: Vec<_> = alerts.filter_map(|alert| tell("alert", alert)).collect();
    notices.sort_by_key(|notice| notice.message.status == "firing");
    notices.extend(tell("more", payload));
    notices
}

fn is_in(names: &str, name: &str) -> bool {
    names.split(' ').any(|known| known == name)
}

/// A row of a table.
struct Row {
    /// `event`, `kind` or `any`, as the head of its section says.
    sort: &'static str,
    /// The events or kinds that its section is for.
    names: Vec<&'static str>,
    name: &'static str,
    conditions: Vec<&'static str>,
    paths: Vec<&'static str>,
    texts: Vec<&'static str>,
}

fn rows(table: &'static str) -> Vec<Row> {
    let section = |text: &'static str| {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let head = lines.next().unwrap_or_default();
        lines.filter_map(move |line| Row::read(head, line))
    };
    table.split("\n\n").flat_map(section).collect()
}

impl Row {
    fn read(section: &'static str, line: &'static str) -> Option<Row> {
        let (name, rest) = line.trim().split_once(' ')?;
        let words = || rest.split('"').step_by(2).flat_map(str::split_whitespace);
        let conditions = words().filter_map(|word| word.strip_prefix('?')).collect();
        let paths = words().filter(|word| !word.starts_with('?')).collect();
        let texts = rest.split('"').skip(1).step_by(2).collect();
        let mut head = section.split(' ');
        Some(Row { sort: head.next()?, names: head.collect(), name, conditions, paths, texts })
    }

    /// Whether it is for the event or the kind of this `name`.
    fn is_for(&self, sort: &str, name: &str) -> bool {
        self.sort == sort && self.names.contains(&name)
    }

    /// Whether `payload` has a member that only its event has.
    fn knows(&self, payload: Payload<'_>) -> bool {
        let has = |path: &&str| payload.at(path).is_there();
        self.name == "known" && self.conditions.iter().all(has) && self.paths.iter().any(has)
    }

    fn is_outcome(&self) -> bool {
        self.name.starts_with(['+', '~'])
    }
}

/// The reading of one delivery.
struct Telling<'a> {
    sender: Sender,
    event: &'a str,
    whole: Payload<'a>,
    object: Payload<'a>,
    rows: Vec<&'static Row>,
    kind: &'static str,
    outcome: Option<&'static Row>,
}

impl<'a> Telling<'a> {
    fn new(
        sender: Sender,
        table: &'static [Row],
        event: &'a str,
        whole: Payload<'a>,
        object: Payload<'a>,
    ) -> Option<Telling<'a>> {
        let rows = |sort: &'static str, name: &'a str| table.iter().filter(move |row| row.is_for(sort, name));
        let known = rows("event", event).chain(rows("any", "delivery")).collect();
        let mut telling = Telling { sender, event, whole, object, rows: known, kind: "", outcome: None };
        let paths: Vec<_> = telling.named("object").flat_map(|row| &row.paths).collect();
        let mut objects = paths.into_iter().map(|path| whole.at(path));
        telling.object = objects.find(|object| object.0.is_object()).unwrap_or(object);
        telling.kind = telling.constant("kind")?;
        telling.rows.extend(rows("kind", telling.kind));
        if telling.named("state").next().is_some() {
            let word = telling.fact("state")?;
            let mut outcomes = telling.rows.iter().filter(|row| row.is_outcome() && row.paths.contains(&&*word));
            telling.outcome = Some(outcomes.find(|row| telling.applies(row))?);
        }
        Some(telling)
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &'static Row> {
        self.rows.iter().copied().filter(move |row| row.name == name)
    }

    fn at(&self, path: &str) -> Payload<'a> {
        path.strip_prefix('.').map_or_else(|| self.whole.at(path), |path| self.object.at(path))
    }

    fn applies(&self, row: &Row) -> bool {
        row.conditions.iter().all(|condition| match condition.split_once('~') {
            Some((name, text)) => {
                let value = self.fact(name).or_else(|| template::text(self.at(name).0));
                value.is_some_and(|value| value.contains(text))
            }
            None => self.fact(condition).is_some() || self.at(condition).is_there(),
        })
    }

    /// The text of the first row of this name that applies, as it stands in the table.
    fn constant(&self, name: &str) -> Option<&'static str> {
        self.named(name).find(|row| self.applies(row))?.texts.first().copied()
    }

    /// The fact of this name, if it is known.
    fn fact(&self, name: &str) -> Option<String> {
        match name {
            "event" => Some(self.event.to_owned()),
            "kind" => Some(self.kind.to_owned()),
            "sender" => Some(self.sender.name().to_owned()),
            "duration" if !self.outcome?.texts[0].contains("{duration}") => None,
            "does" => self.outcome?.texts.iter().find_map(|text| self.fill(text)),
            "owner" => foreign_owner(&self.fact("base")?, self.fact("home")?),
            "branch_of_status" => branch_of_status(self.whole),
            // Of what was cut, nothing is counted.
            "commits" | "failed_jobs" | "more_alerts" if self.whole.at(CUT).is_there() => None,
            "failed_jobs" => failed_jobs(self.whole),
            "labels" => labels(self.object),
            "more_alerts" => more_alerts(self.whole),
            _ => self.named(name).filter(|row| self.applies(row)).find_map(|row| {
                let read = row.paths.iter().find_map(|path| self.read(name, path));
                read.or_else(|| row.texts.iter().find_map(|text| self.fill(text)))
            }),
        }
    }

    /// The value at `path`, read as a fact of this name.
    fn read(&self, name: &str, path: &str) -> Option<String> {
        let value = self.at(path);
        if is_in(NUMBERS, name) {
            return self.number(name, path).map(|number| number.to_string());
        }
        match name {
            "url" | "page" => value.url(),
            "project" | "home" | "base" if path.ends_with("url") || path.ends_with("page") => path_of(&value.url()?),
            "project" | "home" | "base" => value.text().map(|name| name.replace(" / ", "/")),
            "who" => value.person(),
            "ref" | "branch" => readable(&short_ref(value.word())),
            "sha" => is_hash(value.word()).then(|| value.word().chars().take(SHORT_SHA).collect()),
            "state" => Some(value.word().to_owned()).filter(|word| !["", "completed"].contains(&word.as_str())),
            "reason" => reason(value.word()),
            // Out of `.github/workflows/ci.yml@refs/heads/main`.
            "file" => value.text()?.split('@').next()?.rsplit('/').next().map(str::to_owned),
            "day" => value.text().map(|time| time.chars().take(10).collect()),
            "severity" => value.text().filter(|severity| severity != "none"),
            _ => value.text(),
        }
    }

    /// The number at `path`, read as a fact of this name. A path may name two times with a dash between: the fact is
    /// the seconds between them.
    fn number(&self, name: &str, path: &str) -> Option<u64> {
        let value = self.at(path);
        match (name, path.split_once('-')) {
            ("duration", Some((from, to))) => payload::seconds_between(self.at(from), self.at(to)),
            ("duration", None) => value.seconds(),
            ("commits", _) => value.0.as_u64().or(Some(value.list().len() as u64)).filter(|count| *count > 0),
            ("nanoseconds", _) => Some(value.0.as_u64()? / 1_000_000_000).filter(|seconds| *seconds > 0),
            _ => value.0.as_u64(),
        }
    }

    /// `text` with facts in it.
    fn fill(&self, text: &str) -> Option<String> {
        let fill = |part: &str| template::fill(part, |name| self.spoken(name));
        let parts = text.split(['[', ']']).enumerate();
        // Every second part stands in brackets.
        parts.map(|(place, part)| fill(part).or((place % 2 == 1).then(String::new))).collect()
    }

    /// A fact as it stands in a sentence. A title that only repeats the branch or tag says nothing.
    fn spoken(&self, name: &str) -> Option<String> {
        let fact = self.fact(name)?;
        match name {
            "duration" => Some(spoken_in_minutes(Duration::from_secs(fact.parse().ok()?), 60)),
            "commits" if fact == "1" => Some("1 commit".to_owned()),
            "commits" => Some(fact + " commits"),
            "title" => Some(fact).filter(|title| Some(title) != self.fact("ref").as_ref()),
            _ => Some(fact),
        }
    }

    fn notice(&self, channel: &str) -> Option<Notice> {
        let (sign, status) = match self.outcome {
            Some(row) => row.name.split_at(1),
            None => ("+", self.constant("status")?),
        };
        let quiet = sign == "~" || self.fact("quiet").is_some();
        let stands = self.fact("stands").is_some();
        let key = self.fact("key").filter(|_| stands && !quiet && is_over(status)).map(|key| key_of(&key));
        let message = Message {
            event: self.sender.event().into(),
            channel: channel.to_owned(),
            message: self.fill("[{project}: ]{say}")?,
            status: key.as_ref().map_or("", |_| status).to_owned(),
            key: key.unwrap_or_default(),
            fields: self.fields(status, stands),
            ..Message::default()
        };
        let project = self.fact("project").unwrap_or_default();
        let digest = |thing: String| digest_of(&[self.sender.name(), channel, self.kind, &project, &thing]);
        let state = self.fact("thing").map(|thing| (digest(thing), status));
        Some(Notice { message, state, quiet, ends_once: self.fact("once").is_some() })
    }

    fn fields(&self, status: &str, stands: bool) -> Pairs {
        let mut fields = vec![("status", status.to_owned())];
        for row in self.rows.iter().filter(|row| !row.is_outcome() && !is_in(HELPERS, row.name)) {
            if let Some(fact) = self.fact(row.name)
                && fields.iter().all(|(name, _)| *name != row.name)
            {
                fields.push((row.name, fact));
            }
        }
        fields.extend(self.fact("duration").filter(|_| stands).map(|seconds| ("seconds", seconds)));
        fields.sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
        let fields = fields.into_iter().filter(|(_, fact)| !fact.is_empty());
        fields.map(|(name, fact)| (name.to_owned(), fact)).collect()
    }
}

/// The owner of the project `home`, if it is not the project `base`.
fn foreign_owner(base: &str, home: String) -> Option<String> {
    let owner = home.rsplit_once('/').map_or(&*home, |(owner, _)| owner);
    (home != base).then(|| owner.to_owned())
}

/// The branch of a commit's status: the commit may be part of several.
fn branch_of_status(status: Payload<'_>) -> Option<String> {
    let main = status.at("repository.default_branch").text();
    let names: Vec<_> = status.at("branches").list().filter_map(|branch| branch.at("name").text()).collect();
    names.iter().find(|name| Some(*name) == main.as_ref()).or(names.first()).map(|name| short_ref(name))
}

/// The labels that tell an alert from others of its name. Grafana needs those with a `__` for itself, so they are left
/// out. If that could make it another alert, its fingerprint completes them.
fn labels(alert: Payload<'_>) -> Option<String> {
    let labels = alert.at("labels").members().filter(|(label, _)| *label != "alertname");
    let (hidden, shown): (Vec<_>, Vec<_>) = labels.partition(|(label, _)| label.starts_with("__"));
    let shown = shown.iter().filter_map(|(label, value)| readable(&format!("{label}={value}")));
    let fingerprint = alert.at("fingerprint").text().filter(|_| !hidden.is_empty());
    let labels = shown.chain(fingerprint).collect::<Vec<_>>().join(" ");
    Some(labels).filter(|labels| !labels.is_empty())
}

/// How many alerts of a delivery are not told one by one, if any.
fn more_alerts(delivery: Payload<'_>) -> Option<String> {
    let untold = delivery.at("alerts").list().len().saturating_sub(MOST_ALERTS) as u64;
    let more = delivery.at("truncatedAlerts").0.as_u64().unwrap_or(0).saturating_add(untold);
    (more > 0).then(|| more.to_string())
}

/// The jobs that made a pipeline fail, and why. The first few are named, the rest are counted.
fn failed_jobs(pipeline: Payload<'_>) -> Option<String> {
    let has_failed = |job: &Payload<'_>| job.at("status").word() == "failed" && job.at("allow_failure").0 != true;
    let name = |job: Payload<'_>| {
        let reason = reason(job.at("failure_reason").word()).map(|reason| format!(" ({reason})"));
        Some(job.at("name").text()? + &reason.unwrap_or_default())
    };
    let names: Vec<_> = pipeline.at("builds").list().filter(has_failed).filter_map(name).collect();
    let named = names[..names.len().min(MOST_JOBS)].join(", ");
    match names.len().saturating_sub(MOST_JOBS) {
        0 => Some(named).filter(|named| !named.is_empty()),
        more => Some(format!("{named} and {more} more")),
    }
}

/// The reason of a job's failure, in words.
fn reason(reason: &str) -> Option<String> {
    readable(&reason.replace('_', " ")).filter(|_| reason != "unknown_failure")
}

/// The path of the project to which the page `url` belongs.
fn path_of(url: &str) -> Option<String> {
    let path = url.splitn(4, '/').nth(3)?.split("/-/").next()?;
    Some(path.trim_end_matches(".git").to_owned()).filter(|path| path.contains('/'))
}

/// Whether `sha` is a commit's hash; that of no commit is all zeros.
fn is_hash(sha: &str) -> bool {
    sha.bytes().all(|byte| byte.is_ascii_hexdigit()) && sha.bytes().any(|byte| byte != b'0')
}

/// The short name of a branch, a tag or a request, out of the full name in git.
fn short_ref(reference: &str) -> String {
    let numbered = |prefix: &str, sign: &str| {
        let (number, _) = reference.strip_prefix(prefix)?.split_once('/')?;
        Some(format!("{sign}{number}"))
    };
    let named = ["refs/heads/", "refs/tags/"].iter().find_map(|prefix| reference.strip_prefix(prefix));
    let name = named.map(str::to_owned).or_else(|| numbered("refs/merge-requests/", "!"));
    name.or_else(|| numbered("refs/pull/", "#")).unwrap_or_else(|| reference.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn references_are_named_as_people_do() {
        let check = |reference: &str, expected: &str| assert_eq!(short_ref(reference), expected);
        check("main", "main");
        check("refs/heads/feature/x", "feature/x");
        check("refs/tags/v1", "v1");
        check("refs/merge-requests/12/head", "!12");
        check("refs/pull/12/merge", "#12");
        check("refs/notes/commits", "refs/notes/commits");
        check("refs/pull/12", "refs/pull/12");
    }

    #[test]
    fn a_foreign_project_is_called_by_its_owner() {
        let check = |home: &str, expected: Option<&str>| {
            assert_eq!(foreign_owner("group/app", home.to_owned()).as_deref(), expected);
        };
        check("eve/app", Some("eve"));
        check("group/app", None);
        check("a/b/app", Some("a/b"));
    }

    #[test]
    fn a_push_is_told_by_what_it_does() {
        let zero = "0".repeat(40);
        let check = |changes: Value, expected: &str| {
            let mut push = json!({"ref": "refs/heads/main", "before": "a1", "after": "b2", "sender": {"name": "Ana"}});
            push.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            assert_eq!(forge(Sender::GitHub, "", "push", Payload(&push)).unwrap().message.message, expected);
        };
        check(json!({}), "Ana pushed to main");
        check(json!({"commits": [{"message": "Fix"}]}), "Ana pushed 1 commit to main: Fix");
        check(json!({"commits": [{"message": "main"}]}), "Ana pushed 1 commit to main");
        check(json!({"total_commits": 2, "forced": true}), "Ana force-pushed 2 commits to main");
        check(json!({"forced": true, "sender": null}), "Somebody force-pushed main");
        check(json!({"before": zero, "commits": [{}]}), "Ana pushed new branch main");
        check(json!({"after": zero}), "Ana deleted branch main");
        check(json!({"ref": "refs/tags/v1"}), "Ana moved tag v1");
        check(json!({"ref": "refs/tags/v1", "created": true}), "Ana pushed new tag v1");
        check(json!({"ref": "refs/tags/v1", "deleted": true}), "Ana deleted tag v1");
        assert_eq!(forge(Sender::GitHub, "", "push", Payload(&json!({"after": "b2"}))), None);
    }

    #[test]
    fn a_thing_is_another_one_at_another_forge_on_another_channel_and_in_another_project() {
        let state = |sender: Sender, channel: &str, project: &str, action: &str| {
            let run =
                json!({"workflow_run": {"id": 5, "name": "CI"}, "action": action, "repository": {"name": project}});
            forge(sender, channel, "", Payload(&run)).unwrap().state.unwrap()
        };
        let passed = state(Sender::GitHub, "", "app", "success");
        let again = state(Sender::GitHub, "", "app", "failure");
        assert!(passed.0 == again.0 && [passed.1, again.1] == ["passed", "failed"]);
        for other in [(Sender::Gitea, "", "app"), (Sender::GitHub, "a", "app"), (Sender::GitHub, "", "web")] {
            assert_ne!(state(other.0, other.1, other.2, "success").0, passed.0, "{other:?}");
        }
    }

    /// An unknown name in a table would silently say nothing.
    #[test]
    fn the_tables_name_only_what_there_is() {
        let here =
            ["event", "kind", "sender", "does", "owner", "branch_of_status", "failed_jobs", "labels", "more_alerts"];
        for (table, name) in [(&GITHUB, "github"), (&GITLAB, "gitlab"), (&ALERTS, "alerts")] {
            let names: Vec<_> = table.iter().map(|row| row.name).chain(here).collect();
            for row in table.iter() {
                let what = format!("{name}: {} {:?}", row.name, row.texts);
                assert!(!row.paths.is_empty() || !row.texts.is_empty(), "{what}");
                assert!(!row.is_outcome() || (!row.paths.is_empty() && !row.texts.is_empty()), "{what}");
                assert!(row.is_outcome() || crate::names::is_plain_name(row.name), "{what}");
                for text in &row.texts {
                    assert_eq!(text.matches('[').count(), text.matches(']').count(), "{what}");
                    template::fill(text, |fact| {
                        assert!(names.contains(&fact), "{what}: {fact}");
                        Some(String::new())
                    });
                }
            }
            for section in table.chunk_by(|one, next| (one.sort, &one.names) == (next.sort, &next.names)) {
                let Row { sort, names, .. } = &section[0];
                assert!(["any", "event", "kind"].contains(sort) && !names.is_empty(), "{name}: {sort}");
                let kinds = section.iter().filter(|row| row.name == "kind").flat_map(|row| &row.texts);
                for kind in kinds {
                    let is_said = section.iter().any(|row| row.name == "say");
                    let said = table.iter().any(|row| row.is_for("kind", kind));
                    assert!(said || is_said, "{name}: {kind}");
                }
                let fields = section.iter().filter(|row| !is_in(HELPERS, row.name)).count();
                assert!(fields + 5 <= crate::config::FIELDS_LIMIT || *sort == "kind", "{name} {fields}");
            }
        }
    }
}
