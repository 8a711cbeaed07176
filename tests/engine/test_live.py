"""Live judgement is a function of the log: batches, restarts and outages change nothing (laws O1, S1, S2, F2).

Each history is sent to a server on a virtual clock, in requests of random size, with restarts in between; what it has
stored in the end is compared, firing by firing and decision by decision, with one run of the judge over its log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from random import Random

import pytest

from tests.engine.live import Live, automation, event
from tests.engine.requests import requests_of
from tests.model.histories import random_history, random_outages
from tests.servers import ON_POSTGRES
from tests.triggers.campaign import at_once
from tocsin.engine.own_events import DEFINITIONS_CHANGED
from tocsin.schemas.automation import Automation
from tocsin.schemas.event import Event
from tocsin.schemas.firing import Decision, Firing
from tocsin.schemas.moments import MINUTE, Micros, to_micros
from tocsin.store.log import outages_of
from tocsin.triggers.judge import Armed, Judge, Outage
from tocsin.triggers.simulate import Memory

BLIND_AFTER_S = 4
TICK_US = 2_500_000


class Story:
    """A random log, and automations of which the log suits the first."""

    def __init__(self, seed: int, *, outages: bool = False) -> None:
        self.random = Random(seed)
        first = random_history(seed, stored=seed % 3 == 0)
        self.gaps: Sequence[tuple[Micros, Micros]] = []
        log = first[1]
        if outages:
            log, gaps = random_outages(seed, first)
            self.gaps = [(to_micros(start), to_micros(end)) for start, end in gaps]
        triggers = [first[0], *(random_history(1000 + 7 * seed + more)[0] for more in range(5))]
        self.automations = [automation(trigger, f"a{number}") for number, trigger in enumerate(triggers)]
        self.armed_us, self.until_us = to_micros(first[2]), to_micros(first[3])
        received = [to_micros(datetime.fromisoformat(raw["received"])) for raw in log]
        self.log = sorted(zip(received, log, strict=True), key=lambda one: one[0])

    def requests(self) -> Iterator[tuple[Micros, list[Event]]]:
        """Return requests of random size: events of the same arrival, or fewer."""
        return requests_of([one for one in self.log if one[0] <= self.until_us], self.random)


def judged_at_once(live: Live, story: Story) -> tuple[list[Firing], list[Decision]]:
    """Judge the log of a server in one run, with automations that are armed where the server's were."""
    log = live.log()
    marker = next(placed for placed in log if placed.event.event == DEFINITIONS_CHANGED)
    specs = [Automation.model_validate(one) for one in story.automations]
    judge = Judge([Armed(one.name, one.trigger, marker.received_us, marker.seq) for one in specs])
    memory = Memory(judge)
    for one in specs:
        memory.arm(one.name)
        from_us = judge.priming(one.name)
        if from_us is not None:
            stored = [placed for placed in log if placed.seq < marker.seq and placed.received_us >= from_us]
            memory.run(stored, until_us=None, prime=one.name)
    outages = [Outage(start_us, end_us, end_us + MINUTE) for start_us, end_us in live.read(outages_of)]
    judgement = memory.run(log, until_us=story.until_us, outages=outages)
    return judgement.firings, judgement.decisions


async def play(live: Live, story: Story) -> None:
    """Send the log as it came; the server is asked to catch up now and then, and restarted."""
    random, live.clock = story.random, type(live.clock)(min(story.armed_us, story.log[0][0]))
    await live.start()
    defined = False
    for at_us, events in story.requests():
        if not defined and at_us >= story.armed_us:
            live.clock.set(story.armed_us)
            await live.apply(*story.automations)
            defined = True
        live.clock.set(at_us)
        if random.random() < 0.1:
            await live.restart()
        await live.app.recorder.record(events)
        if random.random() < 0.3:
            await live.app.shards.settled()
    live.clock.set(story.until_us + 1)
    await live.app.shards.settled()


@pytest.mark.parametrize("seed", range(18))
async def test_what_fires_does_not_depend_on_batches_and_restarts(live: Live, seed: int) -> None:
    story = Story(seed)
    await play(live, story)
    compare(live, story)


def compare(live: Live, story: Story) -> None:
    firings, decisions = judged_at_once(live, story)
    found, noted = live.firings(), [json.dumps(one) for one in live.decisions()]
    judged = [json.dumps(one) for one in decisions]
    missing = [one for one in firings if one not in found], [one for one in judged if one not in noted]
    wrong = [one for one in found if one not in firings], [one for one in noted if one not in judged]
    assert {"missing": missing, "wrong": wrong} == {"missing": ([], []), "wrong": ([], [])}
    assert (len(found), len(noted)) == (len(firings), len(judged))


@ON_POSTGRES
@pytest.mark.parametrize("seed", [3, 8, 11])
async def test_what_fires_does_not_depend_on_the_database_either(live: Live, seed: int) -> None:
    story = Story(seed)
    await play(live, story)
    compare(live, story)


async def play_with_outages(live: Live, story: Story) -> None:
    """Send the log second by second; in an outage the server is stopped, or suspended."""
    random, live.clock = story.random, type(live.clock)(min(story.armed_us, story.log[0][0]))
    live.settings["blind_after"] = f"{BLIND_AFTER_S}s"
    await live.start()
    defined = False
    waiting = list(story.requests())
    moments = {at_us for at_us, _ in waiting} | {moment for gap in story.gaps for moment in gap} | {story.armed_us}
    moments |= set(range(live.clock.now_us(), story.until_us, TICK_US))
    for at_us in sorted(moments):
        if any(start < at_us < end for start, end in story.gaps):
            continue
        live.clock.set(at_us)
        if not live.running:
            await live.start()
        if not defined and at_us >= story.armed_us:
            await live.apply(*story.automations)
            defined = True
        while waiting and waiting[0][0] == at_us:
            await live.app.recorder.record(waiting.pop(0)[1])
        await live.app.shards.settled()
        if any(start == at_us for start, _ in story.gaps) and random.random() < 0.6:
            await live.stop()
    live.clock.set(story.until_us + 1)
    await live.app.shards.settled()


@pytest.mark.parametrize(
    ("url", "seed"), [*(("sqlite", seed) for seed in range(8)), ("postgres", 2), ("postgres", 5)], indirect=["url"]
)
async def test_s2_outages_are_judged_live_as_they_are_when_looking_back(live: Live, seed: int) -> None:
    story = Story(500 + seed, outages=True)
    await play_with_outages(live, story)
    assert live.read(outages_of) == list(story.gaps)
    compare(live, story)


def test_the_stories_have_every_verdict_in_them() -> None:
    """The comparison would be worth little if nothing fired."""
    verdicts = {str(firing.verdict) for seed in range(100) for firing in at_once(random_history(seed)).firings}
    assert verdicts >= {"fired", "missed", "late", "resolved"}


async def test_for_each_keeps_its_order_in_the_store(live: Live) -> None:
    """Keys are ordered by the values of their names, as these were written (law C1)."""
    await live.start(automation({"expect": "a", "for_each": ["id", "env"]}))
    await live.send(event(resource="z"), at_s=1)
    await live.settle(2)
    assert [list(firing.labels) for firing in live.firings()] == [["id", "env"]]
