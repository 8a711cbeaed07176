"""The command line: `tocsin COMMAND`. Each command imports what it needs when it runs, so that help is instant."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from tocsin import __version__
from tocsin.cli import automations, changes, database, definitions, events, firings, importing, server, work
from tocsin.errors import InvalidInput, JudgeFailed, TocsinError

FAILED = 1
WRONG_USE = 2

app = typer.Typer(
    name="tocsin",
    help="Events in, judgement, actions out - and silence judged as carefully.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"tocsin {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def tocsin(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take what stands in front of the command; without a command that is a wrong use, answered with help."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(WRONG_USE)


for _commands in (server.commands, definitions.commands, changes.commands, events.commands, database.commands):
    app.add_typer(_commands)
for _name, _group in {
    "events": events.group,
    "firings": firings.firings,
    "actions": firings.actions,
    "automations": automations.group,
    "flows": work.flows,
    "runs": work.runs,
    "queues": work.queues,
    "sources": changes.sources,
    "channels": changes.channels,
    "import": importing.group,
    "db": database.group,
}.items():
    app.add_typer(_group, name=_name)


def main() -> NoReturn:
    """Run the command line; exit with 0 when done, 1 when something failed, 2 when it was used wrongly."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        status = app(prog_name="tocsin", standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "tocsin"
        _complain(WRONG_USE, error.format_message(), f"See {command} --help")
    except InvalidInput as error:
        count = len(error.problems)
        what = "one thing is wrong:" if count == 1 else f"{count} things are wrong:"
        _complain(FAILED, what, *map(str, error.problems))
    except JudgeFailed as error:
        _complain(FAILED, f"judging the automation {error.automation!r} failed, which is our mistake: {error}")
    except TocsinError as error:
        _complain(FAILED, *str(error).splitlines())
    except OSError as error:
        _complain(FAILED, f"{error.filename}: {error.strerror}" if error.filename else str(error))
    sys.exit(status or 0)


def _complain(status: int, *lines: str) -> NoReturn:
    from tocsin.cli.output import printable

    print(f"tocsin: {printable(lines[0])}", *map(printable, lines[1:]), sep="\n", file=sys.stderr)
    sys.exit(status)
