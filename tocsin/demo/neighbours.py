"""What lives around the server in the demo: the services that its actions call, and the server process itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from tocsin.clock import SystemClock
from tocsin.schemas.moments import Micros

T = TypeVar("T")
PATIENCE_S = 15.0
"""How long anything that has to happen may take."""

_START_S = 30.0
_PAUSE_S = 0.02
_STOP_S = 10.0


class NotSeen(Exception):
    """Something that had to happen did not."""


def awaited(what: str, look: Callable[[], T | None]) -> T:
    """Look again and again until there is something to see, and return it.

    Raises:
        NotSeen: there was nothing after `PATIENCE_S`.
    """
    clock, pause = SystemClock(), threading.Event()
    give_up_s = clock.monotonic_s() + PATIENCE_S
    while clock.monotonic_s() < give_up_s:
        if seen := look():
            return seen
        pause.wait(_PAUSE_S)
    raise NotSeen(f"{what}: not seen within {PATIENCE_S:g} s")


@dataclass(frozen=True)
class Call:
    """A request that a neighbour received."""

    path: str
    headers: Mapping[str, str]
    raw: bytes
    received_us: Micros

    @property
    def body(self) -> Any:
        """What was sent, as data."""
        return json.loads(self.raw)


class Neighbours:
    """An HTTP server that takes whatever it is sent, and remembers it."""

    def __init__(self, server: ThreadingHTTPServer, calls: list[Call]) -> None:
        self._calls = calls
        self.port: int = server.server_address[1]

    def call(self, path: str, wanted: str = "") -> Call | None:
        """Return the first request to the path whose body contains the text, if there was one."""
        found = (one for one in list(self._calls) if one.path == path and wanted.encode() in one.raw)
        return next(found, None)

    def count(self, path: str) -> int:
        """Return how many requests the path got."""
        return sum(one.path == path for one in list(self._calls))


@contextmanager
def neighbours() -> Iterator[Neighbours]:
    """Run the services that actions call, on a free port of this machine."""
    calls: list[Call] = []
    clock = SystemClock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            calls.append(Call(self.path, headers, raw, clock.now_us()))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing: the story says what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": _PAUSE_S}, daemon=True)
    thread.start()
    try:
        yield Neighbours(server, calls)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Server:
    """A `tocsin serve` process."""

    def __init__(self, process: subprocess.Popen[str], greeting: str) -> None:
        self._process = process
        self.greeting = greeting
        self.url = next(word for word in greeting.split() if word.startswith("http://"))

    def stop(self) -> int:
        """Ask the process to end, and return its exit status."""
        self._process.terminate()
        return self._process.wait(_STOP_S)


@contextmanager
def server(folder: Path, secrets: Mapping[str, str]) -> Iterator[Server]:
    """Run `tocsin serve` on the definitions in the folder, with nothing of this shell's TOCSIN_ variables.

    Raises:
        NotSeen: it did not start; with what it said.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    env = {**inherited, **secrets, "TOCSIN_HOME": str(folder / "home")}
    command = [sys.executable, "-m", "tocsin", "serve", str(folder / "definitions.yaml"), "--port", "0"]
    log = folder / "server.log"
    with log.open("w") as errors:
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=errors, text=True)
    killer = threading.Timer(_START_S, process.kill)
    killer.start()
    try:
        assert process.stdout is not None
        greeting = process.stdout.readline().strip()
        killer.cancel()
        if not greeting:
            raise NotSeen(f"the server did not start\n{log.read_text(errors='replace')}")
        yield Server(process, greeting)
    finally:
        killer.cancel()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()
