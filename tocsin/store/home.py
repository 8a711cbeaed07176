"""Keeping others from a home and from a database of SQLite while one process has to be alone on them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tocsin.errors import HomeInUse

_FILE = "tocsin.db"  # of a home, unless another is named


@contextmanager
def locked(home: Path, *, file: str | None = None) -> Iterator[None]:
    """Hold a home against a second server, and the SQLite `file` that it is on, from whichever home that is served.

    The locks end with the process, however it ends.

    Raises:
        HomeInUse: another process holds one of them.
    """
    home.mkdir(parents=True, exist_ok=True)
    lock = home.resolve() / "lock"
    beside = lock if file is None else _lock_of(Path(file).resolve())
    with ExitStack() as stack:
        stack.enter_context(_held(lock, f"{home.absolute()}: stop it, or set TOCSIN_HOME"))
        if beside != lock and beside.parent.is_dir():  # or else SQLite says that it is not there
            stack.enter_context(_held(beside, f"{file}: stop it, or set TOCSIN_DATABASE"))
        yield


def _lock_of(file: Path) -> Path:
    """Return the lock of a home for the database of one, and else one of the file's own: others may lie beside it."""
    return file.with_name("lock" if file.name == _FILE else f"{file.name}.lock")


@contextmanager
def _held(path: Path, what: str) -> Iterator[None]:
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read(20).strip()
            who = f"process {owner}" if owner else "another process"
            raise HomeInUse(f"{who} already serves {what}") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
