"""One attempt of a run: a process that waits behind a gate, then runs, is watched, and ends with its session.

The gate is a shell that waits for a line on standard input and then becomes the command. It opens after the process
was recorded; when the server dies before, the line never comes and the command never begins. So an attempt that may
have begun is always on record, and one that is not on record has not begun.

Starting a process and reading its output block, so each attempt has a thread; the event loop only waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import subprocess
import threading
from concurrent.futures import Future
from typing import IO

from tocsin.flows.launch import Launch
from tocsin.flows.output import Output
from tocsin.flows.processes import Process, end, identify, session

_GATE = ["/bin/sh", "-c", 'IFS= read -r go && exec "$@"', "tocsin-run"]
_CHUNK = 64 << 10
_LATE_CHUNKS = 64  # how much is still read when the run is over and something that escaped goes on writing
_POLL_MS = 100
_CLOSE_S = 5.0


class Attempt:
    """The process of one attempt. Use: `spawn`, then `open_gate` or `refuse`, then `ended`, then `close`."""

    def __init__(self, launch: Launch, output: Output) -> None:
        """Prepare the attempt; nothing is started yet."""
        self._launch = launch
        self._output = output
        self._spawned: Future[Process] = Future()
        self._ended: Future[int] = Future()
        self._closed: Future[None] = Future()
        self._over = threading.Event()
        self._stdin: IO[bytes] | None = None
        self.pid = 0

    async def spawn(self) -> Process:
        """Start the process behind its gate.

        Raises:
            OSError: the machine does not start a process now.
        """
        try:
            threading.Thread(target=self._supervise, name="tocsin-run", daemon=True).start()
        except RuntimeError as error:
            raise OSError(f"no thread can be started: {error}") from error
        return await asyncio.shield(asyncio.wrap_future(self._spawned))

    def open_gate(self) -> None:
        """Let the command begin."""
        self._answer(b"\n")

    def refuse(self) -> None:
        """Have the process end without having begun."""
        self._answer(b"")

    async def ended(self) -> int:
        """Wait until the process has ended; return its exit status, negative for a signal."""
        return await asyncio.shield(asyncio.wrap_future(self._ended))

    async def end(self, *, grace_s: float) -> None:
        """End the process and all of its session."""
        await end(self._session, grace_s=grace_s)

    async def close(self, *, grace_s: float) -> None:
        """End what the process has left behind in its session, and complete its output."""
        await end(self._session, grace_s=grace_s)
        self._over.set()
        # A process that not even SIGKILL ends (it hangs in the kernel) must not hold up the server.
        await asyncio.wait({asyncio.wrap_future(self._closed)}, timeout=_CLOSE_S)

    def _session(self) -> list[int]:
        return session(self.pid)

    def _answer(self, line: bytes) -> None:
        if self._stdin is not None:
            with contextlib.suppress(BrokenPipeError), self._stdin as gate:
                gate.write(line)

    def _supervise(self) -> None:
        try:
            with self._start() as process:
                assert process.stdout is not None
                self._read(process, process.stdout.fileno())
                self._ended.set_result(process.wait())
                self._read_rest(process.stdout.fileno())
        except (OSError, ValueError) as error:
            for future in (self._spawned, self._ended):
                if not future.done():
                    future.set_exception(error)
        finally:
            self._output.close()
            self._closed.set_result(None)

    def _start(self) -> subprocess.Popen[bytes]:
        launch = self._launch
        process = subprocess.Popen(
            [*_GATE, *launch.command], cwd=launch.folder, env=launch.environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, bufsize=0,
        )  # fmt: skip
        name = identify(process.pid)  # it is alive: it waits at the gate
        if name is None:
            process.kill()
            raise ChildProcessError("the process ended before it began")
        self._stdin, self.pid = process.stdin, process.pid
        self._spawned.set_result(name)
        return process

    def _read(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        """Read until the end of the output, or of the process when something that it started holds the output open."""
        ready = select.poll()
        ready.register(descriptor, select.POLLIN)
        while process.poll() is None:
            if ready.poll(_POLL_MS):
                data = os.read(descriptor, _CHUNK)
                if not data:
                    return
                self._output.feed(data)

    def _read_rest(self, descriptor: int) -> None:
        ready = select.poll()
        ready.register(descriptor, select.POLLIN)
        late = 0
        while late < _LATE_CHUNKS:
            if ready.poll(0 if self._over.is_set() else _POLL_MS):
                data = os.read(descriptor, _CHUNK)
                if not data:
                    return
                self._output.feed(data)
                late += self._over.is_set()
            elif self._over.is_set():
                return
