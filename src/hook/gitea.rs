//! Gitea's and Forgejo's deliveries, as their `modules/structs/hook.go` defines them. Most are GitHub's with a few
//! names changed. Forgejo tells of its Actions in a way of its own.

use crate::hook::github::{self, file_name};
use crate::hook::notice::{Notice, around, kind, short_ref};
use crate::hook::payload::Payload;

/// Reads a delivery. `event` is the header; if it is empty, a member that only one kind of payload has tells the event.
pub fn read(event: &str, payload: Payload<'_>) -> Option<Notice> {
    let is_run = event.starts_with("action_run") || (event.is_empty() && payload.has("/run"));
    if is_run {
        return action_run(payload);
    }
    // The event's detailed name may come in place of the general one: a synchronized pull request is still a pull
    // request.
    let event = if event == "pull_request_sync" { "pull_request" } else { event };
    // In Gitea a run that is run again may keep its attempt number, so a state after the end is not late.
    let notice = github::read(event, payload)?;
    // Gitea tells of jobs since 1.24, and of runs since later: a job's end stands for itself.
    let stands = notice.stands || notice.kind == kind::JOB;
    Some(Notice { ends_once: false, stands, ..notice })
}

/// The end of a run of Forgejo's Actions. A run that mends a failed one is told of twice: as a success and as a
/// recovery. The order does not matter, since both make one and the same line.
fn action_run(payload: Payload<'_>) -> Option<Notice> {
    let run = payload.at("/run");
    let outcome = match payload.word("/action") {
        "recover" => "success",
        other => other,
    };
    let states = [run.word("/conclusion"), run.word("/status"), outcome];
    let mut standing = states.into_iter().find_map(github::standing)?;
    let recovers = payload.word("/action") == "recover" || payload.word("/last_run/status") == "failure";
    if recovers && standing.verb == "has succeeded" {
        standing.verb = "has succeeded again";
    }
    let id = run.number(["/id"]);
    let number = run.number(["/index_in_repo"]);
    let workflow = run.text(["/workflow_id"]).map(|file| file_name(&file));
    let called = around(" #", number.or(id).map(|number| number.to_string()).as_deref(), "");
    let subject = format!("Workflow{}{called}", around(" ", workflow.as_deref(), ""));
    let notice = github::base(payload);
    let nanoseconds = run.number(["/duration"]).map(|duration| duration / 1_000_000_000);
    let notice = Notice {
        kind: kind::PIPELINE,
        thing: id.map(|id| id.to_string()),
        stands: true,
        id,
        number,
        project: run.text(["/repository/full_name", "/repository/name"]).or(notice.project),
        title: run.text(["/title"]),
        reference: run.text(["/prettyref", "/head_branch"]).map(|name| short_ref(&name)),
        who: run.person(["/trigger_user"]).or(notice.who),
        duration: run
            .seconds_between("/started", "/stopped")
            .or(nanoseconds.filter(|seconds| (1..86400 * 365).contains(seconds)))
            .or_else(|| run.seconds_between("/run_started_at", "/updated_at")),
        url: run.url(["/html_url", "/run_html_url"]),
        sha: run.text(["/commit_sha", "/head_sha"]),
        more: vec![("workflow", workflow), ("source", run.text(["/trigger_event", "/event"]))],
        ..notice
    };
    Some(notice.of_a_run(&subject, standing))
}
