//! A notice: one sentence for people, and its facts in fields for the dashboard. Every forge's notices have these field
//! names.

use std::borrow::Cow;
use std::time::Duration;

use crate::hook::sender::Sender;
use crate::room::message::{Message, digest_of};
use crate::text::spoken_in_minutes;

/// The kinds of notices, in the field `kind`.
pub mod kind {
    /// GitLab's pipeline, or a workflow run of the other forges.
    pub const PIPELINE: &str = "pipeline";
    /// A job of a pipeline.
    pub const JOB: &str = "job";
    /// Commits, or a branch that comes or goes.
    pub const PUSH: &str = "push";
    /// A tag that comes or goes.
    pub const TAG: &str = "tag";
    /// GitLab's merge request, or a pull request of the other forges.
    pub const MERGE_REQUEST: &str = "merge_request";
    /// An issue, or a comment.
    pub const ISSUE: &str = "issue";
    /// A feature flag.
    pub const FEATURE_FLAG: &str = "feature_flag";
    /// A token that expires.
    pub const TOKEN: &str = "token";
    /// A vulnerability.
    pub const VULNERABILITY: &str = "vulnerability";
    /// A deployment to an environment.
    pub const DEPLOYMENT: &str = "deployment";
    /// A release.
    pub const RELEASE: &str = "release";
    /// A monitor's alert.
    pub const ALERT: &str = "alert";
    /// A hook that was just set up.
    pub const PING: &str = "ping";
}

/// The states of a pipeline, a job or a deployment, in the field `status`; all forges share these words.
pub mod status {
    /// It has not begun.
    pub const QUEUED: &str = "queued";
    /// It waits for somebody to act.
    pub const WAITING: &str = "waiting";
    /// It runs.
    pub const RUNNING: &str = "running";
    /// It has ended well.
    pub const PASSED: &str = "passed";
    /// It has ended badly.
    pub const FAILED: &str = "failed";
    /// It was stopped.
    pub const CANCELED: &str = "canceled";
    /// It was not needed.
    pub const SKIPPED: &str = "skipped";

    /// Whether `status` says that the thing has ended.
    pub fn is_over(status: &str) -> bool {
        [PASSED, FAILED, CANCELED, SKIPPED].contains(&status)
    }
}

/// How a running thing stands: the common word, and the forge's word in a sentence.
#[derive(Debug, Clone, Copy)]
pub struct RunState {
    /// One of [`status`].
    pub status: &'static str,
    /// The end of the sentence `Pipeline #5 ...`.
    pub verb: &'static str,
}

/// The content of a delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notice {
    /// One of [`kind`].
    pub kind: &'static str,
    /// One of [`status`], or another word for the event: pushed, created, deleted, opened, closed, merged and so on.
    pub status: &'static str,
    /// The sentence, without the project.
    pub sentence: String,
    /// It changes the dashboard, but is not worth a line.
    pub quiet: bool,
    /// The thing that has this status, unique within the forge: an equal status again is no news. `None`: every notice
    /// is news.
    pub thing: Option<String>,
    /// Once this thing has ended, a state that is no end is late and is ignored.
    pub ends_once: bool,
    /// How it ends is how its branch stands, until the next one ends.
    pub stands: bool,
    /// The name of the thing on which this is the newest word, if its branch does not name it.
    pub key: Option<String>,
    /// `group/app`.
    pub project: Option<String>,
    /// The branch or tag.
    pub reference: Option<String>,
    /// The person who caused it.
    pub who: Option<String>,
    /// Its id within the forge.
    pub id: Option<u64>,
    /// The number people know it by.
    pub number: Option<u64>,
    /// Its title.
    pub title: Option<String>,
    /// How long it has run, in seconds.
    pub duration: Option<u64>,
    /// A link to its page.
    pub url: Option<String>,
    /// The commit.
    pub sha: Option<String>,
    /// Further fields, by plain names.
    pub more: Vec<(&'static str, Option<String>)>,
}

/// Characters shown of a commit's hash; forges show as many.
pub const SHORT_SHA: usize = 8;

impl Notice {
    /// The line that is heard: the project, then the sentence.
    pub fn line(&self) -> String {
        match &self.project {
            Some(project) => format!("{project}: {}", self.sentence),
            None => self.sentence.clone(),
        }
    }

    /// The message that is published. The whole line is the message and the name is empty, so that every format shows
    /// one text.
    pub fn into_message(self, sender: Sender, event: &'static str, channel: &str) -> Message {
        let key = self.key().filter(|_| event == sender.event()).unwrap_or_default();
        let status = if key.is_empty() { String::new() } else { self.status.to_owned() };
        let message = self.line();
        let (event, channel) = (Cow::Borrowed(event), channel.to_owned());
        Message { event, channel, message, key, status, fields: self.fields(sender), ..Message::default() }
    }

    /// The name of the thing on which this is the newest word. Of a run that is so when it ends, and project, branch,
    /// workflow and job name it.
    fn key(&self) -> Option<String> {
        if self.key.is_some() {
            return self.key.clone();
        }
        if !self.stands || self.quiet || !status::is_over(self.status) {
            return None;
        }
        let more = ["workflow", "job"].map(|name| self.more.iter().find(|(key, _)| *key == name)?.1.as_deref());
        Some(key_of(
            [self.project.as_deref()?, self.reference.as_deref()?].into_iter().chain(more.into_iter().flatten()),
        ))
    }

    fn fields(self, sender: Sender) -> Vec<(String, String)> {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let seconds = number(self.duration.filter(|_| self.stands));
        let is_hash = |sha: &String| !sha.is_empty() && sha.bytes().all(|byte| byte.is_ascii_hexdigit());
        let short = |sha: String| sha.chars().take(SHORT_SHA).collect();
        let fields = [
            ("forge", sender.is_forge().then(|| sender.name().to_owned())),
            ("kind", Some(self.kind.to_owned())),
            ("project", self.project),
            ("ref", self.reference),
            ("status", Some(self.status.to_owned()).filter(|status| !status.is_empty())),
            ("id", number(self.id)),
            ("number", number(self.number)),
            ("title", self.title),
            ("who", self.who),
            ("duration", number(self.duration)),
            ("seconds", seconds),
            ("url", self.url),
            ("sha", self.sha.filter(is_hash).map(short)),
        ];
        fields.into_iter().chain(self.more).filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }

    /// Makes this the notice of a thing that runs: sets its status, and the sentence `SUBJECT of REFERENCE by WHO VERB
    /// in DURATION`, leaving out unknown parts.
    pub fn of_a_run(mut self, subject: &str, standing: RunState) -> Notice {
        if !status::is_over(standing.status) || standing.status == status::SKIPPED {
            self.duration = None;
        }
        let mut sentence = subject.to_owned();
        let duration = self.duration.map(|seconds| spoken_in_minutes(Duration::from_secs(seconds), 60));
        let parts = [
            (" of ", &self.reference),
            (" by ", &self.who),
            (" ", &Some(standing.verb.to_owned())),
            (" in ", &duration),
        ];
        for (before, part) in parts {
            if let Some(part) = part {
                sentence.extend([before, part]);
            }
        }
        let waits = standing.status == status::QUEUED;
        // A pipeline that fails early skips all its later jobs, and its manual jobs wait from the start.
        let is_no_news = self.kind == kind::JOB && [status::SKIPPED, status::WAITING].contains(&standing.status);
        self.quiet = waits || is_no_news;
        self.status = standing.status;
        self.sentence = sentence;
        self
    }
}

/// The longest key, in characters.
const KEY_LIMIT: usize = 128;

/// The key of a thing: its `names`, joined. Of one that is too long the end is cut, and what tells it from all others
/// is appended.
pub fn key_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let key = names.filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" ");
    if key.chars().count() <= KEY_LIMIT {
        return key;
    }
    let digest = digest_of(&[key.as_bytes()]).iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>();
    key.chars().take(KEY_LIMIT - 14).chain("… ".chars()).chain(digest.chars()).collect()
}

/// The short name of a branch, a tag or a request, out of the full name in git.
pub fn short_ref(reference: &str) -> String {
    let numbered = |rest: &str, sign: &str| rest.split_once('/').map(|(number, _)| format!("{sign}{number}"));
    if let Some(name) = reference.strip_prefix("refs/heads/").or_else(|| reference.strip_prefix("refs/tags/")) {
        return name.to_owned();
    }
    let merge = reference.strip_prefix("refs/merge-requests/").and_then(|rest| numbered(rest, "!"));
    let pull = || reference.strip_prefix("refs/pull/").and_then(|rest| numbered(rest, "#"));
    merge.or_else(pull).unwrap_or_else(|| reference.to_owned())
}

/// A `branch`, called as beside those of `project`: with its owner if it is one of another project, `home`.
pub fn beside(project: Option<String>, home: Option<String>, branch: &str) -> String {
    let foreign = home.filter(|home| project.is_some_and(|project| project != *home));
    let owner = foreign.as_deref().map(|home| home.rsplit_once('/').map_or(home, |(owner, _)| owner));
    around("", owner, ":") + &short_ref(branch)
}

/// `text` between `before` and `after`; empty if there is no text.
pub fn around(before: &str, text: Option<&str>, after: &str) -> String {
    text.map_or_else(String::new, |text| [before, text, after].concat())
}

#[cfg(test)]
mod tests {
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
    fn a_key_is_readable_and_one_that_is_too_long_is_still_one_things_own() {
        let key = |names: &[&str]| key_of(names.iter().copied());
        assert_eq!(key(&["group/app", "", "main", "CI"]), "group/app main CI");
        let long = "ä".repeat(127);
        assert_eq!(key(&[&long]), long);
        let (one, other) = (key(&[&long, "1"]), key(&[&long, "2"]));
        assert!(one != other && one.chars().count() == 128 && one.contains('…'), "{one} {other}");
    }

    #[test]
    fn a_foreign_branch_is_called_by_its_owner() {
        let check = |home: Option<&str>, expected: &str| {
            assert_eq!(beside(Some("group/app".to_owned()), home.map(str::to_owned), "refs/heads/main"), expected);
        };
        check(Some("eve/app"), "eve:main");
        check(Some("group/app"), "main");
        check(Some("a/b/app"), "a/b:main");
        check(None, "main");
    }

    #[test]
    fn a_notice_has_no_more_fields_than_a_message_may() {
        let text = || Some("x".to_owned());
        let notice = Notice {
            project: text(),
            reference: text(),
            who: text(),
            title: text(),
            url: text(),
            sha: text(),
            id: Some(1),
            number: Some(1),
            duration: Some(1),
            stands: true,
            more: vec![("environment", text()); 8],
            ..Notice::default()
        };
        let fields = notice.fields(Sender::GitLab);
        assert!(fields.len() <= crate::config::FIELDS_LIMIT);
        assert!(fields.iter().all(|(key, _)| crate::names::is_plain_name(key)));
    }
}
