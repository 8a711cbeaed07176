"""`tocsin serve`, `tocsin status`, `tocsin doctor`: run the engine, and ask how it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tocsin.cli import options
from tocsin.errors import Unavailable

commands = typer.Typer()
_PATH = typer.Argument(help="A definitions file, or a folder of them.", show_default=False)


@commands.command()
def serve(
    path: Annotated[Path | None, _PATH] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (127.0.0.1).", show_default=False)] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on (8710); 0 takes a free one.", show_default=False)
    ] = None,
    db: Annotated[str | None, typer.Option(help="Database URL (SQLite in TOCSIN_HOME).", show_default=False)] = None,
    bus: Annotated[str | None, typer.Option(help="Bus URL: redis://HOST:PORT/DB.", show_default=False)] = None,
    roles: Annotated[
        str | None,
        typer.Option(help="What this process does: api,recorder,evaluator,dispatcher,worker.", show_default="all"),
    ] = None,
) -> None:
    """Run the engine: take events, judge them, act. SIGTERM or Ctrl-C stop it gracefully."""
    from tocsin.cli.configuration import read_settings
    from tocsin.cli.serving import serve as run

    run(read_settings(host=host, port=port, database=db, bus=bus, roles=roles), path)


@commands.command()
def status(json: options.Json = False) -> None:
    """Say what is wrong now: open misses, failing actions, lag. Exit status 1 when the server is not ready."""
    from tocsin.cli import output
    from tocsin.cli.client import Client
    from tocsin.cli.firings import FIRING_COLUMNS, firing_row

    with Client() as client:
        ready = _readiness(client)
        misses = list(client.items("/api/firings", 100, state="open"))
        dead = list(client.items("/api/actions", 100, state="dead"))
        paused = [one["name"] for one in client.items("/api/queues", None) if one.get("paused")]
    if json:
        output.json_line({"readiness": ready, "open": misses, "dead": dead, "paused_queues": paused})
    else:
        output.document({"server": client.url, **ready})
        if misses:
            output.heading(f"open misses ({len(misses)})")
            output.table(FIRING_COLUMNS, map(firing_row, misses))
        if dead:
            output.heading(f"actions that failed for good ({len(dead)})")
            rows = ((output.local(one["ended"]), one["automation"], one["type"], one["id"]) for one in dead)
            output.table(("ended", "automation", "type", "id"), rows)
        if paused:
            output.heading(f"paused queues: {', '.join(paused)}")
        if ready["ready"] and not (misses or dead or paused or ready.get("definitions")):
            output.line("nothing is wrong", style="green")
    if not ready["ready"]:
        raise typer.Exit(1)


def _readiness(client: Any) -> dict[str, Any]:
    try:
        return {"ready": True, **(client.get("/readyz") or {})}
    except Unavailable as error:
        if client.alive():
            return {"ready": False, "reason": str(error)}
        raise


@commands.command()
def doctor(
    path: Annotated[Path | None, _PATH] = None,
    json: options.Json = False,
) -> None:
    """Say what is configured, and whether it is right and reachable; exit status 1 if something is wrong."""
    from dataclasses import asdict

    from tocsin.cli import output
    from tocsin.cli.doctor import examine

    findings = list(examine(path))
    if json:
        for finding in findings:
            output.json_line(asdict(finding))
    else:
        rows = (("ok" if one.ok else "wrong", one.what, one.finding) for one in findings)
        output.table(("", "what", "finding"), rows)
    if not all(one.ok for one in findings):
        raise typer.Exit(1)
