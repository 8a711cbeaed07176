"""How long is measured, and the rounds in which configurations alternate."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: rounds of so many seconds, on a log that has grown to so many events, in this folder.

    `scale` multiplies the numbers of keys, posts and automations. `profiled` is told the process to profile before a
    measurement, and returns what to call behind it.
    """

    folder: Path
    rounds: int = 5
    round_s: float = 3.0
    grown: int = 300_000
    scale: float = 1.0

    def many(self, count: int) -> int:
        """Return a number of things, scaled."""
        return max(10, int(count * self.scale))


async def alternate(
    effort: Effort, measurements: Mapping[str, Callable[[], Awaitable[float]]]
) -> dict[str, Sequence[float]]:
    """Measure everything in turn, round by round: a slow stretch of the machine meets all of them."""
    found: dict[str, list[float]] = {name: [] for name in measurements}
    for number in range(effort.rounds):
        names = list(measurements) if number % 2 == 0 else list(measurements)[::-1]
        for name in names:
            found[name].append(await measurements[name]())
    return {name: sorted(values) for name, values in found.items()}


def middle(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def span(values: Sequence[float]) -> tuple[float, float]:
    """Return the least and the most."""
    return min(values), max(values)


def at(values: Sequence[float], part: float) -> float:
    """Return a quantile: the least value that so large a part of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
