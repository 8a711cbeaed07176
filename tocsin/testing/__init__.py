"""Public doubles: a clock that a test turns, and automations judged over events without a server.

    from tocsin.testing import simulate

    fired = simulate(automation, events, until="2026-01-01T10:05Z")
    assert [one.at for one in fired] == [...]

Nothing here starts a server, waits, or reads the machine's clock.
"""

from tocsin.testing.clock import ManualClock
from tocsin.testing.simulation import Fired, simulate

__all__ = ["Fired", "ManualClock", "simulate"]
