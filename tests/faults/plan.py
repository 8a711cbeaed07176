"""What a seed chooses: which processes there are, and what happens to them when."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from tests.faults.harm import LEASE_S, POINTS
from tests.faults.proxy import Weather

CHAOS_S = 9.0
"""How long things go wrong."""

BLIND_AFTER_S = 3.0
LATENESS_S = 0.3
SETTLE_S = 0.5

ALL = ("api", "recorder", "evaluator", "dispatcher", "worker")
LAYOUTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "apart": (("api",), ("api",), ("recorder",), ("recorder",), ("evaluator",), ("evaluator",), ("dispatcher",),
              ("dispatcher",), ("worker",), ("worker",)),
    "paired": (("api", "recorder"), ("api", "recorder"), ("evaluator", "dispatcher"), ("evaluator", "dispatcher"),
               ("worker",), ("worker",)),
    "halves": (("api",), ("api",), ("recorder", "evaluator", "worker"), ("recorder", "evaluator", "worker"),
               ("dispatcher",), ("dispatcher",)),
    "alike": (ALL, ALL, ALL),
    "alone": (ALL,),
}  # fmt: skip


class Mode(StrEnum):
    """Whether events go straight to the log, or over the bus."""

    DIRECT = "direct"
    BUS = "bus"


HURTS = {
    ("no-claim", Mode.DIRECT): ("die:before-commit", 20),
    ("no-claim", Mode.BUS): ("die:before-commit", 20),
    ("no-fence", Mode.DIRECT): ("halt:before-commit", 20),
    ("no-fence", Mode.BUS): ("halt:before-commit", 20),
    ("early-acknowledgement", Mode.DIRECT): ("die:before-commit", 20),
    ("early-acknowledgement", Mode.BUS): ("die:before-recording", 4),
}
"""What happens to each life where a safety is taken away, the so-manieth time at most: that which it is there for."""

REGRESSIONS = ((3, Mode.DIRECT), (10, Mode.DIRECT), (17, Mode.DIRECT), (78, Mode.BUS), (402, Mode.DIRECT))
"""Seeds that have failed once, and are run before all others."""


class Kind(StrEnum):
    """What can happen."""

    KILL = "kill"
    FREEZE = "freeze"
    DATABASE_DIES = "database dies"
    DATABASE_FREEZES = "database freezes"
    BUS_DIES = "bus dies"
    BUS_FREEZES = "bus freezes"
    NETWORK = "network"
    CLOCK = "clock"
    BOUND = "bound"
    BLIND = "blind"


OFTEN = (Kind.KILL, Kind.KILL, Kind.KILL, Kind.FREEZE, Kind.FREEZE, Kind.NETWORK, Kind.NETWORK, Kind.NETWORK,
         Kind.CLOCK)  # fmt: skip
SELDOM = (Kind.DATABASE_DIES, Kind.DATABASE_FREEZES, Kind.BUS_DIES, Kind.BUS_FREEZES, Kind.BOUND, Kind.BLIND)
ON_A_BUS = (Kind.BUS_DIES, Kind.BUS_FREEZES, Kind.BOUND)


@dataclass(frozen=True)
class Calamity:
    """What happens `at_s` after the beginning, for `length_s`; `victim` and `how` choose whom and what way."""

    kind: Kind
    at_s: float
    length_s: float
    victim: float
    how: float

    def of(self, possible: Sequence[str]) -> str:
        """Return whom it befalls."""
        return possible[int(self.victim * len(possible))]

    @property
    def weather(self) -> Weather:
        """What becomes of the network."""
        bad = [one for one in Weather if one is not Weather.CLEAR]
        return bad[int(self.how * len(bad))]

    def __str__(self) -> str:
        """Say what happens, for people."""
        return f"{self.at_s:.1f}s {self.kind} {self.length_s:.1f}s"


@dataclass(frozen=True)
class Plan:
    """One ordeal: its seed, the mode, and which safety is taken away (`-`: none)."""

    seed: int
    mode: Mode = Mode.DIRECT
    control: str = "-"
    layout: str = ""
    chaos_s: float = CHAOS_S
    emitters: int = 4
    shards: int = field(init=False, default=4)

    @property
    def database(self) -> str:
        """The name of the database."""
        return f"ordeal_{self.seed}_{self.mode}"

    @property
    def layout_name(self) -> str:
        """Which processes there are."""
        return self.layout or self._random("layout").choice([name for name in LAYOUTS if name != "alone"])

    @property
    def roles(self) -> list[tuple[str, ...]]:
        """The roles of each process; a recorder is only where there is a bus."""
        layout = LAYOUTS[self.layout_name]
        if self.mode is Mode.BUS:
            return list(layout)
        without = [tuple(role for role in roles if role != "recorder") for roles in layout]
        return [roles for roles in without if roles]

    @property
    def settings(self) -> dict[str, str]:
        """The settings that all processes share."""
        return {
            "TOCSIN_LATENESS": f"{LATENESS_S}s", "TOCSIN_SETTLE": f"{SETTLE_S}s",
            "TOCSIN_BLIND_AFTER": f"{BLIND_AFTER_S}s", "TOCSIN_SHARDS": str(self.shards),
            "TOCSIN_LOG_LEVEL": "info",
        }  # fmt: skip

    def calamities(self) -> list[Calamity]:
        """Return what happens, in its order."""
        random = self._random("calamities")
        possible = [kind for kind in SELDOM if self.mode is Mode.BUS or kind not in ON_A_BUS]
        kinds = [*random.choices(OFTEN, k=random.randint(7, 14)), *random.sample(possible, random.randint(0, 2))]
        if self.control != "-":
            kinds = [Kind.FREEZE] * 5 if self.control == "no-fence" else [Kind.KILL] * 2
        made = [
            Calamity(kind, random.uniform(0.2, self.chaos_s - 0.5), _length_s(kind, random), random.random(),
                     random.random())
            for kind in kinds
        ]  # fmt: skip
        return sorted(made, key=lambda one: one.at_s)

    def lives(self, name: str) -> Iterator[dict[str, float]]:
        """Choose what is done to each life of a process from inside."""
        random = self._random(f"lives of {name}")
        while True:
            harms: dict[str, float] = {
                "seed": random.random(),
                "windows": 40.0,
                "halt_s": random.uniform(0.3, 1.8 * LEASE_S),
            }
            if self.control != "-":
                harm, most = HURTS[self.control, self.mode]
                harms |= {f"control:{self.control}": 1, harm: random.randint(1, most)}
                harms["halt_s"] = 1.8 * LEASE_S
            elif random.random() < 0.5:
                point, what = random.choice(list(POINTS)), random.choice(("die", "die", "halt"))
                harms[f"{what}:{point}"] = round(math.exp(random.uniform(0, math.log(60))))
            yield harms

    def last_life(self) -> dict[str, float]:
        """Return what is done to a life in which things come to rest."""
        return {} if self.control == "-" else {f"control:{self.control}": 1}

    def random(self, what: str) -> Random:
        """Return a randomness of its own for something."""
        return self._random(what)

    def _random(self, what: str) -> Random:
        return Random(f"{self.seed} {self.mode} {what}")


def _length_s(kind: Kind, random: Random) -> float:
    """Choose how long something lasts; what stands still does so for longer or shorter than the leases."""
    if kind is Kind.BLIND:
        return random.uniform(BLIND_AFTER_S + 0.5, BLIND_AFTER_S + 1.5)
    if kind in (Kind.FREEZE, Kind.NETWORK):
        return random.choice((0.3, 0.5 * LEASE_S, 1.8 * LEASE_S)) * random.uniform(0.6, 1.4)
    return random.uniform(0.1, 1.5)
