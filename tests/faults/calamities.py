"""What can happen to a field, by kind; each ends by itself, with everything as before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from random import Random

from tests.faults.field import Field
from tests.faults.harm import set_skew
from tests.faults.plan import Calamity, Kind, Mode
from tests.faults.processes import Process
from tests.faults.proxy import Weather
from tests.faults.stores import Store
from tocsin.schemas.moments import HOUR, SECOND

BOUND_S = 2.0
"""Within so many seconds emitters fill the stream."""

STEPS_US = (-26 * HOUR, -2 * SECOND, 2 * SECOND, 26 * HOUR)


async def happen(calamity: Calamity, field: Field) -> None:
    """Wait until its time has come, and let it happen."""
    await asyncio.sleep(calamity.at_s)
    field.ends[calamity.kind] += 1
    await HAPPENINGS[calamity.kind](calamity, field)


def _victim(calamity: Calamity, field: Field) -> Process:
    return field.processes[calamity.of(list(field.processes))]


async def _kill(calamity: Calamity, field: Field) -> None:
    """Kill a process; it begins again after a while."""
    process = _victim(calamity, field)
    field.down.add(process.name)
    await field.host.kill(process)
    await asyncio.sleep(calamity.length_s)
    field.down.discard(process.name)


async def _freeze(calamity: Calamity, field: Field) -> None:
    """Have a process stand still."""
    await _stand_still([_victim(calamity, field)], calamity.length_s)


async def _blind(calamity: Calamity, field: Field) -> None:
    """Have everybody stand still who can take events."""
    receiving = "recorder" if field.plan.mode is Mode.BUS else "api"
    await _stand_still([*field.having(receiving), *field.having("api")], calamity.length_s)


async def _stand_still(processes: Iterable[Process], length_s: float) -> None:
    for process in processes:
        process.freeze()
    await asyncio.sleep(length_s)
    for process in processes:
        process.thaw()


async def _die(store: Store, length_s: float) -> None:
    await store.kill()
    await asyncio.sleep(length_s)
    await store.start()


async def _stop(store: Store, length_s: float) -> None:
    store.freeze()
    await asyncio.sleep(length_s)
    store.thaw()


async def _network(calamity: Calamity, field: Field) -> None:
    """Have one of a process's connections be bad; what was held then gets through, or is lost."""
    name = _victim(calamity, field).name
    own = sorted(kind for owner, kind in field.links if owner == name)
    random = Random(calamity.how)
    proxy = field.links[name, random.choice(own)]
    proxy.change(calamity.weather)
    await asyncio.sleep(calamity.length_s)
    if random.random() < 0.5:
        proxy.drop()
    proxy.change(Weather.CLEAR)


async def _clock(calamity: Calamity, field: Field) -> None:
    """Have a process's clock be set wrong; it stays so."""
    set_skew(field.skew_file(_victim(calamity, field).name), STEPS_US[int(calamity.how * len(STEPS_US))])


async def _bound(calamity: Calamity, field: Field) -> None:
    """Have the recorders stand still until the stream is full."""
    await _stand_still(field.having("recorder"), calamity.length_s + BOUND_S)


HAPPENINGS: dict[Kind, Callable[[Calamity, Field], Awaitable[None]]] = {
    Kind.KILL: _kill,
    Kind.FREEZE: _freeze,
    Kind.BLIND: _blind,
    Kind.DATABASE_DIES: lambda one, field: _die(field.stores.postgres, one.length_s),
    Kind.DATABASE_FREEZES: lambda one, field: _stop(field.stores.postgres, one.length_s),
    Kind.BUS_DIES: lambda one, field: _die(field.stores.redis, one.length_s),
    Kind.BUS_FREEZES: lambda one, field: _stop(field.stores.redis, one.length_s),
    Kind.NETWORK: _network,
    Kind.CLOCK: _clock,
    Kind.BOUND: _bound,
}
