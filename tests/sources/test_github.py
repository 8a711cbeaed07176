"""The GitHub recipe: deliveries become events with readable names and stable labels."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.errors import InvalidEvent, NotJSON, TocsinError, Unauthorized
from tocsin.schemas.event import Event
from tocsin.schemas.source import WebhookSource
from tocsin.sources.github import SUBJECTS
from tocsin.sources.limits import Limits
from tocsin.sources.native import NativeParser
from tocsin.sources.request import Request
from tocsin.sources.webhook import WebhookReceiver

SECRET = "s3cret"
SPEC = {"name": "github", "type": "webhook", "recipe": "github", "secret": {"env": "GITHUB_SECRET"}}
RECEIVER = WebhookReceiver(WebhookSource.model_validate(SPEC), NativeParser(Limits()))

REPOSITORY = {"full_name": "acme/shop", "default_branch": "main", "private": True, "pushed_at": 1_763_629_022}
WORLD = {
    "repository": REPOSITORY,
    "organization": {"login": "acme"},
    "sender": {"login": "octocat", "type": "User"},
}
RUN = {
    **WORLD,
    "action": "completed",
    "workflow": {"name": "CI", "path": ".github/workflows/ci.yml@refs/heads/main"},
    "workflow_run": {
        "id": 77,
        "name": "CI",
        "run_number": 5,
        "run_attempt": 2,
        "event": "push",
        "status": "completed",
        "conclusion": "failure",
        "head_branch": "main",
        "head_sha": "abc",
        "updated_at": "2026-11-20T08:57:02Z",
    },
}


def deliver(kind: str, payload: object, *, delivery: str = "d-1", form: bool = False) -> Event:
    body = json.dumps(payload).encode()
    content_type = "application/json"
    if form:
        from urllib.parse import urlencode

        body, content_type = urlencode({"payload": body.decode()}).encode(), "application/x-www-form-urlencoded"
    (event,) = RECEIVER.receive(signed(body, kind=kind, delivery=delivery, content_type=content_type), SECRET)
    return event


def signed(body: bytes, *, kind: str, delivery: str, content_type: str) -> Request:
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "content-type": content_type,
        "x-github-event": kind,
        "x-github-delivery": delivery,
        "x-hub-signature-256": f"sha256={digest}",
    }
    return Request(source="github", body=body, headers={name: value for name, value in headers.items() if value})


@pytest.mark.parametrize("form", [False, True])
def test_a_finished_workflow_run_says_how_it_ended(form: bool) -> None:
    event = deliver("workflow_run", RUN, form=form)
    assert (event.event, event.id, event.source) == ("github.workflow_run.completed", "d-1", "github")
    assert event.occurred is not None
    assert event.occurred.isoformat() == "2026-11-20T08:57:02+00:00"
    assert event.resource == {
        "id": "github/acme/shop/actions/runs/77",
        "repository": "acme/shop",
        "action": "completed",
        "workflow": "CI",
        "run": "5",
        "attempt": "2",
        "cause": "push",
        "status": "completed",
        "conclusion": "failure",
        "branch": "main",
        "commit": "abc",
    }
    assert event.related == [
        {"id": "github/acme/shop", "role": "repository", "default_branch": "main", "private": "true"},
        {"id": "github/acme/shop/actions/workflows/ci.yml", "role": "workflow", "name": "CI"},
        {"id": "github/acme", "role": "organization"},
        {"id": "github/octocat", "role": "sender", "type": "User"},
    ]
    assert event.payload == RUN


@pytest.mark.parametrize(
    ("kind", "payload", "name", "resource", "occurred"),
    [
        ("ping", {"zen": "x", "hook_id": 1}, "github.ping", "github", None),
        ("ping", {"zen": "x", "repository": REPOSITORY}, "github.ping", "github/acme/shop", None),
        (
            "membership",
            {"organization": {"login": "acme"}, "action": "added"},
            "github.membership.added",
            "github/acme",
            None,
        ),
        (
            "push",
            {**WORLD, "ref": "refs/heads/main"},
            "github.push",
            "github/acme/shop/tree/main",
            "2025-11-20T08:57:02+00:00",
        ),
        (
            "pull_request",
            {**WORLD, "action": "opened", "pull_request": {"number": 12, "head": {"ref": "fix"}}},
            "github.pull_request.opened",
            "github/acme/shop/pull/12",
            None,
        ),
        (
            "issues",
            {**WORLD, "action": "closed", "issue": {"number": 3, "updated_at": "2026-11-20T08:00:00Z"}},
            "github.issues.closed",
            "github/acme/shop/issues/3",
            "2026-11-20T08:00:00+00:00",
        ),
        (
            "workflow_job",
            {
                **WORLD,
                "action": "queued",
                "workflow_job": {"id": 9, "completed_at": None, "started_at": "2026-11-20T08:00:00Z"},
            },
            "github.workflow_job.queued",
            "github/acme/shop/actions/jobs/9",
            "2026-11-20T08:00:00+00:00",
        ),
        ("star", {**WORLD, "action": "created"}, "github.star.created", "github/acme/shop", None),
        ("workflow_run", {**WORLD, "action": "requested"}, "github.workflow_run.requested", "github/acme/shop", None),
    ],
)
def test_other_deliveries_are_named_after_what_they_are_about(
    kind: str, payload: dict[str, Any], name: str, resource: str, occurred: str | None
) -> None:
    event = deliver(kind, payload)
    assert (event.event, event.resource["id"]) == (name, resource)
    assert (event.occurred and event.occurred.isoformat()) == occurred


def test_the_labels_of_a_push_name_the_branch() -> None:
    assert deliver("push", {**WORLD, "ref": "refs/heads/a/b", "forced": False}).resource == {
        "id": "github/acme/shop/tree/a/b",
        "repository": "acme/shop",
        "branch": "a/b",
        "forced": "false",
    }


def test_a_delivery_without_or_with_a_wrong_signature_is_refused() -> None:
    request = signed(b"{}", kind="ping", delivery="d", content_type="application/json")
    unsigned = {name: value for name, value in request.headers.items() if name != "x-hub-signature-256"}
    for headers in (unsigned, {**request.headers, "x-hub-signature-256": "sha256=00"}):
        with pytest.raises(Unauthorized, match="X-Hub-Signature-256"):
            RECEIVER.receive(Request(source="github", body=b"{}", headers=headers), SECRET)


def test_what_is_no_delivery_is_said_to_be_none() -> None:
    with pytest.raises(InvalidEvent, match="X-GitHub-Event"):
        deliver("", RUN)
    for payload in ([1], "text", None):
        with pytest.raises(NotJSON):
            deliver("push", payload)


def test_a_delivery_without_an_id_is_an_event_without_one() -> None:
    assert deliver("ping", {}, delivery="").id is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "number", "ref", "path", "login", "full_name", "updated_at"]), inner)
    ),
    max_leaves=8,
)
KEYS = [*{subject.key for subject in SUBJECTS.values() if subject.key}, *WORLD, "action", "ref", "workflow"]


@given(st.sampled_from([*SUBJECTS, "ping"]), st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, JSON)))
def test_no_payload_raises_anything_but_our_errors(kind: str, payload: dict[str, Any]) -> None:
    with contextlib.suppress(TocsinError):
        assert deliver(kind, payload).event.startswith(f"github.{kind}")
