"""Server processes that can be harmed: `python -m tests.faults.child` is the nursery that they are forked from.

It loads everything once; then each line on standard input, an `Order` as JSON, is a process, forked from here as
loading takes longer than many of them live. It says `loaded`, `begun NAME PID` and `ended NAME STATUS`. What is done to
a process is in `harm.py`; all of it replaces methods from outside: the server knows nothing of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
from dataclasses import asdict, dataclass, field
from typing import NoReturn

from tests.crash.child import die_with_parent, say
from tests.faults import harm
from tocsin.cli import main, serving


@dataclass(frozen=True)
class Order:
    """One process: its command line, its environment, the file for what it says, and what is done to it."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: str
    harms: dict[str, float] = field(default_factory=dict)

    def line(self) -> bytes:
        """Return the order as the nursery reads it."""
        return json.dumps(asdict(self)).encode() + b"\n"


def become(order: Order) -> NoReturn:
    """Be the process; ends with it."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    die_with_parent()
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    said = os.open(order.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(said, sys.stdout.fileno())
    os.dup2(said, sys.stderr.fileno())
    for name in [name for name in os.environ if name.startswith("TOCSIN_")]:
        del os.environ[name]
    os.environ.update(order.environment)
    sys.argv = ["tocsin", *order.command]
    status = 1
    try:
        harm.inflict(order.harms)
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        os._exit(status)


class Nursery:
    """Forks processes as ordered and says what becomes of them."""

    def __init__(self) -> None:
        """Hear of the ends of children beside the orders."""
        self._names: dict[int, str] = {}
        self._wake, wakes = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wakes, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def run(self) -> None:
        """Take orders until there are no more."""
        rest = b""
        while True:
            ready, _, _ = select.select([sys.stdin.fileno(), self._wake], [], [])
            if self._wake in ready:
                self._reap()
            if sys.stdin.fileno() in ready:
                data = os.read(sys.stdin.fileno(), 1 << 16)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._fork(Order(**json.loads(line)))

    def _fork(self, order: Order) -> None:
        if (pid := os.fork()) == 0:
            become(order)
        self._names[pid] = order.name
        say(f"begun {order.name} {pid}")

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake, 512):
                pass
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                say(f"ended {self._names.pop(found[0])} {os.waitstatus_to_exitcode(found[1])}")


if __name__ == "__main__":
    die_with_parent()
    serving._loop_factory()  # loads the last of what a server needs
    say("loaded")
    Nursery().run()
