"""The definitions and the events that are measured with."""

from __future__ import annotations

import itertools
import json
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.traffic import post

BATCH = 500
TOUCH_EVERY = 5
"""One event in so many touches the state of an automation."""


def written(folder: Path, **parts: list[dict[str, Any]]) -> Path:
    """Write definitions (JSON is YAML) and return their path."""
    path = folder / "definitions.yaml"
    # One entry a line: a YAML reader is quickest on short lines.
    lines = [f"{kind}:\n" + "".join(f"- {json.dumps(entry)}\n" for entry in entries) for kind, entries in parts.items()]
    path.write_text("".join(lines))
    return path


def counting(count: int) -> list[dict[str, Any]]:
    """Return automations that each count the failures of one job: three within ten minutes."""
    return [
        {"name": f"failures-of-{number}",
         "trigger": {"type": "event", "expect": "job.failed", "match": {"id": f"job/{number}", "env": "prod"},
                     "for_each": ["id"], "threshold": 3, "within": "10m"},
         "actions": [{"type": "log"}]}
        for number in range(count)
    ]  # fmt: skip


def rich(count: int) -> list[dict[str, Any]]:
    """Return automations with all that people write: four types, owners, runbooks, two actions and templates."""
    return [_rich(number) for number in range(count)]


def _rich(number: int) -> dict[str, Any]:
    team = f"team-{number % 50}"
    job_of_team = {"id": f"job/{number}", "env": "prod", "team": team}
    by_id: dict[str, Any] = {"match": job_of_team, "for_each": ["id"]}
    again = {"expect": "job.failed", "where": "payload.attempt > `1`"} | by_id
    triggers = (
        {"expect": ["job.failed", "job.crashed"], "threshold": 3, "within": "10m"} | by_id,
        {"type": "absence", "after": "job.started", "expect": "job.finished", "until": "job.cancelled",
         "within": "30m", "grace": "2m"} | by_id,
        {"type": "sequence", "triggers": [{"expect": "job.started"} | by_id, again], "for_each": ["id"],
         "within": "1h"},
        {"expect": "job.*", "match": {"id": f"job/{number}", "env": ["prod", "stage", "!dev*"]},
         "match_related": {"role": "flow", "id": "flow/*"}, "for_each": ["id", "env"], "threshold": 5, "within": "1h"},
    )  # fmt: skip
    text = "{{ automation.name }} fired for {{ labels.id }}: {{ firing.reason }}"
    return {
        "name": f"rich-{number}",
        "description": f"Watches job {number} of {team}, and tells the people who are on call for it",
        "severity": "high", "owner": f"{team}@example.org", "runbook": f"https://runbooks.example.org/jobs/{number}",
        "tags": ["jobs", team], "trigger": triggers[number % len(triggers)],
        "actions": [{"type": "call-webhook", "url": f"http://127.0.0.1:9/hooks/{number % 50}",
                     "body": json.dumps({"text": text})}, {"type": "log"}],
    }  # fmt: skip


def calling(name: str, trigger: dict[str, Any], port: int, *, body: str) -> dict[str, Any]:
    """Return an automation with one webhook action to a local sink."""
    action = {"type": "call-webhook", "url": f"http://127.0.0.1:{port}/", "body": body}
    return {"name": name, "trigger": trigger, "actions": [action]}


def job(number: int, dice: random.Random, **more: Any) -> dict[str, Any]:
    """Return an event of a job, of about 400 bytes."""
    labels = {"id": f"job/{number}", "env": "prod", "team": f"team-{number % 50}", "region": "eu-central"}
    return {
        "event": "job.failed",
        "resource": labels,
        "related": [{"id": f"flow/{number % 200}", "role": "flow"}, {"id": "queue/nightly", "role": "queue"}],
        "payload": {"attempt": 1, "duration_s": round(dice.random() * 900, 3), "host": f"worker-{number % 97}",
                    "message": "the table could not be read: connection reset by peer"},
        "occurred": datetime.now(UTC).isoformat(),
        **more,
    }  # fmt: skip


def jobs(automations: int, *, seed: int = 1, random_ids: bool = False) -> Iterator[dict[str, Any]]:
    """Return endless events: one in five is about the job of some automation, the others are about nobody's."""
    dice = random.Random(seed)
    for place in itertools.count():
        number = dice.randrange(automations) if place % TOUCH_EVERY == 0 else 1_000_000 + dice.randrange(5_000)
        more = {"id": str(uuid.UUID(int=dice.getrandbits(128), version=4))} if random_ids else {}
        yield job(number, dice, **more)


def batches(events: Iterator[dict[str, Any]], *, size: int = BATCH) -> Iterator[bytes]:
    """Return endless requests with so many events each."""
    while True:
        yield post("/api/events", json.dumps(list(itertools.islice(events, size))).encode())


def singles(events: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """Return endless requests with one event each."""
    for event in events:
        yield post("/api/events", json.dumps(event).encode())
