"""Recipes and examples do what the words around them say: each is judged over a small history."""

from __future__ import annotations

from typing import Any

import yaml

from tests.docs.blocks import DOCS, Block, blocks
from tocsin.testing import simulate

Sent = tuple[str, str, str, dict[str, Any]]
"""An event: the moment (UTC), its name, the resource's id, and perhaps `labels` and `payload`."""

Told = list[tuple[str, str, str]]
"""Firings: automation, verdict, and the moment (UTC)."""


def judged(definitions: str, *events: Sent, since: str, until: str) -> Told:
    """Judge `(moment, event, resource id, more)`, with moments of March 2026 in UTC such as `02T08:00`."""
    history = [
        {"event": name, "occurred": _moment(at), "resource": {"id": about} | more.get("labels", {}),
         "payload": more.get("payload", {})}
        for at, name, about, more in events
    ]  # fmt: skip
    fired = simulate(definitions, history, since=_moment(since), until=_moment(until))
    return [(one.automation, one.verdict, one.at.strftime("%dT%H:%M")) for one in fired]


def _moment(text: str) -> str:
    return f"2026-03-{text}:00Z"


def example(page: str, heading: str) -> str:
    """Return the first definitions below a heading; a trigger for itself becomes an automation."""
    text = (DOCS / page).read_text(encoding="utf-8")
    line = text.count("\n", 0, text.index(f"\n## {heading}\n")) + 2
    found: Block = next(one for one in blocks(DOCS / page) if one.line > line and one.language == "yaml")
    data = yaml.safe_load(found.text)
    return yaml.safe_dump({"automations": [{"name": "example", **data}]}) if "trigger" in data else found.text


def test_a_cron_job_that_fails_or_does_not_run_or_hangs_is_told() -> None:
    recipe = example("recipes.md", "A cron job")
    job = "checkin/backup"
    assert judged(
        recipe,
        ("02T01:00", "checkin.started", job, {}), ("02T02:00", "checkin.ok", job, {}),
        ("03T01:00", "checkin.started", job, {}), ("03T02:00", "checkin.failed", job, {}),
        ("04T01:10", "checkin.started", job, {}),
        since="02T00:00", until="04T12:00",
    ) == [
        ("backup-failed", "fired", "03T02:00"),
        ("backup-did-not-run", "missed", "03T03:00"),
        ("backup-did-not-run", "missed", "04T03:00"),
        ("backup-hangs", "missed", "04T03:10"),
    ]  # fmt: skip


def test_a_model_is_fresh_by_seven_or_told_and_its_failures_are_told_once() -> None:
    recipe = example("recipes.md", "dbt: every model fresh by seven")
    orders, customers = "model.shop.orders", "model.shop.customers"
    assert judged(
        recipe,
        ("02T05:30", "dbt.model.updated", orders, {}), ("02T05:31", "dbt.model.failed", customers, {}),
        ("02T05:50", "dbt.model.failed", customers, {}), ("02T07:00", "dbt.model.updated", customers, {}),
        since="02T00:00", until="02T12:00",
    ) == [
        ("model-failed", "fired", "02T05:31"),
        ("model-not-fresh", "missed", "02T06:15"),
        ("model-not-fresh", "resolved", "02T07:00"),
    ]  # fmt: skip


def test_a_task_is_told_when_it_runs_for_two_hours_and_tries_do_not_mix() -> None:
    recipe = example("recipes.md", "Airflow: a task that takes too long")
    first, second = {"labels": {"run": "1"}}, {"labels": {"run": "2"}}
    assert judged(
        recipe,
        ("02T01:00", "task.started", "dag/load", first), ("02T01:30", "task.started", "dag/load", second),
        ("02T02:30", "task.finished", "dag/load", second),
        since="02T00:00", until="02T12:00",
    ) == [("task-takes-too-long", "missed", "02T03:00")]  # fmt: skip


def test_a_workflow_of_main_is_told_and_so_is_a_night_without_one() -> None:
    recipe = example("recipes.md", "GitHub: a workflow of the main branch failed")
    run = {"repository": "acme/shop", "workflow": "nightly", "branch": "main"}
    name, about = "github.workflow_run.completed", "github/acme/shop/actions/runs/1"
    assert judged(
        recipe,
        ("02T02:00", name, about, {"labels": run | {"conclusion": "success"}}),
        ("03T02:00", name, about, {"labels": run | {"conclusion": "failure"}}),
        ("03T02:10", name, about, {"labels": run | {"conclusion": "failure", "branch": "feature"}}),
        since="02T00:00", until="03T12:00",
    ) == [("main-is-broken", "fired", "03T02:00"), ("nightly-build-did-not-run", "missed", "03T06:00")]  # fmt: skip


def test_tables_have_deadlines_of_their_own() -> None:
    recipe = example("recipes.md", "A deadline for each table")
    assert judged(
        recipe,
        ("02T06:00", "table.updated", "table/sales", {}), ("02T07:30", "table.updated", "table/orders", {}),
        ("02T10:00", "table.updated", "table/stock", {}),
        since="02T00:00", until="02T23:00",
    ) == [
        ("early-tables", "missed", "02T07:10"),
        ("early-tables", "resolved", "02T07:30"),
        ("other-tables", "missed", "02T11:10"),
    ]  # fmt: skip


def test_once_a_day_is_once_a_day() -> None:
    recipe = example("recipes.md", "Page me once a day at most")
    low: list[Sent] = [(f"{day:02}T{hour:02}:00", "disk.low", "web-1", {}) for day in (2, 3) for hour in (1, 2, 13)]
    told = [("disk-is-filling", "fired", "02T01:00"), ("disk-is-filling", "fired", "03T01:00")]
    assert judged(recipe, *low, since="02T00:00", until="03T23:00") == told


def test_a_queue_is_paused_after_three_failures_and_resumed_after_a_check() -> None:
    recipe = example("recipes.md", "Pause a queue after three failures")
    queue = {"labels": {"queue": "nightly"}}
    failures: list[Sent] = [(f"02T01:0{minute}", "flow-run.failed", f"flow-run/{minute}", queue) for minute in range(3)]
    assert judged(
        recipe, *failures, ("02T01:03", "queue.paused", "queue/nightly", queue),
        ("02T08:00", "manual.check.ok", "check/1", queue),
        since="02T00:00", until="02T12:00",
    ) == [("three-failures", "fired", "02T01:02"), ("working-again", "fired", "02T08:00")]  # fmt: skip


def test_an_order_that_is_cancelled_is_not_missed() -> None:
    recipe = example("recipes.md", "An order that is never confirmed")
    assert judged(
        recipe,
        ("02T08:00", "order.placed", "order/1", {}), ("02T08:00", "order.placed", "order/2", {}),
        ("02T08:30", "order.cancelled", "order/2", {}),
        since="02T00:00", until="02T12:00",
    ) == [("order-not-confirmed", "missed", "02T09:05")]  # fmt: skip


def test_a_failed_import_that_nobody_acknowledged_is_told_at_seven() -> None:
    schedule = (DOCS / "triggers" / "schedule.md").read_text()
    last = [one for one in blocks(DOCS / "triggers" / "schedule.md") if one.language == "yaml"][-1]
    assert "by seven" in schedule
    trigger = yaml.safe_dump({"automations": [{"name": "example", **yaml.safe_load(last.text)}]})
    failed: Sent = ("02T02:00", "import.failed", "import/1", {})
    seen: Sent = ("02T05:00", "import.acknowledged", "import/1", {})
    assert judged(trigger, failed, since="02T00:00", until="02T12:00") == [("example", "fired", "02T07:00")]
    assert judged(trigger, failed, seen, since="02T00:00", until="02T12:00") == []


def test_an_order_that_is_not_confirmed_within_the_hour_completes_the_sequence() -> None:
    trigger = example("triggers/composite.md", "Not")
    placed: list[Sent] = [("02T08:00", "order.placed", "order/1", {}), ("02T08:00", "order.placed", "order/2", {})]
    confirmed: Sent = ("02T08:20", "order.confirmed", "order/1", {})
    assert judged(trigger, *placed, confirmed, since="02T07:00", until="02T12:00") == [("example", "fired", "02T09:00")]
