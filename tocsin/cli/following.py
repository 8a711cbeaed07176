"""Following what has no end: live events, and what a run writes."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable
from threading import Event
from typing import Any

import typer

from tocsin.cli.client import Client, segment
from tocsin.cli.output import printable
from tocsin.errors import Unavailable
from tocsin.schemas.run import ENDED

_LOOK_S = 0.5


def follow(client: Client, show: Callable[[dict[str, Any]], None], **parameters: Any) -> None:
    """Show events as they come in, until interrupted.

    Raises:
        Unavailable: the server ended the stream.
    """
    try:
        for item in client.stream("/api/events/stream", **parameters):
            show(item)
    except KeyboardInterrupt:
        raise typer.Exit from None
    raise Unavailable(f"the server at {client.url} has ended the stream: follow it again when it is back")


def print_log(client: Client, run: str, *, follow: bool) -> None:
    """Print what a run has written; with `follow` also what it writes, until it has ended or one is interrupted."""
    address, offset = f"/api/runs/{segment(run)}", 0
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    over = Event()  # never set: to wait for, not to be woken by
    try:
        while True:
            ended = not follow or client.get(address)["state"] in ENDED
            part, offset = client.part(f"{address}/logs", offset)
            sys.stdout.write(_shown(decoder.decode(part, final=ended and not part)))
            sys.stdout.flush()
            if not part and ended:
                return
            if not part:
                over.wait(_LOOK_S)
    except KeyboardInterrupt:
        raise typer.Exit from None


def _shown(text: str) -> str:
    """Return text with its lines and tabs as they are, and nothing else that could steer a terminal."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("\t".join(printable(cell) for cell in line.split("\t")) for line in lines)
