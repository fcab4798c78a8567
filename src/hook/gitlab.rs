//! GitLab's deliveries, as its page "Webhook events" documents them. Group and system hooks send them too.

use crate::hook::notice::{Notice, RunState, around, beside, kind, short_ref, status};
use crate::hook::payload::{Payload, readable};
use crate::hook::push::{self, Push, Request};

/// How many failed jobs of a pipeline are named.
const MOST_JOBS: usize = 3;

/// Reads a delivery. The payload names its kind; if it does not, `event`, the header, does.
pub fn read(event: &str, payload: Payload<'_>) -> Option<Notice> {
    let known = [payload.word("/object_kind"), payload.word("/event_name"), event];
    match known.into_iter().find(|word| !word.is_empty())? {
        "pipeline" | "Pipeline Hook" => pipeline(payload),
        "build" | "job" | "Job Hook" | "Build Hook" => job(payload),
        "push" | "tag_push" | "Push Hook" | "Tag Push Hook" => push(payload),
        "merge_request" | "Merge Request Hook" => merge_request(payload),
        "deployment" | "Deployment Hook" => deployment(payload),
        "release" | "Release Hook" => release(payload),
        "issue" | "Issue Hook" | "note" | "Note Hook" => issue(payload),
        "feature_flag" | "Feature Flag Hook" => feature_flag(payload),
        "access_token" | "deploy_token" | "Resource Access Token Hook" | "Resource Deploy Token Hook" => token(payload),
        "vulnerability" | "Vulnerability Hook" => vulnerability(payload),
        _ => None,
    }
}

/// The part of a notice that every kind has.
fn base(payload: Payload<'_>) -> Notice {
    // If a job does not describe its project, it names it as `group / app`.
    let name = payload.text(["/project_name"]).map(|name| name.replace(" / ", "/"));
    Notice {
        project: ["/project", "/repository", "/object_attributes/target", "/group"]
            .into_iter()
            .find_map(|pointer| path(payload, pointer))
            .or(name)
            .or_else(|| payload.text(["/project/name", "/repository/name"])),
        who: payload.person(["/user"]).or_else(|| payload.text(["/user_name", "/user_username"])),
        ..Notice::default()
    }
}

/// The path of the project that is described at `pointer`, or of its page.
fn path(payload: Payload<'_>, pointer: &str) -> Option<String> {
    let project = payload.at(pointer);
    let page = || path_of(&project.url(["/web_url", "/homepage", "/http_url"])?);
    project.text(["/path_with_namespace", "/full_path", "/group_path"]).or_else(page)
}

/// The path of the project to which the page `url` belongs.
fn path_of(url: &str) -> Option<String> {
    let path = url.splitn(4, '/').nth(3)?.split("/-/").next()?;
    Some(path.trim_end_matches(".git").to_owned()).filter(|path| path.contains('/'))
}

/// A page of the project, for a delivery that links to none itself.
fn page(payload: Payload<'_>, path: &str, id: Option<u64>) -> Option<String> {
    let project = payload.url(["/project/web_url", "/project/homepage", "/repository/homepage"])?;
    Some(format!("{project}/-/{path}/{}", id?))
}

/// How something stands by GitLab's word for it (`Ci::HasStatus` and `Deployment` in its source).
fn standing(word: &str) -> Option<RunState> {
    let (status, verb) = match word {
        "created" => (status::QUEUED, "has been created"),
        "waiting_for_resource" => (status::QUEUED, "is waiting for a resource"),
        "waiting_for_callback" => (status::QUEUED, "is waiting for a callback"),
        "preparing" => (status::QUEUED, "is preparing"),
        "pending" => (status::QUEUED, "is pending"),
        "scheduled" => (status::QUEUED, "is scheduled"),
        "manual" => (status::WAITING, "is waiting for a manual action"),
        "blocked" => (status::WAITING, "is waiting for approval"),
        "running" => (status::RUNNING, "is running"),
        "canceling" => (status::RUNNING, "is being canceled"),
        "success" => (status::PASSED, "has passed"),
        "failed" => (status::FAILED, "has failed"),
        "canceled" => (status::CANCELED, "has been canceled"),
        "skipped" => (status::SKIPPED, "has been skipped"),
        _ => return None,
    };
    Some(RunState { status, verb })
}

fn pipeline(payload: Payload<'_>) -> Option<Notice> {
    let pipeline = payload.at("/object_attributes");
    let mut standing = standing(pipeline.word("/status"))?;
    if standing.status == status::PASSED && pipeline.word("/detailed_status").contains("warning") {
        standing.verb = "has passed with warnings";
    }
    let id = pipeline.number(["/id"]);
    let source = pipeline.text(["/source"]);
    let is_child = source.as_deref() == Some("parent_pipeline");
    let subject = format!("Pipeline{}", number(id.or(pipeline.number(["/iid"]))));
    let notice = Notice {
        kind: kind::PIPELINE,
        thing: id.map(|id| id.to_string()),
        stands: true,
        id,
        number: id,
        title: pipeline.text(["/name"]).or_else(|| payload.text(["/commit/title", "/commit/message"])),
        reference: reference(payload, pipeline),
        duration: pipeline.seconds("/duration").or_else(|| pipeline.seconds_between("/created_at", "/finished_at")),
        url: pipeline.url(["/url"]).or_else(|| page(payload, "pipelines", id)),
        sha: pipeline.text(["/sha"]),
        more: vec![
            ("tag", pipeline.flag("/tag").then(|| "true".to_owned())),
            ("source", source),
            ("workflow", is_child.then(|| "child pipeline".to_owned())),
            ("merge_request", payload.number(["/merge_request/iid"]).map(|number| number.to_string())),
        ],
        ..base(payload)
    };
    let mut notice = notice.of_a_run(&subject, standing);
    if standing.status == status::FAILED {
        notice.sentence += &failed_jobs(payload);
    }
    Some(notice)
}

/// The branch of a pipeline. A merge request's pipeline runs on its branch, or on its merge with another one, and is
/// none of the branch itself.
fn reference(payload: Payload<'_>, pipeline: Payload<'_>) -> Option<String> {
    let name = short_ref(&pipeline.text(["/ref"])?);
    let request = payload.number(["/merge_request/iid"]).map(|number| format!(" !{number}"));
    let is_request = pipeline.word("/source") == "merge_request_event" && !name.starts_with('!');
    Some(if is_request { format!("{name} (merge request{})", request.unwrap_or_default()) } else { name })
}

/// The jobs because of which a pipeline has failed, and why: the first few, then how many more.
fn failed_jobs(payload: Payload<'_>) -> String {
    let jobs = payload.list("/builds").iter().map(Payload::new);
    let failed = jobs.filter(|job| job.word("/status") == "failed" && !job.flag("/allow_failure"));
    let names: Vec<_> = failed
        .filter_map(|job| {
            let reason = reason(job.word("/failure_reason"));
            Some(job.text(["/name"])? + &around(" (", reason.as_deref(), ")"))
        })
        .collect();
    let more = names.len().checked_sub(MOST_JOBS).filter(|more| *more > 0).map(|more| more.to_string());
    let named = names[..names.len().min(MOST_JOBS)].join(", ");
    around(": ", Some(&*named).filter(|named| !named.is_empty()), &around(" and ", more.as_deref(), " more"))
}

/// Why a job has failed, in words.
fn reason(reason: &str) -> Option<String> {
    readable(&reason.replace('_', " ")).filter(|_| reason != "unknown_failure")
}

fn job(payload: Payload<'_>) -> Option<Notice> {
    let standing = standing(payload.word("/build_status"))?;
    let id = payload.number(["/build_id"]);
    let name = payload.text(["/build_name"]);
    let subject = match &name {
        Some(name) => format!("Job {name}"),
        None => format!("Job{}", number(id)),
    };
    let failed = standing.status == status::FAILED;
    let reason = reason(payload.word("/build_failure_reason")).filter(|_| failed);
    let allowed = failed && payload.flag("/build_allow_failure");
    let notice = Notice {
        kind: kind::JOB,
        thing: id.map(|id| id.to_string()),
        id,
        reference: payload.text(["/ref"]).map(|name| short_ref(&name)),
        title: payload.text(["/commit/title", "/commit/message"]),
        duration: payload
            .seconds("/build_duration")
            .or_else(|| payload.seconds_between("/build_started_at", "/build_finished_at")),
        url: page(payload, "jobs", id),
        sha: payload.text(["/sha"]),
        more: vec![
            ("job", name),
            ("stage", payload.text(["/build_stage"])),
            ("pipeline", payload.number(["/pipeline_id"]).map(|id| id.to_string())),
            ("environment", payload.text(["/environment/name"])),
            ("allow_failure", allowed.then(|| "true".to_owned())),
            ("reason", reason.clone()),
        ],
        ..base(payload)
    };
    let mut notice = notice.of_a_run(&subject, standing);
    notice.sentence += &around(": ", reason.as_deref(), "");
    if allowed {
        notice.sentence += ", which is allowed";
    }
    Some(notice)
}

fn push(payload: Payload<'_>) -> Option<Notice> {
    let newest = payload.last("/commits");
    let url =
        newest.url(["/url"]).or_else(|| payload.url(["/project/web_url", "/project/homepage", "/repository/homepage"]));
    let push = Push {
        reference: payload.word("/ref"),
        before: payload.word("/before"),
        after: payload.word("/after"),
        commits: payload.number(["/total_commits_count"]).unwrap_or(payload.list("/commits").len() as u64),
        title: newest.text(["/title", "/message"]),
        ..Push::default()
    };
    // A pusher's name stands beside the project, not in an object.
    let who = payload.text(["/user_name", "/user_username"]).or_else(|| payload.person(["/user"]));
    push.notice(Notice { who, url, ..base(payload) })
}

fn merge_request(payload: Payload<'_>) -> Option<Notice> {
    let request = payload.at("/object_attributes");
    let was_draft = payload.at("/changes/draft");
    let is_system = request.flag("/system") || payload.flag("/system"); // a push has reset the approvals
    let (status, verb, particle, quiet) = match request.word("/action") {
        "open" => ("opened", "opened", "", false),
        "reopen" => ("opened", "reopened", "", false),
        "close" => ("closed", "closed", "", false),
        "merge" => ("merged", "merged", "", false),
        "approved" | "approval" => ("approved", "approved", "", false),
        "unapproved" | "unapproval" => ("opened", "withdrew the approval of", "", is_system),
        "update" if was_draft.flag("/previous") => ("opened", "marked", " as ready", false),
        "update" if was_draft.flag("/current") => ("opened", "marked", " as draft", true),
        "update" if !request.word("/oldrev").is_empty() => ("opened", "updated", "", true),
        _ => return None,
    };
    let is_draft = request.flag("/draft") || request.flag("/work_in_progress");
    let notice = Notice {
        status,
        quiet,
        id: request.number(["/id"]),
        number: request.number(["/iid"]),
        title: request.text(["/title"]),
        reference: request
            .text(["/source_branch"])
            .map(|branch| beside(path(request, "/target"), path(request, "/source"), &branch)),
        url: request.url(["/url"]),
        sha: request.text(["/last_commit/id"]),
        who: if is_system { Some("GitLab".to_owned()) } else { base(payload).who },
        ..base(payload)
    };
    let target = request.text(["/target_branch"]);
    let draft = is_draft && verb == "opened";
    Request { called: "merge request !", verb, particle, draft, target }.notice(notice)
}

fn deployment(payload: Payload<'_>) -> Option<Notice> {
    let mut standing = standing(payload.word("/status"))?;
    if standing.status == status::PASSED {
        standing.verb = "has succeeded"; // as GitLab says of a deployment
    }
    let id = payload.number(["/deployment_id"]);
    let environment = payload.text(["/environment", "/environment_slug"]);
    let subject = format!("Deployment{}{}", number(id), around(" to ", environment.as_deref(), ""));
    let notice = Notice {
        kind: kind::DEPLOYMENT,
        thing: id.map(|id| id.to_string()),
        id,
        title: payload.text(["/commit_title"]),
        reference: payload.text(["/ref"]).map(|name| short_ref(&name)),
        url: payload.url(["/deployable_url", "/environment_external_url", "/commit_url", "/project/web_url"]),
        sha: payload.text(["/short_sha"]),
        more: vec![("environment", environment)],
        ..base(payload)
    };
    Some(notice.of_a_run(&subject, standing))
}

fn release(payload: Payload<'_>) -> Option<Notice> {
    let (status, verb, quiet) = match payload.word("/action") {
        "create" => ("published", "has been created", false),
        "update" => ("updated", "has been updated", true),
        "delete" => ("deleted", "has been deleted", false),
        _ => return None,
    };
    let tag = payload.text(["/tag"]);
    let name = payload.text(["/name"]);
    let called = tag.clone().or_else(|| name.clone())?;
    let title = name.clone().filter(|name| *name != called);
    Some(Notice {
        kind: kind::RELEASE,
        status,
        quiet,
        sentence: format!("Release {called} {verb}{}", around(": ", title.as_deref(), "")),
        id: payload.number(["/id"]),
        title: name,
        reference: tag,
        url: payload.url(["/url"]),
        sha: payload.text(["/commit/id"]),
        ..base(payload)
    })
}

fn issue(payload: Payload<'_>) -> Option<Notice> {
    let attributes = payload.at("/object_attributes");
    let action = match attributes.word("/action") {
        "" if !attributes.word("/note").is_empty() => "create", // before GitLab 16 a comment has no action
        action => action,
    };
    let called = if payload.has("/merge_request") { "merge request !" } else { "issue #" };
    let notice = Notice {
        number: payload.number(["/merge_request/iid", "/issue/iid", "/object_attributes/iid"]),
        title: payload.text(["/merge_request/title", "/issue/title", "/object_attributes/title"]),
        url: attributes.url(["/url"]),
        ..base(payload)
    };
    push::issue(called, action, notice)
}

fn feature_flag(payload: Payload<'_>) -> Option<Notice> {
    let flag = payload.at("/object_attributes");
    let status = if flag.flag("/active") { "on" } else { "off" };
    let (name, base) = (flag.text(["/name"])?, base(payload));
    let sentence = format!("{} turned feature flag {name} {status}", base.who.as_deref().unwrap_or("Somebody"));
    Some(Notice { kind: kind::FEATURE_FLAG, status, sentence, id: flag.number(["/id"]), title: Some(name), ..base })
}

/// An access token or a deploy token that expires soon.
fn token(payload: Payload<'_>) -> Option<Notice> {
    let token = payload.at("/object_attributes");
    let (name, day) = (token.text(["/name"])?, token.text(["/expires_at"])?);
    let what = if payload.word("/object_kind") == "deploy_token" { "Deploy token" } else { "Access token" };
    let sentence = format!("{what} {name} expires on {}", day.get(..10).unwrap_or(&day));
    let id = token.number(["/id"]);
    Some(Notice { kind: kind::TOKEN, status: "expiring", sentence, id, title: Some(name), ..base(payload) })
}

fn vulnerability(payload: Payload<'_>) -> Option<Notice> {
    let found = payload.at("/object_attributes");
    let status = ["detected", "confirmed", "dismissed", "resolved"];
    let status = status.into_iter().find(|status| *status == found.word("/state"))?;
    let (title, url, severity) = (found.text(["/title"])?, found.url(["/url"]), found.text(["/severity"]));
    let of = around(" of severity ", severity.as_deref(), "");
    Some(Notice {
        kind: kind::VULNERABILITY,
        status,
        sentence: format!("Vulnerability{of} is {status}: {title}"),
        thing: url.clone(),
        project: base(payload).project.or_else(|| path_of(url.as_deref()?)),
        title: Some(title),
        url,
        more: vec![("severity", severity)],
        ..base(payload)
    })
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(String::new, |number| format!(" #{number}"))
}
