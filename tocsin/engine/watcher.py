"""Watching the definitions on disk: a change is applied without a restart, and a broken one changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from watchfiles import awatch

from tocsin.engine.entries import Changes
from tocsin.errors import InvalidInput, TocsinError
from tocsin.store.files import definition_files

log = logging.getLogger(__name__)

LOOK_MS = 5_000  # links that are switched underneath (a mounted config map) raise no notice: look anyway
AWAY_S = 1.0

Signature = list[tuple[str, int, int]]


class Watcher:
    """Applies the files at `path` whenever they change. `problem` says what is wrong with them, until it is mended."""

    def __init__(self, path: Path, apply: Callable[[], Awaitable[Changes]]) -> None:
        """Keep what to watch and what to do; the files are taken as applied now."""
        self._path = path
        self._folder = path if path.is_dir() else path.parent
        self._apply = apply
        self._seen = self._signature()
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
        """Apply the files if they are not what they were at the last look."""
        seen = await asyncio.to_thread(self._signature)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            changes = await self._apply()
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
        told = "; ".join(problem.splitlines())
        log.error("the definitions at %s are wrong, what runs is not changed: %s", self._path, told)

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

    def _signature(self) -> Signature:
        signature = []
        for file in definition_files(self._path):
            try:
                about = file.stat()
            except OSError:
                signature.append((str(file), 0, 0))
            else:
                signature.append((str(file), about.st_mtime_ns, about.st_size))
        return signature


def _sentence(changes: Changes) -> str:
    parts = [f"{what} {', '.join(names[:5])}{' and more' if len(names) > 5 else ''}"
             for what, names in changes.document().items() if names]  # fmt: skip
    return "; ".join(parts)
