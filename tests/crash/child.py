"""Servers that can be killed at a chosen point, or that cheat: `python -m tests.crash.child serve ...`.

It loads everything once; then each line on standard input, `FAULT COUNT CHEAT` (`-` for none), is a server, forked
from here as loading takes longer than most of them live. A fault kills the server the COUNT-th time that it comes to
that point. A cheat breaks a promise, for the account to find out. Both replace methods of the parts from outside: the
server knows nothing of them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable
from functools import wraps
from itertools import count
from typing import Any, NoReturn

from sqlalchemy import Connection, Engine, event

from tocsin.cli import main, serving
from tocsin.engine.outcomes import Outcomes
from tocsin.engine.performer import Performer
from tocsin.engine.verdicts import Verdicts
from tocsin.store import log, states
from tocsin.store.writer import Writer

PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>."""

EVERY = 9
"""`commit-off` undoes one commit of so many."""

APART_S = 0.2
"""How much later than the cursor `firings-apart` stores firings."""


def at_commit(act: Callable[[Connection], None]) -> None:
    """Call `act` in the writer's thread, right before each COMMIT."""

    def hear(connection: Connection) -> None:
        if threading.current_thread().name == "tocsin-writer":
            act(connection)

    event.listen(Engine, "commit", hear)


def before(owner: type, method: str, act: Callable[[], None]) -> None:
    """Call `act` before each call of a method."""
    original = getattr(owner, method)

    @wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        act()
        return original(*args, **kwargs)

    setattr(owner, method, wrapped)


# Faults: where the process is killed

FAULTS: dict[str, Callable[[Callable[[], None]], None]] = {
    "before-commit": lambda die: at_commit(lambda _: die()),
    "before-answer": lambda die: before(Writer, "_answer", die),  # that is: between commit and answer
    "before-effect": lambda die: before(Performer, "perform", die),
    "after-effect": lambda die: before(Outcomes, "put", die),  # that is: before its record
    "before-own-effect": lambda die: before(Outcomes, "perform", die),
    "between-units": lambda die: before(Writer, "_now_us", die),  # that is: in the middle of a group
}


def arm(fault: str, after: int) -> None:
    """Have the process killed the `after`-th time that it comes to the fault's place."""
    times = count(1)

    def die() -> None:
        if next(times) == after:
            os.kill(os.getpid(), signal.SIGKILL)

    FAULTS[fault](die)


# Cheats: what the account has to find out


def commit_off() -> None:
    """Undo groups, and say that they are durable."""
    groups = count(1)

    def undo(connection: Connection) -> None:
        if next(groups) % EVERY == 0:
            connection.exec_driver_sql("ROLLBACK")

    at_commit(undo)


def cursor_off() -> None:
    """Keep what was judged, and not how far it was judged."""
    states.move_cursor = lambda *_, **__: None


def firings_apart() -> None:
    """Store firings in a transaction of their own, behind the one that moves the cursor."""
    writers: list[Writer] = []
    original, start = Verdicts.store, Writer.start

    def starting(self: Writer) -> None:
        writers.append(self)
        start(self)

    def store(self: Verdicts, tx: Any, *args: Any, **kwargs: Any) -> None:
        later = threading.Timer(APART_S, writers[0].submit, [lambda tx: original(self, tx, *args, **kwargs)])
        later.daemon = True
        later.start()

    Writer.start = starting  # type: ignore[method-assign]
    Verdicts.store = store  # type: ignore[method-assign]


def keys_anew() -> None:
    """Perform each attempt under a key of its own."""
    original = Performer._call

    def call(self: Performer, *args: Any, **kwargs: Any) -> Any:
        made = original(self, *args, **kwargs)
        made.key = str(uuid.uuid4())
        return made

    Performer._call = call  # type: ignore[method-assign]


def identities_off() -> None:
    """Take every event for a new one."""
    original = log._unknown

    def unknown(connection: Connection, arrivals: Any) -> Any:
        original(connection, arrivals)
        return arrivals

    log._unknown = unknown


CHEATS = {
    "commit-off": commit_off,
    "cursor-off": cursor_off,
    "firings-apart": firings_apart,
    "keys-anew": keys_anew,
    "identities-off": identities_off,
}


def become(fault: str, after: int, cheat: str) -> NoReturn:
    """Be the server; ends with the process."""
    die_with_parent()
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    if cheat in CHEATS:
        CHEATS[cheat]()
    if fault in FAULTS:
        arm(fault, after)
    try:
        main()
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)


def die_with_parent() -> None:
    """Have this process killed when its parent ends, however it ends (Linux; elsewhere the harness cleans up)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def say(what: str) -> None:
    """Tell the harness."""
    print(what, flush=True)  # noqa: T201 - it listens at the other end of the pipe


if __name__ == "__main__":
    die_with_parent()
    serving._loop_factory()  # loads the last of what a server needs
    say("loaded")
    for order in iter(sys.stdin.readline, ""):
        chosen, times, cheating = order.split()
        if (pid := os.fork()) == 0:
            become(chosen, int(times), cheating)
        say(f"begun {pid}")
        say(f"ended {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}")
