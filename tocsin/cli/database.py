"""`tocsin migrate` and `tocsin db`: bringing a database up to date, copying it to another, backing it up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tocsin.errors import NotFound, TocsinError

if TYPE_CHECKING:
    from tocsin.settings import Settings
    from tocsin.store.database import Database

commands = typer.Typer()
group = typer.Typer(help="Back up the database, or move to another.", no_args_is_help=True, add_completion=False)

_URL = typer.Option(help="Database URL (SQLite in TOCSIN_HOME).", show_default=False)


@contextmanager
def _database(url: str | None, *, alone: bool) -> Iterator[tuple[Settings, Database]]:
    """Open the database that is meant; `alone` keeps servers away from one of SQLite meanwhile."""
    from tocsin.cli.configuration import read_settings
    from tocsin.store.database import Database
    from tocsin.store.home import locked

    settings = read_settings(database=url)
    database = Database(settings.database_url())
    try:
        with locked(settings.home, file=database.url.database) if alone and database.is_sqlite else nullcontext():
            yield settings, database
    finally:
        database.close()


@commands.command()
def migrate(db: Annotated[str | None, _URL] = None) -> None:
    """Bring a database up to this version; servers may run on PostgreSQL meanwhile. (SQLite does it at start.)"""
    from tocsin.cli import output
    from tocsin.store import schema

    with _database(db, alone=True) as (settings, database):
        before = schema.migrate(database, shards=settings.shards, tell=output.line)
    if before is not None and before >= schema.NEWEST:
        newer = f", and works with this program, which knows {schema.NEWEST}" if before > schema.NEWEST else " already"
        output.line(f"the database is at version {before}{newer}")
    else:
        output.line(f"the database was {f'at version {before}' if before else 'empty'}, now at version {schema.NEWEST}")


@group.command()
def copy(
    home: Annotated[Path, typer.Argument(help="The home (TOCSIN_HOME) of the SQLite database.", show_default=False)],
    url: Annotated[str, typer.Argument(metavar="POSTGRES_URL", help="An empty database: postgresql://USER@HOST/NAME.")],
) -> None:
    """Copy the SQLite database of a home into an empty PostgreSQL database; no server may run on either."""
    from tocsin.cli import output
    from tocsin.cli.configuration import read_settings
    from tocsin.store.copying import Progress
    from tocsin.store.copying import copy as copy_all
    from tocsin.store.database import Database
    from tocsin.store.home import locked

    file = (home / "tocsin.db").absolute()
    if not file.exists():
        raise NotFound(f"there is no {file}: name the folder that a server had as its TOCSIN_HOME")
    target = Database(url)
    if target.is_sqlite:
        raise TocsinError("a copy goes to PostgreSQL: write postgresql://USER@HOST/NAME")
    source = Database(f"sqlite:///{file}")

    def tell(progress: Progress) -> None:
        output.note(f"{progress.table}: {progress.done:,} of {progress.total:,}")

    try:
        with locked(home, file=str(file)):
            counts = copy_all(source, target, shards=read_settings().shards, tell=tell)
    finally:
        source.close()
        target.close()
    output.line(f"{sum(counts.values()):,} rows of {len(counts)} tables copied, {counts['events']:,} events among them")
    output.line("serve it with --db and the same TOCSIN_HOME, where the output of runs stays", style="dim")


@group.command()
def backup(
    file: Annotated[Path, typer.Argument(help="A file that is not there yet.", show_default=False)],
    db: Annotated[str | None, _URL] = None,
) -> None:
    """Back up the SQLite database into a file, also while a server runs on it."""
    from tocsin.cli import output
    from tocsin.schemas.moments import iso
    from tocsin.store.backup import back_up

    with _database(db, alone=False) as (_, database):
        if not database.is_sqlite:
            raise TocsinError("PostgreSQL is backed up by its own programs: pg_dump --format=custom --file=FILE URL")
        if not (path := Path(database.url.database or "")).is_file():
            raise NotFound(f"there is no {path}: set TOCSIN_HOME to the home of a server")
        made = back_up(database, file)
    until = f", received until {iso(made.received_us)}" if made.received_us else ""
    output.line(f"{file}: {made.size:,} bytes, the log up to event {made.seq}{until}")


@group.command()
def restored(db: Annotated[str | None, _URL] = None) -> None:
    """Have a database that was restored from a backup use no id twice; before a server runs on it."""
    from tocsin.cli import output
    from tocsin.engine import own_events
    from tocsin.store.restored import move_on

    with _database(db, alone=True) as (_, database):
        before, after = move_on(database, own_events.restored)
    output.line(f"the backup ends at event {before}; what comes next begins at {after}")
