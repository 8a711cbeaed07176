"""Which notifications are sent as one: those of one channel about silence, given at one moment (law S2).

When an outage has settled, or when whoever sends for a thousand keys falls silent, people want to be told once. What
they asked to be told of an event by itself (verdict `fired`) is told by itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache

from tocsin.schemas.firing import Verdict
from tocsin.schemas.moments import Micros
from tocsin.store.intents import Order, intent_id

_KNOWN_SPECS = 2_000


def leaders(orders: Sequence[Order]) -> dict[str, str]:
    """Return, for each intent that is performed with another one, the id of that one: the first of its group.

    Alerts and resolves are not mixed.
    """
    first: dict[tuple[str, Micros, bool], str] = {}
    found: dict[str, str] = {}
    for order in orders:
        firing = order.firing
        if firing.verdict is Verdict.FIRED:
            continue
        for position, (kind, spec) in enumerate(order.actions):
            if kind == "send-notification":
                intent = intent_id(firing.id, position)
                group = (_channel(spec), firing.at_us, firing.verdict is Verdict.RESOLVED)
                leader = first.setdefault(group, intent)
                if leader != intent:
                    found[intent] = leader
    return found


@lru_cache(_KNOWN_SPECS)
def _channel(spec: str) -> str:
    return str(json.loads(spec)["channel"])
