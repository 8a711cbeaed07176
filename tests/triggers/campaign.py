"""The judge against the brute-force model, over as many random histories as wanted.

    nice python -m tests.triggers.campaign --seeds 100000        all there is, in about an hour
    python -m tests.triggers.campaign --first 502804 --seeds 1 --kinds P2 --outages        one history

Each history is judged at once, and again in random batches with all states written and read back in between, as after
restarts. Prints each history on which the model, or one of the two, says something else, with as few events as show it.

Of every four seeds one has outages (law S2), one has events that were stored before T0 (law O3), one has both, and one
has neither; `--outages`, `--stored` or `--plain` give all of them the same.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from random import Random
from typing import Any

from tests.model import judge as model
from tests.model.histories import KINDS, History, random_history, random_outages
from tests.triggers.scenario import NAME, Row, armed, comparable, read_log, rows
from tocsin.schemas.event import Arrival
from tocsin.schemas.moments import MINUTE, Micros, iso, to_micros
from tocsin.triggers.judge import Judge, Judgement
from tocsin.triggers.machine import Outage
from tocsin.triggers.simulate import Memory

Gaps = Sequence[tuple[datetime, datetime]]
ROWS = 6
"""How many rows of a disagreement are printed."""


def gaps_as_outages(gaps: Gaps) -> list[Outage]:
    """Return the model's outages as the judge takes them, each with a minute to settle."""
    return [Outage(to_micros(start), to_micros(end), to_micros(end) + MINUTE) for start, end in gaps]


def prepared(history: History, gaps: Gaps = ()) -> tuple[Memory, list[Arrival], Micros]:
    """Return a shell with the history's automation armed and primed, the arrivals to judge, and the last moment."""
    trigger, log, armed_at, until = history
    arrivals = read_log(log)
    armed_us, until_us = to_micros(armed_at), to_micros(until)
    stored = [one for one in arrivals if one.received_us < armed_us]
    seq = stored[-1].seq if stored else -1
    memory = Memory(Judge([armed(trigger, armed_us, armed_seq=seq)]))
    memory.arm(NAME)
    from_us = memory.judge.priming(NAME)
    if from_us is not None:
        memory.run([one for one in stored if one.received_us >= from_us], until_us=None, prime=NAME)
    live = [one for one in arrivals if armed_us <= one.received_us <= until_us]
    return memory, live, until_us


def at_once(history: History, gaps: Gaps = ()) -> Judgement:
    """Judge a history in one batch."""
    memory, arrivals, until_us = prepared(history)
    return memory.run(arrivals, until_us=until_us, outages=gaps_as_outages(gaps))


def in_batches(history: History, random: Random, gaps: Gaps = ()) -> Iterator[Judgement]:
    """Judge a history in batches of random size, with moments between some, reading all states back before each."""
    memory, arrivals, until_us = prepared(history)
    outages = gaps_as_outages(gaps)
    while arrivals:
        size = random.randint(1, 4)
        batch, arrivals = arrivals[:size], arrivals[size:]
        last_us = batch[-1].received_us
        horizon = last_us if arrivals and arrivals[0].received_us > last_us and random.random() < 0.5 else None
        yield memory.run(batch, until_us=horizon, outages=outages)
        restart(memory)
    yield memory.run([], until_us=until_us, outages=outages)


def restart(memory: Memory) -> None:
    """Write all states and read them back."""
    for key, state in list(memory.states.items()):
        again = memory.judge.decode(key, state.encode())
        assert again is not None
        assert again.encode() == state.encode(), key
        before, after = memory.judge.describe(key, state), memory.judge.describe(key, again)
        same = (again.wake_us, again.idle_since_us, after) == (state.wake_us, state.idle_since_us, before)
        assert same, (before, after)
        memory.states[key] = again


def by_model(history: History, gaps: Gaps = ()) -> list[Row]:
    """Return what the model says."""
    trigger, log, armed_at, until = history
    return comparable(model(trigger, log, armed_at, until=until, outages=gaps))


def disagreement(history: History, random: Random, gaps: Gaps = ()) -> dict[str, Any] | None:
    """Judge a history in all ways; return what differs, or None."""
    return compared(history, random, gaps, whole=at_once(history, gaps))


def compared(history: History, random: Random, gaps: Gaps, *, whole: Judgement) -> dict[str, Any] | None:
    """Compare how a history was judged at once with the other ways; return what differs, or None."""
    arrivals = read_log(history[1])
    wanted = by_model(history, gaps)
    try:
        parts = list(in_batches(history, random, gaps))
    except AssertionError as error:
        return {"not the same after a restart": [str(error)[:2000]]}
    found = rows(whole.firings, arrivals)
    assert len({firing.id for firing in whole.firings}) == len(whole.firings), "an id was given twice (law F1)"
    if found != wanted:
        return {
            "missing": [row for row in wanted if row not in found],
            "wrong": [row for row in found if row not in wanted],
        }
    firings = [firing for part in parts for firing in part.firings]
    if firings != whole.firings:
        return first_difference(whole.firings, firings)
    said = [
        [f"{iso(one.at_us)} {one.outcome} {one.labels} {one.seq} {one.text}" for one in decisions]
        for decisions in (whole.decisions, [decision for part in parts for decision in part.decisions])
    ]
    return None if said[0] == said[1] else first_difference(*said)


def first_difference(whole: Sequence[object], parts: Sequence[object]) -> dict[str, Any]:
    """Return where two lists begin to differ."""
    place = next(place for place, (one, other) in enumerate(zip_longest(whole, parts)) if one != other)
    return {"at once": whole[place : place + 1], "in batches": parts[place : place + 1]}


def shrunk(history: History, seed: int, gaps: Gaps) -> History:
    """Leave out events for as long as a disagreement stays."""
    trigger, log, armed_at, until = history
    place = 1
    while place < len(log):
        shorter = (trigger, log[:place] + log[place + 1 :], armed_at, until)
        if disagreement(shorter, Random(seed), gaps) is None:
            place += 1
        else:
            log = shorter[1]
    return trigger, log, armed_at, until


def told(history: History, gaps: Gaps) -> str:
    """Return a history in a few lines, with times in seconds from T0."""
    trigger, log, armed_at, until = history

    def seconds(moment: Any) -> float:
        at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        return (at - armed_at) / timedelta(seconds=1)

    lines = [json.dumps(trigger), f"T0 {armed_at} until {seconds(until):g}"]
    lines += [f"outage {seconds(start):g} to {seconds(end):g}" for start, end in gaps]
    for raw in sorted(log, key=lambda raw: datetime.fromisoformat(raw["received"])):
        occurred = raw.get("occurred", raw["received"])
        late = "" if occurred == raw["received"] else f" received {seconds(raw['received']):g}"
        more = {name: raw[name] for name in raw if name not in ("event", "occurred", "received", "id")}
        lines.append(f"  {raw['id'][-3:]} {raw['event']} {seconds(occurred):g}{late} {json.dumps(more)}")
    return "\n".join(lines)


def made(seed: int, options: argparse.Namespace) -> tuple[History, Gaps]:
    """Return the history of a seed, and its outages."""
    outages, stored = bool(seed & 1), bool(seed & 2)
    if options.outages or options.stored or options.plain:
        outages, stored = options.outages, options.stored
    history: History = random_history(seed, options.kinds, stored=stored)
    if not outages:
        return history, ()
    log, gaps = random_outages(seed, history)
    return (history[0], log, history[2], history[3]), gaps


def report(seed: int, history: History, gaps: Gaps) -> str:
    """Return a disagreement with as few events as show it."""
    history = shrunk(history, seed, gaps)
    differs = disagreement(history, Random(seed), gaps) or {}
    lines = [f"seed {seed}", told(history, gaps)]
    lines += [f"  {name}:\n    " + "\n    ".join(map(str, found[:ROWS])) for name, found in differs.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run a campaign."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), help=", ".join(KINDS))
    parser.add_argument("--outages", action="store_true")
    parser.add_argument("--stored", action="store_true")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--stop", type=int, default=3, help="after so many disagreements")
    options = parser.parse_args()
    failed = fired = 0
    for seed in range(options.first, options.first + options.seeds):
        history, gaps = made(seed, options)
        whole = at_once(history, gaps)
        fired += bool(whole.firings)
        if compared(history, Random(seed), gaps, whole=whole) is not None:
            failed += 1
            sys.stdout.write(report(seed, history, gaps))
            if failed >= options.stop:
                break
        if (seed + 1 - options.first) % 10_000 == 0:
            sys.stdout.write(f"{seed + 1 - options.first:,} histories, {failed} disagreements\n")
            sys.stdout.flush()
    count = seed + 1 - options.first
    sys.stdout.write(f"{count:,} histories, something fired in {fired:,} of them; {failed} disagreements\n")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
