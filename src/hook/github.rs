//! GitHub's deliveries, as its page "Webhook events and payloads" documents them. Gitea copies them, so this code reads
//! Gitea's too.

use crate::hook::notice::{Notice, RunState, SHORT_SHA, around, beside, kind, short_ref, status};
use crate::hook::payload::Payload;
use crate::hook::push::{self, Push, Request};

/// Reads a delivery. `event` is the header; if it is empty, a member that only one kind of payload has tells the event.
pub fn read(event: &str, payload: Payload<'_>) -> Option<Notice> {
    let event = if event.is_empty() { guess(payload)? } else { event };
    let notice = match event {
        "workflow_run" => workflow_run(payload),
        "workflow_job" => workflow_job(payload),
        "push" => push(payload),
        "create" | "delete" => branch_or_tag(payload, event == "delete"),
        "check_run" | "check_suite" => check(payload, payload.at(&format!("/{event}"))),
        "status" => check(payload, payload),
        "pull_request" => pull_request(payload, payload.word("/action")),
        // Gitea names the kind of a review in its event, or in the review.
        "pull_request_review" | "pull_request_approved" | "pull_request_rejected" | "pull_request_comment" => {
            let words = match payload.word("/action") {
                "submitted" | "reviewed" => [payload.word("/review/state"), payload.word("/review/type"), event],
                "dismissed" => ["dismissed"; 3],
                _ => return None,
            };
            let word = words.into_iter().find(|word| !word.is_empty())?;
            pull_request(payload, word.trim_start_matches("pull_request_").trim_start_matches("review_"))
        }
        "issues" | "issue_comment" => issue(payload),
        "deployment_status" => deployment_status(payload),
        "release" => release(payload),
        "ping" => ping(payload),
        _ => None,
    }?;
    let in_queue = notice.reference.as_ref().is_some_and(|name| name.starts_with(MERGE_QUEUE));
    Some(Notice { quiet: notice.quiet || in_queue, ..notice })
}

/// Begins the branches on which GitHub tries what is about to be merged.
const MERGE_QUEUE: &str = "gh-readonly-queue/";

/// The event of a delivery that comes without its headers, such as a recorded one.
fn guess(payload: Payload<'_>) -> Option<&'static str> {
    // A deployment's status may hold the run that deploys, and a run its pull request: the more special comes first.
    let objects = ["deployment_status", "workflow_job", "workflow_run", "check_run", "check_suite", "release"];
    let by_object = objects.into_iter().chain(["review", "pull_request", "issue"]);
    if let Some(event) = by_object.into_iter().find(|event| payload.has(&format!("/{event}"))) {
        let renamed = [("review", "pull_request_review"), ("issue", "issues")];
        return Some(renamed.into_iter().find(|(object, _)| *object == event).map_or(event, |(_, event)| event));
    }
    match payload {
        _ if !payload.word("/context").is_empty() => Some("status"),
        _ if !payload.word("/zen").is_empty() => Some("ping"),
        _ if !payload.word("/after").is_empty() => Some("push"),
        _ if payload.word("/ref_type").is_empty() => None,
        // A creation names the default branch; in Gitea it names the commit.
        _ if !payload.word("/master_branch").is_empty() || !payload.word("/sha").is_empty() => Some("create"),
        _ => Some("delete"),
    }
}

/// The part of a notice that every kind has.
pub fn base(payload: Payload<'_>) -> Notice {
    Notice {
        project: payload.text(["/repository/full_name", "/repository/name", "/organization/login"]),
        who: payload.person(["/sender"]),
        ..Notice::default()
    }
}

/// How a run or a job stands. `state` is its conclusion if it has one, else its status.
pub fn standing(state: &str) -> Option<RunState> {
    let (status, verb) = match state {
        "queued" | "requested" | "pending" => (status::QUEUED, "is queued"),
        "blocked" => (status::QUEUED, "is blocked"),
        "waiting" => (status::WAITING, "is waiting for approval"),
        "action_required" => (status::WAITING, "requires action"),
        "in_progress" | "running" => (status::RUNNING, "is in progress"),
        "success" => (status::PASSED, "has succeeded"),
        "neutral" => (status::PASSED, "has ended as neutral"),
        "failure" | "error" => (status::FAILED, "has failed"),
        "timed_out" => (status::FAILED, "has timed out"),
        "startup_failure" => (status::FAILED, "has failed to start"),
        "cancelled" | "canceled" => (status::CANCELED, "has been cancelled"),
        "stale" => (status::CANCELED, "has gone stale"),
        "skipped" => (status::SKIPPED, "has been skipped"),
        _ => return None,
    };
    Some(RunState { status, verb })
}

/// The state of a run or job: its conclusion, its status, or what has just happened to it.
fn state<'a>(payload: Payload<'a>, run: Payload<'a>) -> &'a str {
    let words = [run.word("/conclusion"), run.word("/status"), payload.word("/action")];
    words.into_iter().find(|word| !word.is_empty() && *word != "completed").unwrap_or("")
}

/// A thing that is run again under the same id, as another attempt.
fn attempt(run: Payload<'_>, id: Option<u64>) -> Option<String> {
    Some(format!("{}.{}", id?, run.number(["/run_attempt"]).unwrap_or(0)))
}

fn workflow_run(payload: Payload<'_>) -> Option<Notice> {
    let run = payload.at("/workflow_run");
    let state = state(payload, run);
    let standing = standing(state)?;
    let id = run.number(["/id"]);
    let number = run.number(["/run_number"]);
    let file = run.text(["/path"]).map(|path| file_name(&path));
    let workflow = run.text(["/name"]).or_else(|| payload.text(["/workflow/name"])).or(file);
    let called = around(" #", number.map(|number| number.to_string()).as_deref(), "");
    let subject = format!("Workflow{}{called}", around(" ", workflow.as_deref(), ""));
    let notice = base(payload);
    let notice = Notice {
        kind: kind::PIPELINE,
        thing: attempt(run, id),
        stands: true,
        ends_once: run.number(["/run_attempt"]).is_some(),
        id,
        number,
        title: run.text(["/display_title", "/head_commit/message"]),
        reference: reference(payload, run),
        who: run.person(["/triggering_actor", "/trigger_actor", "/actor"]).or(notice.who),
        duration: run
            .seconds_between("/started_at", "/completed_at")
            .or_else(|| run.seconds_between("/run_started_at", "/updated_at"))
            .or_else(|| run.seconds_between("/created_at", "/updated_at"))
            .filter(|_| !matches!(state, "startup_failure" | "stale")), // it has not run
        url: run.url(["/html_url"]),
        sha: run.text(["/head_sha"]),
        more: vec![
            ("workflow", workflow),
            ("source", run.text(["/event"])),
            ("attempt", run.number(["/run_attempt"]).map(|attempt| attempt.to_string())),
        ],
        ..notice
    };
    Some(notice.of_a_run(&subject, standing))
}

/// The branch of a run. A pull request's or a fork's run is none of our own branch of that name.
fn reference(payload: Payload<'_>, run: Payload<'_>) -> Option<String> {
    let branch = short_ref(&run.text(["/head_branch"])?);
    let name = beside(payload.text(["/repository/full_name"]), run.text(["/head_repository/full_name"]), &branch);
    let is_request = run.word("/event").starts_with("pull_request") && !name.starts_with('#');
    let number = run.number(["/pull_requests/0/number"]).filter(|_| is_request || name != branch);
    let request = match number {
        Some(number) => format!(" (pull request #{number})"),
        None if is_request => " (pull request)".to_owned(),
        None => String::new(),
    };
    Some(name + &request)
}

/// The file's name out of `.github/workflows/ci.yml@refs/heads/main`.
pub fn file_name(path: &str) -> String {
    let path = path.split_once('@').map_or(path, |(path, _)| path);
    path.rsplit_once('/').map_or(path, |(_, name)| name).to_owned()
}

fn workflow_job(payload: Payload<'_>) -> Option<Notice> {
    let job = payload.at("/workflow_job");
    let standing = standing(state(payload, job))?;
    let id = job.number(["/id"]);
    let name = job.text(["/name"]);
    let workflow = job.text(["/workflow_name"]);
    let subject = match &name {
        Some(name) => format!("Job {}{name}", around("", workflow.as_deref(), " / ")),
        None => format!("Job{}", around(" #", id.map(|id| id.to_string()).as_deref(), "")),
    };
    let notice = Notice {
        kind: kind::JOB,
        thing: attempt(job, id),
        ends_once: job.number(["/run_attempt"]).is_some(),
        id,
        reference: job.text(["/head_branch"]).map(|name| short_ref(&name)),
        duration: job.seconds_between("/started_at", "/completed_at"),
        url: job.url(["/html_url"]),
        sha: job.text(["/head_sha"]),
        more: vec![
            ("job", name),
            ("workflow", workflow),
            ("pipeline", job.number(["/run_id"]).map(|id| id.to_string())),
            ("attempt", job.number(["/run_attempt"]).map(|attempt| attempt.to_string())),
            ("environment", payload.text(["/deployment/environment"])),
        ],
        ..base(payload)
    };
    Some(notice.of_a_run(&subject, standing))
}

fn push(payload: Payload<'_>) -> Option<Notice> {
    let listed = payload.list("/commits").len() as u64;
    let newest = if payload.has("/head_commit") { payload.at("/head_commit") } else { payload.last("/commits") };
    let push = Push {
        reference: payload.word("/ref"),
        before: payload.word("/before"),
        after: payload.word("/after"),
        created: payload.flag("/created"),
        deleted: payload.flag("/deleted"),
        forced: payload.flag("/forced"),
        commits: payload.number(["/total_commits"]).unwrap_or(listed),
        title: newest.text(["/message"]),
    };
    let url = payload.url(["/compare", "/compare_url", "/head_commit/url", "/repository/html_url"]);
    let who = payload.person(["/sender", "/pusher"]);
    push.notice(Notice { who, url, ..base(payload) })
}

/// A branch or tag that was created or deleted, by git or on a web page.
fn branch_or_tag(payload: Payload<'_>, deleted: bool) -> Option<Notice> {
    let name = short_ref(payload.word("/ref"));
    let full = match payload.word("/ref_type") {
        "tag" => format!("refs/tags/{name}"),
        "branch" => format!("refs/heads/{name}"),
        _ => return None,
    };
    if name.is_empty() {
        return None;
    }
    let push = Push { reference: &full, after: payload.word("/sha"), created: !deleted, deleted, ..Push::default() };
    push.notice(Notice { url: payload.url(["/repository/html_url"]), ..base(payload) })
}

/// A check of another CI: a check run, the suite of them that one app has run, or a commit's status. One that is told
/// in two of these ways is one thing. The checks of GitHub's own Actions are told as workflows.
fn check(payload: Payload<'_>, check: Payload<'_>) -> Option<Notice> {
    let words = ["/conclusion", "/state", "/status"].map(|pointer| check.word(pointer));
    let state = words.into_iter().chain([payload.word("/action")]).find(|word| !["", "completed"].contains(word))?;
    let standing = standing(state)?;
    if check.word("/app/slug") == "github-actions" {
        return None;
    }
    let name = check.text(["/context", "/name", "/app/name"])?;
    let sha = check.text(["/head_sha", "/sha"]);
    let branches = check.list("/branches").iter().map(Payload::new);
    let mut names: Vec<_> = branches.filter_map(|branch| branch.text(["/name"])).collect();
    names.sort_by_key(|name| Some(name) != payload.text(["/repository/default_branch"]).as_ref());
    let branch = check.text(["/check_suite/head_branch", "/head_branch"]).or(names.into_iter().next());
    let is_own = check.word("/target_url").contains("/actions/runs/") || payload.has("/check_suite");
    let notice = Notice {
        kind: kind::JOB,
        thing: Some(format!("{} {name}", sha.as_deref().unwrap_or(""))),
        stands: true,
        id: check.number(["/id"]),
        title: check.text(["/output/title", "/description"]),
        reference: branch.map(|name| short_ref(&name)),
        duration: check.seconds_between("/started_at", "/completed_at"),
        url: check.url(["/html_url", "/details_url", "/target_url"]).or_else(|| payload.url(["/repository/html_url"])),
        sha: sha.clone(),
        more: vec![("job", Some(name.clone()))],
        ..base(payload)
    };
    let commit = sha.as_deref().filter(|_| notice.reference.is_none()).and_then(|sha| sha.get(..SHORT_SHA));
    let notice = notice.of_a_run(&format!("Check {name}{}", around(" of commit ", commit, "")), standing);
    Some(Notice { quiet: notice.quiet || is_own, ..notice })
}

fn issue(payload: Payload<'_>) -> Option<Notice> {
    let called = if payload.has("/issue/pull_request") { "pull request #" } else { "issue #" };
    let notice = Notice {
        number: payload.number(["/issue/number"]),
        title: payload.text(["/issue/title"]),
        url: payload.url(["/comment/html_url", "/issue/html_url"]),
        ..base(payload)
    };
    push::issue(called, payload.word("/action"), notice)
}

/// A pull request, or a review of it: `word` says what was done.
fn pull_request(payload: Payload<'_>, word: &str) -> Option<Notice> {
    let request = payload.at("/pull_request");
    let (status, verb, particle, quiet) = match word {
        "opened" => ("opened", "opened", "", false),
        "reopened" => ("opened", "reopened", "", false),
        "closed" if request.flag("/merged") => ("merged", "merged", "", false),
        "closed" => ("closed", "closed", "", false),
        "ready_for_review" => ("opened", "marked", " as ready for review", false),
        "converted_to_draft" => ("opened", "marked", " as draft", true),
        "synchronize" | "synchronized" => ("opened", "updated", "", true),
        "approved" => ("approved", "approved", "", false),
        "changes_requested" | "rejected" => ("opened", "requested changes of", "", false),
        "commented" | "comment" => ("opened", "commented on", "", true),
        "dismissed" => ("opened", "dismissed a review of", "", true),
        _ => return None,
    };
    let notice = base(payload);
    let notice = Notice {
        status,
        quiet,
        id: request.number(["/id"]),
        number: payload.number(["/number", "/pull_request/number"]),
        title: request.text(["/title"]),
        who: notice.who.or_else(|| request.person(["/user"])),
        reference: request.text(["/head/ref", "/head/label", "/head_branch"]).map(|branch| {
            beside(request.text(["/base/repo/full_name"]), request.text(["/head/repo/full_name"]), &branch)
        }),
        url: payload.url(["/review/html_url", "/pull_request/html_url"]),
        sha: request.text(["/head/sha"]),
        ..notice
    };
    let target = request.text(["/base/ref", "/base/label", "/base_branch"]);
    let draft = request.flag("/draft") && verb == "opened";
    Request { called: "pull request #", verb, particle, draft, target }.notice(notice)
}

fn deployment_status(payload: Payload<'_>) -> Option<Notice> {
    // An inactive deployment was replaced by another one, which has a line of its own.
    let standing = standing(payload.word("/deployment_status/state"))?;
    let id = payload.number(["/deployment/id"]);
    let environment = payload.text(["/deployment_status/environment", "/deployment/environment"]);
    let subject = format!("Deployment{}", around(" to ", environment.as_deref(), ""));
    let notice = base(payload);
    let notice = Notice {
        kind: kind::DEPLOYMENT,
        thing: id.map(|id| id.to_string()),
        id,
        title: payload.text(["/deployment_status/description", "/deployment/description"]),
        reference: payload.text(["/deployment/ref"]).map(|name| short_ref(&name)),
        who: payload.person(["/deployment/creator", "/deployment_status/creator"]).or(notice.who),
        url: payload.url([
            "/deployment_status/log_url",
            "/deployment_status/target_url",
            "/workflow_run/html_url",
            "/deployment_status/environment_url",
            "/repository/html_url",
        ]),
        sha: payload.text(["/deployment/sha"]),
        more: vec![("environment", environment)],
        ..notice
    };
    Some(notice.of_a_run(&subject, standing))
}

fn release(payload: Payload<'_>) -> Option<Notice> {
    let release = payload.at("/release");
    // Publishing a release sends up to three deliveries: created, published, released. They are one state, said once.
    let (status, verb, quiet) = match payload.word("/action") {
        "published" | "released" | "prereleased" => ("published", "published", false),
        "unpublished" => ("unpublished", "unpublished", false),
        "deleted" => ("deleted", "deleted", false),
        "created" => ("created", "drafted", true),
        "edited" | "updated" => ("updated", "updated", true),
        _ => return None,
    };
    let tag = release.text(["/tag_name"]);
    let name = release.text(["/name"]);
    let called = tag.clone().or_else(|| name.clone())?;
    let what = if release.flag("/prerelease") { "pre-release" } else { "release" };
    let notice = base(payload);
    let who = notice.who.or_else(|| release.person(["/author"]));
    let title = name.clone().filter(|name| *name != called);
    let by = who.as_deref().unwrap_or("Somebody");
    Some(Notice {
        kind: kind::RELEASE,
        status,
        quiet,
        sentence: format!("{by} {verb} {what} {called}{}", around(": ", title.as_deref(), "")),
        thing: Some(called),
        id: release.number(["/id"]),
        title: name,
        reference: tag,
        who,
        url: release.url(["/html_url"]),
        ..notice
    })
}

/// The delivery that GitHub sends when a hook is set up.
fn ping(payload: Payload<'_>) -> Option<Notice> {
    let zen = payload.text(["/zen"]);
    Some(Notice {
        kind: kind::PING,
        status: "connected",
        sentence: format!("GitHub is connected{}", around(": ", zen.as_deref(), "")),
        id: payload.number(["/hook_id", "/hook/id"]),
        url: payload.url(["/repository/html_url"]),
        ..base(payload)
    })
}
