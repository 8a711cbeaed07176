"""`tocsin check`, `test`, `backtest`, `schema`: definitions looked at without running them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tocsin.cli import options
from tocsin.errors import InvalidDefinition, NotFound

if TYPE_CHECKING:
    from tocsin.review.backtest import Stretch
    from tocsin.schemas.automation import Automation

commands = typer.Typer()


@commands.command()
def check(path: options.Definitions, json: options.Json = False) -> None:
    """Check definitions; exit status 1 with file:line:column: message for everything that is wrong.

    A secret that is not there where the check runs is a warning: where the server runs, it may be.
    """
    from tocsin.cli import output
    from tocsin.review.check import check as checked_at

    checked = checked_at(path)
    unset = checked.missing(os.environ, lambda file: Path(file).read_text(encoding="utf-8")).values()
    if json:
        for one in checked.problems:
            output.json_line({"level": "error", "file": one.file, "line": one.line, "column": one.column,
                              "field": one.field, "message": one.message})  # fmt: skip
        for said in unset:
            output.json_line({"level": "warning", "message": said})
        raise typer.Exit(1 if checked.problems else 0)
    if checked.problems:
        raise InvalidDefinition(checked.problems)
    output.line(f"{path}: all right ({checked.summary()})", style="green")
    for said in unset:
        output.note(f"warning: {said}")


@commands.command("test")
def run_tests(path: options.Definitions, json: options.Json = False) -> None:
    """Run the tests: section on a virtual clock; exit status 1 if a firing is not as expected."""
    from tocsin.cli import output, results
    from tocsin.cli.configuration import read_settings
    from tocsin.review.suite import run
    from tocsin.schemas.moments import duration_us
    from tocsin.store.files import read_definitions

    outcomes = []
    for outcome in run(read_definitions(path), lateness_us=duration_us(read_settings().lateness)):
        outcomes.append(outcome)
        if json:
            output.json_line(results.outcome_document(outcome))
        else:
            results.show_outcome(outcome)
    failed = sum(not outcome.passed for outcome in outcomes)
    if not json:
        output.line(f"{len(outcomes) - failed} passed, {failed} failed" if outcomes else "there are no tests")
    if failed:
        raise typer.Exit(1)


@commands.command()
def backtest(
    path: options.Definitions,
    events: Annotated[
        str | None, typer.Option(help="Recorded events, a JSON object a line; - reads standard input.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="When the automations are armed (7d, a time); alone: read the server's events.")
    ] = None,
    until: options.Until = None,
    automation: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    json: options.Json = False,
) -> None:
    """Say what would have fired over recorded events; nothing is performed."""
    from tocsin.cli import results
    from tocsin.cli.configuration import read_settings
    from tocsin.review.backtest import Stretch
    from tocsin.schemas.moments import duration_us
    from tocsin.store.files import read_definitions

    if events is None and since is None:
        raise options.usage("what to judge is missing: give --events FILE.jsonl, or --since 7d for the server's events")
    chosen = _chosen(read_definitions(path).automations, automation or [])
    stretch = Stretch(
        options.moment_us(since, option="--since"),
        options.moment_us(until, option="--until"),
        lateness_us=duration_us(read_settings().lateness),
    )
    with _recorded(events, stretch, chosen) as lines:
        results.show_backtest(chosen, lines, events or "the server's events", stretch=stretch, json=json)


def _chosen(automations: Iterable[Automation], names: list[str]) -> list[Automation]:
    """Return the automations of these names; without names all that are enabled."""
    found = {one.name: one for one in automations}
    if not names:
        return [one for one in found.values() if one.enabled]
    if missing := [name for name in names if name not in found]:
        raise NotFound(f"there is no automation {missing[0]!r} in these definitions; there are {', '.join(found)}")
    return [found[name] for name in dict.fromkeys(names)]


@contextmanager
def _recorded(events: str | None, stretch: Stretch, chosen: list[Automation]) -> Iterator[Iterable[bytes]]:
    if events == "-":
        yield sys.stdin.buffer
    elif events is not None:
        with Path(events).open("rb") as lines:
            yield lines
    else:
        from tocsin.cli.recorded import from_server
        from tocsin.review.backtest import needed_from

        with from_server(needed_from(chosen, stretch.since_us or 0), stretch.until_us) as lines:
            yield lines


@commands.command()
def schema() -> None:
    """Print the JSON Schema of a definitions file, for editors."""
    import json

    from tocsin.schemas.document import document_schema

    sys.stdout.write(json.dumps(document_schema(), indent=2) + "\n")
