"""Watching the definitions on disk: a change is applied without a restart, and a broken one changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from watchfiles import awatch

from tocsin.engine.entries import Changes
from tocsin.errors import InvalidInput, Overloaded, TocsinError, Unavailable
from tocsin.store.files import definition_files

log = logging.getLogger(__name__)

LOOK_MS = 5_000  # links that are switched underneath (a mounted config map) raise no notice: look anyway
AWAY_S = 1.0

_WRONG = "the definitions at %s are wrong, what runs is not changed: %s"
_NOT_NOW = "the definitions at %s can not be applied now, it is tried again: %s"

Signature = list[tuple[str, int, int]]
"""The files as they are: name, time of the last change and size of each."""


class Watcher:
    """Applies the files at `path` whenever they change. `problem` says what is wrong with them, until it is mended."""

    def __init__(self, path: Path, apply: Callable[[], Awaitable[Changes]], *, seen: Signature) -> None:
        """Keep what to watch and what to do; `seen` are the files as they were before those in force were read."""
        self._path = path
        self._folder = path if path.is_dir() else path.parent
        self._apply = apply
        self._seen: Signature | None = seen
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.problem = ""

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._watch(), name="definitions watcher")

    async def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._task is not None:
            await self._task

    async def look(self) -> None:
        """Apply the files if they are not what they were at the last look, or could not be applied then."""
        try:
            seen = await asyncio.to_thread(signature, self._path)
            if seen == self._seen:
                return
            self._seen = seen
            changes = await self._apply()
        except (Unavailable, Overloaded) as error:
            self._try_again(str(error))
        except OSError as error:  # the folder is there and can not be read
            self._try_again(f"it can not be read: {error.strerror or type(error).__name__}")
        except InvalidInput as error:
            self._complain("\n".join(map(str, error.problems)))
        except TocsinError as error:
            self._complain(str(error))
        else:
            if self.problem:
                log.info("the definitions at %s are right again", self._path)
            self.problem = ""
            if changes:
                log.info("definitions applied: %s", _sentence(changes))

    def _complain(self, problem: str) -> None:
        self.problem = problem
        log.error(_WRONG, self._path, "; ".join(problem.splitlines()))

    def _try_again(self, reason: str) -> None:
        """The next look tries it again, whether or not the files are edited until then; it is told once."""
        self._seen = None
        problem = _NOT_NOW % (self._path, reason)
        if problem != self.problem:
            log.error("%s", problem)
        self.problem = problem

    async def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                async for _ in awatch(
                    self._folder, stop_event=self._stop, recursive=False, debounce=200, rust_timeout=LOOK_MS,
                    yield_on_timeout=True,
                ):  # fmt: skip
                    await self.look()
            except OSError:  # the folder is not there: `look` says so, and it may come back
                await self.look()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), AWAY_S)


def signature(path: Path) -> Signature:
    """Return what tells whether the files at a definitions path have changed. Raises OSError."""
    found = []
    for file in definition_files(path):
        try:
            about = file.stat()
        except OSError:
            found.append((str(file), 0, 0))
        else:
            found.append((str(file), about.st_mtime_ns, about.st_size))
    return found


def _sentence(changes: Changes) -> str:
    parts = [f"{what} {', '.join(names[:5])}{' and more' if len(names) > 5 else ''}"
             for what, names in changes.document().items() if names]  # fmt: skip
    return "; ".join(parts)
