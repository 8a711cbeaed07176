"""GitHub's webhooks: `github.<event>.<action>`, on what the event is about.

A resource has the path that it has on github.com, so that patterns read naturally: `github/acme/shop/actions/runs/7`,
`github/acme/shop/pull/12`, and `github/acme/shop` when it is about the repository itself. What stays the same from
one to the next (the workflow, the branch) is in the labels, to match by and to use in `for_each`.

Source: https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from tocsin.errors import NotJSON, Problem
from tocsin.schemas.secret import SecretReference
from tocsin.schemas.source import HmacVerification
from tocsin.sources.problems import refused
from tocsin.sources.recipe import Recipe
from tocsin.sources.request import Request, read_json
from tocsin.sources.times import moment


@dataclass(frozen=True, slots=True)
class _Subject:
    """Where a kind of event keeps what it is about (`key`, empty: the body itself), and what to take from there.

    `path` goes on from the repository's; `{...}` in it, and the values of `labels`, are members of the subject.
    """

    key: str
    path: str
    labels: Mapping[str, str] = field(default_factory=dict)
    times: tuple[str, ...] = ("updated_at",)


_RESULT = {"status": "status", "conclusion": "conclusion", "branch": "head_branch", "commit": "head_sha"}
_PULL = {"state": "state", "branch": "head.ref", "base": "base.ref", "draft": "draft", "author": "user.login"}
_ISSUE = {"state": "state", "author": "user.login"}
_JOB_TIMES = ("completed_at", "started_at")

SUBJECTS: Mapping[str, _Subject] = {
    "check_run": _Subject("check_run", "runs/{id}", {**_RESULT, "check": "name"}, _JOB_TIMES),
    "check_suite": _Subject("check_suite", "suites/{id}", {**_RESULT, "app": "app.slug"}),
    "create": _Subject("", "tree/{ref}", {"ref": "ref", "kind": "ref_type"}, ()),
    "delete": _Subject("", "tree/{ref}", {"ref": "ref", "kind": "ref_type"}, ()),
    "deployment": _Subject("deployment", "deployments/{id}", {"environment": "environment", "ref": "ref"}),
    "deployment_status": _Subject(
        "deployment_status", "deployments/{id}", {"state": "state", "environment": "environment"}
    ),
    "issue_comment": _Subject("issue", "issues/{number}", _ISSUE),
    "issues": _Subject("issue", "issues/{number}", _ISSUE),
    "pull_request": _Subject("pull_request", "pull/{number}", {**_PULL, "merged": "merged"}),
    "pull_request_review": _Subject("pull_request", "pull/{number}", _PULL),
    "pull_request_review_comment": _Subject("pull_request", "pull/{number}", _PULL),
    "push": _Subject(
        "", "tree/{ref}", {"branch": "ref", "commit": "after", "forced": "forced"}, ("repository.pushed_at",)
    ),
    "release": _Subject(
        "release", "releases/{tag_name}", {"tag": "tag_name", "prerelease": "prerelease"}, ("published_at",)
    ),
    "status": _Subject("", "commit/{sha}", {"state": "state", "context": "context", "commit": "sha"}),
    "workflow_job": _Subject(
        "workflow_job",
        "actions/jobs/{id}",
        {**_RESULT, "workflow": "workflow_name", "job": "name", "run": "run_id", "attempt": "run_attempt"},
        _JOB_TIMES,
    ),
    "workflow_run": _Subject(
        "workflow_run",
        "actions/runs/{id}",
        {**_RESULT, "workflow": "name", "run": "run_number", "attempt": "run_attempt", "cause": "event"},
    ),
}
"""What is known of the kinds of events; those that are not here are about their repository."""

_REPOSITORY = _Subject("", "", {}, ())


def events(request: Request) -> list[dict[str, Any]]:
    """Return the one event of a delivery.

    Raises:
        InvalidEvent: it is not a delivery of GitHub.
        NotJSON: the body can not be read.
    """
    kind = request.headers.get("x-github-event", "")
    body = _body(request)
    if not kind:
        raise refused([Problem("the header X-GitHub-Event is missing: is the sender GitHub?", field="event", index=0)])
    root = "/".join(("github", *filter(None, (_owner(body),))))
    subject = SUBJECTS.get(kind, _REPOSITORY)
    about = body.get(subject.key) if subject.key else body
    about = about if isinstance(about, dict) else {}
    action = body.get("action")
    labels = {"id": _id(root, subject, about), "repository": _find(body, "repository.full_name"), "action": action}
    labels |= {name: _branch(_find(about, path)) for name, path in subject.labels.items()}
    times = (moment(_find(about, path)) for path in subject.times)
    return [
        {
            "event": f"github.{kind}.{action}" if isinstance(action, str) and action else f"github.{kind}",
            "resource": _labels(labels),
            "related": _related(root, body),
            "payload": body,
            "occurred": next(filter(None, times), None),
            "id": request.headers.get("x-github-delivery") or None,
        }
    ]


def _body(request: Request) -> dict[str, Any]:
    """Return the payload; GitHub sends it as JSON, or as the field `payload` of a form."""
    body = request.content()
    if isinstance(body, dict) and request.media_type == "application/x-www-form-urlencoded":
        text = body.get("payload", "")
        body = read_json(text.encode()) if isinstance(text, str) else None
    if not isinstance(body, dict):
        raise NotJSON("the body is not JSON: a delivery of GitHub is a JSON object")
    return body


def _owner(body: dict[str, Any]) -> str:
    """Return what the event belongs to: a repository, else an organization, else nothing."""
    return str(_find(body, "repository.full_name") or _find(body, "organization.login") or "")


def _id(root: str, subject: _Subject, about: dict[str, Any]) -> str:
    try:
        path = subject.path.format_map({name: _branch(value) for name, value in about.items()})
    except KeyError:  # a delivery that leaves out what it is about
        path = ""
    return f"{root}/{path}" if path else root


def _related(root: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    repository, sender = body.get("repository"), body.get("sender")
    workflow, organization = body.get("workflow"), body.get("organization")
    related: list[dict[str, Any]] = []
    if isinstance(repository, dict):
        related.append({"id": root, "role": "repository", "default_branch": repository.get("default_branch"),
                        "private": repository.get("private")})  # fmt: skip
    if isinstance(workflow, dict) and isinstance(path := workflow.get("path"), str):
        name = PurePosixPath(path.partition("@")[0]).name
        related.append({"id": f"{root}/actions/workflows/{name}", "role": "workflow", "name": workflow.get("name")})
    if isinstance(organization, dict) and organization.get("login"):
        related.append({"id": f"github/{organization['login']}", "role": "organization"})
    if isinstance(sender, dict) and sender.get("login"):
        related.append({"id": f"github/{sender['login']}", "role": "sender", "type": sender.get("type")})
    return [_labels(labels) for labels in related]


def _labels(labels: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not there, and what is not a label."""
    return {name: value for name, value in labels.items() if isinstance(value, str | int | float)}


def _find(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _branch(value: Any) -> Any:
    return value.removeprefix("refs/heads/") if isinstance(value, str) else value


def _verification(secret: SecretReference) -> HmacVerification:
    return HmacVerification(type="hmac", header="X-Hub-Signature-256", prefix="sha256=", secret=secret)


RECIPE = Recipe(verification=_verification, events=events)
