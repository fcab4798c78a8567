//! Sentences about branches, tags, and requests to merge. They read alike for every forge.

use crate::hook::notice::{Notice, around, kind, short_ref};

/// The prefix of a tag's full name.
const TAGS: &str = "refs/tags/";

/// Stands for a person whom the delivery does not name.
const SOMEBODY: &str = "Somebody";

/// A push: a branch or tag that comes, moves or goes.
#[derive(Default)]
pub struct Push<'a> {
    /// The full name, such as `refs/heads/main`.
    pub reference: &'a str,
    /// The commit before; zeros if there was none.
    pub before: &'a str,
    /// The commit after; zeros if there is none.
    pub after: &'a str,
    /// The forge says that the branch or tag is new.
    pub created: bool,
    /// The forge says that the branch or tag is gone.
    pub deleted: bool,
    /// The commit before is no longer part of the branch.
    pub forced: bool,
    /// The number of commits that came.
    pub commits: u64,
    /// The first line of the newest commit.
    pub title: Option<String>,
}

impl Push<'_> {
    /// Completes `notice` for this push; `None` without a branch or tag.
    pub fn notice(self, notice: Notice) -> Option<Notice> {
        if self.reference.is_empty() {
            return None;
        }
        let name = crate::hook::payload::readable(&short_ref(self.reference))?;
        let is_tag = self.reference.starts_with(TAGS);
        let what = if is_tag { "tag" } else { "branch" };
        let who = notice.who.as_deref().unwrap_or(SOMEBODY);
        let (status, sentence) = if self.deleted || is_zero(self.after) {
            ("deleted", format!("{who} deleted {what} {name}"))
        } else if self.created || is_zero(self.before) {
            ("created", format!("{who} pushed new {what} {name}"))
        } else if is_tag {
            ("pushed", format!("{who} moved tag {name}"))
        } else {
            let verb = if self.forced { "force-pushed" } else { "pushed" };
            let count = match self.commits {
                0 => String::new(),
                1 => "1 commit ".to_owned(),
                count => format!("{count} commits "),
            };
            let to = if self.forced && self.commits == 0 { "" } else { "to " };
            ("pushed", format!("{who} {verb} {count}{to}{name}{}", around(": ", self.title.as_deref(), "")))
        };
        Some(Notice {
            kind: if is_tag { kind::TAG } else { kind::PUSH },
            status,
            sentence,
            // Some forges tell of a new branch or tag twice: once as a push, once as a creation.
            thing: (status != "pushed").then(|| format!("{what} {}", short_ref(self.reference))),
            reference: Some(name),
            title: self.title,
            sha: Some(self.after.to_owned()).filter(|sha| !sha.is_empty() && !is_zero(sha)),
            more: vec![("commits", (self.commits > 0).then(|| self.commits.to_string()))],
            ..notice
        })
    }
}

/// The hash that stands for no commit.
fn is_zero(sha: &str) -> bool {
    !sha.is_empty() && sha.bytes().all(|byte| byte == b'0')
}

/// A merge request or pull request, and the action on it.
pub struct Request {
    /// The forge's word for it: `merge request !`, `pull request #`.
    pub called: &'static str,
    /// The verb of the action, before the request.
    pub verb: &'static str,
    /// The rest of the verb, after the request.
    pub particle: &'static str,
    /// The request is not meant to be merged yet.
    pub draft: bool,
    /// The branch to merge into.
    pub target: Option<String>,
}

impl Request {
    /// Completes `notice`, which has the request's number, title and branch; `None` if the request has no number.
    pub fn notice(self, notice: Notice) -> Option<Notice> {
        let number = notice.number?;
        let who = notice.who.as_deref().unwrap_or(SOMEBODY);
        // GitLab's drafts say so in their title.
        let says_so = notice.title.as_deref().is_some_and(|title| title.starts_with("Draft:"));
        let draft = if self.draft && !says_so { "draft " } else { "" };
        let branches = match (&notice.reference, &self.target) {
            (Some(from), Some(into)) => format!(" ({from} into {into})"),
            _ => String::new(),
        };
        let title = around(": ", notice.title.as_deref(), "");
        let (verb, called, particle) = (self.verb, self.called, self.particle);
        Some(Notice {
            kind: kind::MERGE_REQUEST,
            sentence: format!("{who} {verb} {draft}{called}{number}{particle}{title}{branches}"),
            more: vec![("target", self.target)],
            ..notice
        })
    }
}

/// Completes `notice`, which has a number and a title, for an `action` on an issue, or for a comment on one or on a
/// request: `called` is the forge's word for it. It is for those who ask for it.
pub fn issue(called: &'static str, action: &str, notice: Notice) -> Option<Notice> {
    let (status, verb) = match action {
        "open" | "opened" => ("opened", "opened"),
        "reopen" | "reopened" => ("opened", "reopened"),
        "close" | "closed" => ("closed", "closed"),
        "create" | "created" => ("commented", "commented on"),
        _ => return None,
    };
    let notice = Request { called, verb, particle: "", draft: false, target: None }.notice(notice)?;
    Some(Notice { kind: kind::ISSUE, status, quiet: true, ..notice })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_told_by_what_it_does() {
        let zero = "0000000000000000000000000000000000000000";
        let check = |push: Push<'_>, expected: &str| {
            let who = Some("Ana".to_owned());
            assert_eq!(push.notice(Notice { who, ..Notice::default() }).unwrap().sentence, expected);
        };
        let main = || Push { reference: "refs/heads/main", before: "a1", after: "b2", ..Push::default() };
        check(main(), "Ana pushed to main");
        check(Push { commits: 1, title: Some("Fix".to_owned()), ..main() }, "Ana pushed 1 commit to main: Fix");
        check(Push { commits: 2, forced: true, ..main() }, "Ana force-pushed 2 commits to main");
        check(Push { forced: true, ..main() }, "Ana force-pushed main");
        check(Push { before: zero, commits: 3, ..main() }, "Ana pushed new branch main");
        check(Push { after: zero, ..main() }, "Ana deleted branch main");
        let tag = || Push { reference: "refs/tags/v1", ..main() };
        check(tag(), "Ana moved tag v1");
        check(Push { created: true, ..tag() }, "Ana pushed new tag v1");
        check(Push { deleted: true, ..tag() }, "Ana deleted tag v1");
        assert_eq!(Push::default().notice(Notice::default()), None);
    }
}
