"""An ordeal: a server lives many short lives under load, rests in the last one, and ends gracefully."""

from __future__ import annotations

import asyncio
import math
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random

from tests.crash.child import CHEATS, FAULTS
from tests.crash.lives import Doom, Home, Lives, lives
from tests.crash.records import is_at_rest
from tests.crash.senders import Sent, Whereabouts, at_work, senders
from tests.engine.sink import Sink, serving
from tocsin.store.database import Database

SENDERS = 4
ANSWER_S = 30.0
REST_S = 30.0
LOOK_S = 0.1
LATENESS_S = 0.3
SETTLE_S = 0.5
BLIND_AFTER_S = 3.0
LONG_S = 3.5
"""How long the server is away when it is away long: an outage by law S2."""


EARLY, LATE = "early", "late"
"""Kills from outside: while the server starts, and when it listens."""


class EndedByItself(Exception):
    """A server ended that nobody killed; with what it said."""


@dataclass(frozen=True)
class Plan:
    """How often the server is killed, by which seed, and whether it cheats.

    After the last kill it has `rest_s` to come to rest. `outages` is the part of restarts that take long; with none,
    even a restart that happens to take long is no outage. `faults` are those that are chosen from. `database` is the
    URL of another database than SQLite.
    """

    kills: int
    seed: int
    cheat: str = "-"
    rest_s: float = REST_S
    outages: float = 0.0
    faults: Sequence[str] = (LATE, LATE, EARLY, *FAULTS)
    database: str = ""

    @property
    def settings(self) -> dict[str, str]:
        """The settings of the server."""
        blind_after = f"{BLIND_AFTER_S}" if self.outages else "1h"
        database = {"TOCSIN_DATABASE": self.database} if self.database else {}
        judging = {"TOCSIN_LATENESS": str(LATENESS_S), "TOCSIN_SETTLE": str(SETTLE_S)}
        return {**judging, "TOCSIN_BLIND_AFTER": blind_after, **database}


@dataclass
class Ordeal:
    """What happened, seen from outside."""

    plan: Plan
    home: Home
    sent: Sent = field(default_factory=Sent)
    delivered: list[tuple[str, bytes]] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    unanswered: list[str] = field(default_factory=list)
    exit_status: int | None = None
    rested: bool = False

    @property
    def ran(self) -> Path:
        """The file in which runs leave their ids."""
        return self.home.folder / "ran"


def dooms(plan: Plan, random: Random) -> Iterator[Doom]:
    """Choose how the lives end: all faults in turn, in an order that changes."""
    while True:
        for fault in random.sample(plan.faults, len(plan.faults)):
            if fault in FAULTS:
                most = 40 if "effect" in fault else 200
                yield Doom(fault, round(math.exp(random.uniform(0, math.log(most)))), cheat=plan.cheat)
            else:
                yield Doom(wait_s=random.uniform(0.02, 1.5), early=fault == EARLY, cheat=plan.cheat)


async def suffer(plan: Plan, folder: Path, *, tell: Callable[[int], None] = lambda number: None) -> Ordeal:
    """Let a server live and die as planned; return what was seen. `tell` hears of each kill.

    Raises:
        EndedByItself: a server ended before it was killed, without a cheat.
        Stuck: a server neither got on nor ended.
    """
    ordeal = Ordeal(plan, Home(folder, plan.settings))
    random, where = Random(plan.seed), Whereabouts()
    async with serving() as sink, lives(ordeal.home, where.say) as server:
        _define(ordeal, sink)
        crowd = list(senders(SENDERS, random, where=where, sent=ordeal.sent))
        async with at_work(crowd, finish_s=ANSWER_S) as ordeal.unanswered:
            for number, doom in enumerate(islice(dooms(plan, random), plan.kills)):
                await _live(ordeal, server, doom)
                if random.random() < plan.outages:
                    await asyncio.sleep(LONG_S)
                tell(number + 1)
            await server.begin(Doom(cheat=plan.cheat))
        ordeal.rested = await _rest(ordeal)
        ordeal.exit_status = await server.stop()
        ordeal.delivered = list(sink.seen)
    return ordeal


def _define(ordeal: Ordeal, sink: Sink) -> None:
    text = (Path(__file__).parent / "definitions.yaml").read_text()
    text = text.replace("SINK", sink.url).replace("RAN", str(ordeal.ran))
    (ordeal.home.folder / "definitions.yaml").write_text(text)


async def _live(ordeal: Ordeal, server: Lives, end: Doom) -> None:
    """Let a server live until its fault, or its time, has come."""
    await server.begin(end)
    if not end.early:
        await server.listens()
    by_itself = await server.ends(end.wait_s)
    listened = await server.kill()
    if by_itself and server.status != -signal.SIGKILL and end.cheat not in CHEATS:
        raise EndedByItself(f"status {server.status}\n{ordeal.home.log.read_text()[-2_000:]}")
    how = end.fault if by_itself else "from outside"
    ordeal.ends[how if listened else f"{how}, while it started"] += 1


async def _rest(ordeal: Ordeal) -> bool:
    """Wait until nothing is left to be judged or done; return whether that came."""
    database = Database(ordeal.home.database)
    try:
        async with asyncio.timeout(ordeal.plan.rest_s):
            while not await asyncio.to_thread(database.read, is_at_rest):  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        return False
    finally:
        database.close()
    return True
