"""What is in force: changed one by one it is what loading anew gives, and what is undone is undone (laws O3, S4)."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.engine.live import Live, automation, evaluator_of, event, put_to_sleep
from tocsin.engine.in_force import InForce
from tocsin.errors import TocsinError
from tocsin.schemas.event import arrival
from tocsin.schemas.firing import Outcome
from tocsin.schemas.moments import MINUTE
from tocsin.schemas.scheduled import shard_of
from tocsin.store import definitions, log, states
from tocsin.store.definitions import Version
from tocsin.store.writer import Transaction

TRIGGERS: list[dict[str, Any]] = [
    {"expect": "a"},
    {"expect": "a", "match": {"id": "r1"}},
    {"expect": ["a", "b.*"], "for_each": ["id"], "threshold": 2, "within": "10s"},
    {"type": "absence", "expect": "a", "within": "10s"},
    {"type": "absence", "expect": "a", "within": "10s", "grace": "1s"},
    {"type": "absence", "expect": "b.c", "within": "10s", "for_each": ["id"], "subjects": ["r1", "r2"]},
    {"type": "deadline", "expect": "a", "due": "* * * * *"},
    {"type": "compound", "triggers": [{"expect": "a"}, {"expect": "b.c", "for_each": ["id"]}], "within": "1m"},
    {"type": "schedule", "every": "1m"},
]
FLOW = {"name": "nightly", "run": ["true"], "schedule": {"every": "1h"}}
EVENTS = [event("a", "r1"), event("a", "r2"), event("b.c", "r1"), event("c", "r3")]


def anew(live: Live, known: InForce) -> InForce:
    """Return what is in force as one who comes now finds it."""
    found = InForce(known.shard, lateness_us=MINUTE, settle_us=MINUTE)

    def load(connection: Any) -> None:
        at_seq = states.cursor_of(connection, known.shard).seq
        found.load(Transaction(connection, 0, []), at_seq)

    live.read(load)
    return found


def told(in_force: InForce) -> Any:
    """Return everything that can be told of what is in force."""
    judge = in_force.judge
    lives = {
        name: (one.active_seq, one.mode, one.severity, one.actions, one.actions_on_resolve)
        for name, one in in_force.automations.items()
    }
    plans = {name: (judge.arming(name), [spot.id for spot in judge.spots(name)]) for name in lives}
    seen = [arrival(one, seq=1_000_000, received_us=1) for one in EVENTS]
    return lives, plans, [sorted(judge._index.match(one)) for one in seen]


@pytest.mark.parametrize("seed", range(4))
async def test_s4_what_is_changed_one_by_one_is_what_loading_anew_gives(live: Live, seed: int) -> None:
    random = Random(seed)
    app = await live.start()
    for _ in range(25):
        name, kind = f"a{random.randrange(6)}", random.random()
        try:
            if kind < 0.6:
                more: dict[str, Any] = {"enabled": False} if random.random() < 0.2 else {}
                more |= {"severity": "high"} if random.random() < 0.3 else {}
                definition = automation(random.choice(TRIGGERS), name, **more)
                await app.definitions.put("automation", name, definition)
            elif kind < 0.75:
                await app.definitions.delete("automation", name)
            elif kind < 0.9:
                await (app.definitions.pause if random.random() < 0.5 else app.definitions.resume)("automation", name)
            else:
                await live.apply(flows=[FLOW] if random.random() < 0.5 else [])
        except TocsinError:
            continue  # there is none of that name
        live.clock.advance(1)
        await live.send(random.choice(EVENTS))
        await app.shards.settled()
        known = evaluator_of(app).in_force
        assert told(known) == told(anew(live, known))
    assert known.automations


async def test_what_is_in_force_already_is_not_loaded_again(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await live.start(automation({"expect": "a"}))
    await app.shards.settled()
    known = evaluator_of(app).in_force
    judge = known.judge
    head_seq = live.read(log.newest).seq
    await app.writer.run(lambda tx: known.load(tx, head_seq))
    assert known.judge is judge
    put_to_sleep(app, monkeypatch)
    await live.apply(automation({"expect": "b"}))
    await app.writer.run(lambda tx: known.load(tx, live.read(log.newest).seq))
    assert known.judge is not judge
    assert known.judge._index.match(arrival(event("b"), seq=1, received_us=1))


async def test_f2_a_switch_that_is_undone_leaves_what_was_in_force(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await live.start(automation({"expect": "a"}, "one"))
    await app.shards.settled()
    put_to_sleep(app, monkeypatch)
    known = evaluator_of(app).in_force
    judge, automations, before_seq = known.judge, known.automations, live.read(log.newest).seq
    await live.apply(automation({"expect": "b"}, "one"), automation({"expect": "a"}, "two"))
    middle_seq = live.read(log.newest).seq
    await live.apply(automation({"expect": "c"}, "one"))

    def switch_twice(tx: Transaction) -> None:
        for after_seq, to_seq in ((before_seq, middle_seq), (middle_seq, live.read(log.newest).seq)):
            known.switch(tx, after_seq=after_seq, to_seq=to_seq, at_us=tx.now_us, outages=())
        assert "two" not in known.judge
        assert known.judge._index.match(arrival(event("c"), seq=9, received_us=1))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await app.writer.run(switch_twice)
    assert known.judge is judge
    assert known.automations is automations


async def test_s5_a_definition_of_a_later_version_fails_by_itself(live: Live) -> None:
    """As when a newer server on the same database has stored it: everything else is judged."""
    app = await live.start(automation({"expect": "a"}, "good"))
    version = Version(
        "automation", "bad", "api", '{"name": "bad", "trigger": {"expect": "a", "mood": "blue"}}', 1, 1, 0, 0
    )
    await app.writer.run(lambda tx: definitions.add(tx.connection, [version]))
    await live.restart()
    await live.send(event("a"), event("b"), at_s=1)
    await live.settle()
    assert [firing.automation for firing in live.firings()] == ["good"]
    errors = [one for one in live.decisions() if one.outcome == Outcome.ERROR]
    assert {one.automation for one in errors} == {"bad"}
    assert "mood" in errors[0].text


def test_a_shard_is_the_same_for_good() -> None:
    assert [shard_of(name, 8) for name in ("nightly", "flow/nightly", "ä")] == [2, 7, 3]
    assert shard_of("nightly", 1) == 0
