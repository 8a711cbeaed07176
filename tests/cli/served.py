"""A real server process, and the commands that talk to it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from tests.cli.invoke import CLEAN, invoke

DEFINITIONS = """\
automations:
  - name: three-errors
    trigger: {expect: service.error, for_each: [service], threshold: 3, within: 10m}
    actions: [{type: pause-queue, queue: nightly}]
queues: [{name: nightly, concurrency: 1}]
flows: [{name: greet, command: [echo, hello]}]
"""
PATIENCE_S = 20


@dataclass
class Server:
    """A `tocsin serve` process, and commands against it."""

    process: subprocess.Popen[str]
    url: str
    folder: Path

    def run(self, *arguments: str, token: str = "", status: int = 0) -> str:
        done = invoke(*arguments, env={"TOCSIN_URL": self.url} | ({"TOCSIN_TOKEN": token} if token else {}))
        assert done.status == status, done.out + done.err
        return done.out if status == 0 else done.err

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(*arguments, "--json").splitlines()]

    def until(self, look: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Look until there is something to see."""
        pause = Event()
        for _ in range(200):
            if found := look():
                return found
            pause.wait(PATIENCE_S / 200)
        raise AssertionError("there was nothing to see")


def command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "tocsin", "serve", str(folder / "definitions.yaml")]


@contextmanager
def serving(folder: Path, *, definitions: str = DEFINITIONS, **more: str) -> Iterator[Server]:
    (folder / "definitions.yaml").write_text(definitions)
    env = CLEAN | {"TOCSIN_HOME": str(folder / "home")} | more
    log = (folder / "server.log").open("w")
    arguments = [*command(folder), "--port", "0"]
    process = subprocess.Popen(arguments, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        greeting = process.stdout.readline()
        assert " listens on http://127.0.0.1:" in greeting, (folder / "server.log").read_text()
        yield Server(process, next(word for word in greeting.split() if word.startswith("http")), folder)
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        process.stdout.close()
        log.close()
