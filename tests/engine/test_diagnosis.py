"""What is wrong is said in words, with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.looks import NOW, behind, look, process
from tocsin.engine.diagnosis import diagnose
from tocsin.schemas.moments import HOUR, SECOND

FULL = "there is one for every shard already, so that more would not help: give them faster processors"
CUT_OFF = "see whether a process with the role api answers; no silence is judged meanwhile"
SPLIT = ("api", "evaluator", "dispatcher", "worker")


def without(role: str, *, bus: str | None = None) -> dict[str, Any]:
    return {"processes": tuple(process(one, one, bus=bus) for one in SPLIT if one != role)}


def wrong(*, shared: bool = True, **more: Any) -> list[str]:
    found = diagnose(look(**more), blind_after_us=10 * SECOND, shared=shared)
    return [one.finding for one in found if not one.ok]


def test_where_all_is_well_nothing_is_wrong() -> None:
    assert wrong() == []
    assert wrong(shared=False) == []


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (without("api"), "no process takes events: start `tocsin serve --roles api`"),
        (without("evaluator"), "no process judges: start `tocsin serve --roles evaluator`"),
        (without("dispatcher"), "no process dispatches: start `tocsin serve --roles dispatcher`"),
        (
            without("worker") | {"runs": {"pending": 2, "claimed": 0, "running": 0}},
            "2 runs wait, and no process works: start `tocsin serve --roles worker`",
        ),
        (
            without("recorder", bus="redis://r:6379"),
            "no process records what is in the bus: start `tocsin serve --roles recorder`",
        ),
        (
            {"processes": (process("a"), process("b", version="1.1.0"))},
            "2 versions run (1.0.0, 1.1.0): finish the upgrade",
        ),
        (behind(40), "the evaluator is 40s behind: start another `tocsin serve --roles evaluator`"),
        (
            behind(40) | {"processes": tuple(process(one) for one in "abcd")},
            f"evaluators are 40s behind: {FULL}",
        ),
        (behind(40, free=(1, 3)), "nobody judges the shards 1, 3 for 40s: does every evaluator answer?"),
        (
            {"received_us": NOW - 60 * SECOND, **behind(60)},
            f"nobody could take events for 1m: {CUT_OFF}",
        ),
        (
            {"due_us": NOW - 90 * SECOND, "intents": {"waiting": 7, "running": 1, "dead": 0}},
            "actions are 1m30s late (7 actions wait): start another dispatcher, see what fails",
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(more: dict[str, Any], says: str) -> None:
    assert says in wrong(**more)


def test_behind_a_bus_a_log_that_stands_still_is_the_recorders_matter() -> None:
    (said,) = wrong(received_us=NOW - 60 * SECOND, processes=(process(bus="redis://r:6379"),))
    assert said.startswith("recorders are 1m behind the bus")


def test_a_moment_that_is_late_counts_as_an_event_does_but_by_the_time_of_the_log() -> None:
    (said,) = wrong(next_us=NOW - 40 * SECOND)
    assert said.startswith("the evaluator is 40s behind")
    still: dict[str, Any] = {"received_us": NOW - 40 * SECOND, "next_us": NOW - 30 * SECOND}
    assert not any("behind" in said for said in wrong(**still))


@pytest.mark.parametrize("more", [behind(5), behind(5, free=(2,)), {"due_us": NOW - 2 * SECOND}, {"received_us": 0}])
def test_what_passes_by_itself_is_not_said(more: dict[str, Any]) -> None:
    assert wrong(**more) == []


def test_one_process_with_one_shard_is_not_told_to_start_another() -> None:
    (said,) = wrong(shared=False, **behind(40) | {"shards": behind(40)["shards"][:1]})
    assert said == "the evaluator is 40s behind: it has more to judge than it can: see what sends so much"


def test_what_deserves_a_look_is_a_note() -> None:
    found = diagnose(
        look(
            intents={"waiting": 0, "running": 0, "dead": 100_000}, refusals=2, paused=("nightly",),
            last_outage=(NOW - 2 * HOUR, NOW - HOUR),
        ),
        blind_after_us=10 * SECOND,
        shared=True,
    )  # fmt: skip
    assert all(one.ok for one in found)
    notes = [one.finding for one in found if one.what == "note"]
    assert [note.partition(":")[0] for note in notes][:3] == [
        "more than 100,000 actions failed for good", "2 entries of the bus were no events", "paused queues",
    ]  # fmt: skip
    assert notes[3].endswith("took 1h")
