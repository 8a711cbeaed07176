"""What is defined: by files, which are changed in files, and over the API, which is changed there.

Every change is an entry of the log (`own_events.DEFINITIONS_CHANGED`); evaluators switch when they come to it, and
all events that are acknowledged after `apply` has returned are judged by the new definitions.

Rule 1: a change takes its place in the log before it looks at what is there, so the changes of several processes come
one after another.
Rule 2: what is in memory is what the store said up to one place; what others have changed since is read when it is
heard of, and before every change of our own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, TypeVar, cast

from tocsin.actions.ports import Cause, Details, Unit
from tocsin.engine.entries import (
    SECTION_OF,
    Changes,
    Entry,
    Key,
    Origin,
    Texts,
    foreign,
    leaving,
    parsed,
    same_windows,
    text_of,
    wanted_of,
)
from tocsin.engine.known import NOTHING, Difference, FromFiles, News, difference, merged
from tocsin.engine.own_events import definitions_changed
from tocsin.engine.repeating import Repeating
from tocsin.errors import Conflict, NotFound
from tocsin.schemas.channel import AnyChannel
from tocsin.schemas.document import SECTIONS, Definition, Document, parse_definition, read_document
from tocsin.schemas.flow import Flow, Queue
from tocsin.schemas.scheduled import judged_name, shard_of
from tocsin.schemas.source import AnySource
from tocsin.store import applied, definitions, log, states
from tocsin.store.database import Connection
from tocsin.store.definitions import Version
from tocsin.store.log import Place
from tocsin.store.writer import Signal, Transaction, Writer

T = TypeVar("T")

FOLLOW_S = 5.0
"""What others have changed is looked for at least so often."""
_READ = 16
"""So many automations are kept as they are read, for the actions about their keys."""
_ENABLED = '"enabled"'
"""What stands in a text that says whether it is enabled: others need no second look."""


class Definitions:
    """The definitions that are in force now, in memory, and the ways to change them."""

    def __init__(self, writer: Writer, *, api_secrets: Collection[str]) -> None:
        """Begin with nothing."""
        self._writer = writer
        self._api_secrets = frozenset(api_secrets)
        self._shards = 1
        self._known = NOTHING
        self._coming: dict[Key, str] = {}
        self._sorted: dict[str, tuple[Mapping[str, Entry], list[str]]] = {}
        self._following = Repeating(
            self.refresh, every_s=FOLLOW_S, trouble="what is defined by others can not be read now"
        )

    def source(self, name: str) -> AnySource | None:
        """Return the source with this name."""
        return cast("AnySource | None", self._entry("source", name))

    def channel(self, name: str) -> AnyChannel | None:
        """Return the channel with this name."""
        return cast("AnyChannel | None", self._entry("channel", name))

    def flow(self, name: str) -> Flow | None:
        """Return the flow with this name."""
        return cast("Flow | None", self._entry("flow", name))

    def queue(self, name: str) -> Queue | None:
        """Return the queue with this name."""
        return cast("Queue | None", self._entry("queue", name))

    def sources(self) -> list[AnySource]:
        """Return all sources."""
        return [cast("AnySource", entry.spec) for entry in self._in_order("source")]

    def queues(self) -> list[Queue]:
        """Return all queues."""
        return [cast("Queue", entry.spec) for entry in self._in_order("queue")]

    def automation(self, name: str) -> Mapping[str, Any] | None:
        """Return an automation as it is written, as JSON data."""
        found = self._known.entries["automation"].get(name)
        return None if found is None else _read(found.text)

    def origin(self, kind: str, name: str) -> Origin | None:
        """Return where a definition came from."""
        found = self._known.entries[kind].get(name)
        return None if found is None else found.origin

    def entries(self, kind: str) -> Mapping[str, Entry]:
        """Return all definitions of a kind by name; the mapping never changes, a later one takes its place."""
        return self._known.entries[kind]

    def names(self, kind: str) -> Sequence[str]:
        """Return the names of all definitions of a kind, in order; they are sorted once for each change."""
        entries = self._known.entries[kind]
        before = self._sorted.get(kind)
        if before is None or before[0] is not entries:
            before = self._sorted[kind] = (entries, sorted(entries))
        return before[1]

    def secret_names(self) -> set[str]:
        """Return the environment variables that hold secrets of definitions."""
        kinds = self._known.entries.values()
        return {name for found in kinds for entry in found.values() for name in entry.secret_names}

    def text(self, version: Version) -> str:
        """Return a version's text; the one that is in memory already, if it is the same, so that it is there once."""
        found = self._known.entries[version.kind].get(version.name)
        known = self._coming.get((version.kind, version.name)) if found is None else found.text
        return known if known == version.document else version.document

    # Following what others change

    def load(self, tx: Transaction) -> None:
        """Read what is in force from the store; in the writer's thread, before anything else begins."""
        self._shards = states.count_shards(tx.connection)
        place = definitions.newest_place(tx.connection)
        self._merge(News(place, list(map(_entry_of, definitions.in_force(tx.connection))), ()))

    async def refresh(self) -> None:
        """Learn what other processes have changed.

        Raises:
            Unavailable, Overloaded: the store can not be asked now.
        """

        def unit(tx: Transaction) -> None:
            news = self._news(tx)
            if news.place != self._known.place:
                tx.after_commit(lambda: self._merge(news))

        await self._writer.run(unit)

    def start(self) -> None:
        """Follow what other processes change, until it is closed; in the event loop."""
        self._following.start()

    async def close(self) -> None:
        """Stop following."""
        await self._following.close()

    def look(self) -> None:
        """Look soon: somebody says that there is something new."""
        self._following.soon()

    # Changes

    async def apply_files(self, wanted: Texts, *, digest: str = "") -> Changes:
        """Put into force what files say, instead of what they said before; `digest` stands for all of it.

        Raises:
            Conflict: a name belongs to a definition that came over the API.
        """

        def unit(tx: Transaction, found: Difference) -> Changes:
            changes = self._replace_all(tx, "file", wanted, found=found)
            applied.note(tx.connection, digest)
            return changes

        return await self._replacing("file", wanted, unit)

    def read_document(self, data: Any, *, origin: Origin, keep: bool = False) -> Document:
        """Return the document that JSON data makes, to be put into force instead of what came from `origin`.

        With `keep` it is put beside that. Files stand by themselves; what comes over the API may name what they define.

        Raises:
            InvalidDefinition: it is wrong, or may not come over the API.
        """
        beside: dict[str, Collection[str]] = dict.fromkeys(SECTIONS, ())
        if origin == "api":
            for kind, found in self._known.entries.items():
                beside[SECTION_OF[kind]] = found if keep else FromFiles(found)
        return read_document(data, beside=beside, restricted=origin == "api", secrets=self._api_secrets)

    async def put_all(self, document: Document, *, keep: bool = False) -> Changes:
        """Put into force what came over the API, instead of all that came before, or with `keep` beside it.

        Raises:
            Conflict: a name belongs to a definition that came from a file.
        """
        wanted = await asyncio.to_thread(wanted_of, document)
        return await self._replacing(
            "api",
            wanted,
            lambda tx, found: self._replace_all(tx, "api", wanted, found=found, keep=keep),
        )

    async def put(self, kind: str, name: str, data: Any) -> Changes:
        """Put one definition into force, given as JSON data.

        Raises:
            InvalidDefinition: it is wrong, or may not come over the API.
            Conflict: the name belongs to a definition that came from a file.
        """
        if isinstance(data, dict):
            data = {"name": name} | data
        beside = {SECTION_OF[other]: found for other, found in self._known.entries.items()}

        def checked() -> tuple[str, str]:
            spec = parse_definition(kind, data, beside=beside, restricted=True, secrets=self._api_secrets)
            return spec.name, text_of(spec)

        named, text = await asyncio.to_thread(checked)
        if named != name:
            raise Conflict(f"the definition is named {named!r}, the address {name!r}: make them the same")
        return await self._writer.run(partial(self._put, (kind, name), text))

    async def delete(self, kind: str, name: str) -> Changes:
        """Remove a definition that came over the API.

        Raises:
            NotFound: there is none of that name.
            Conflict: it came from a file.
        """
        return await self._writer.run(partial(self._delete, kind, name))

    async def pause(self, kind: str, name: str) -> Details:
        """Pause a definition until it is resumed, also across changes of its file. Raises NotFound, Conflict."""
        return await self._writer.run(self.pausing(kind, name, paused=True))

    async def resume(self, kind: str, name: str) -> Details:
        """End a pause. Raises NotFound."""
        return await self._writer.run(self.pausing(kind, name, paused=False))

    def pausing(self, kind: str, name: str, *, paused: bool) -> Unit:
        """Return the unit that pauses or resumes a definition: an automation, or the schedule of a flow."""

        def unit(tx: Transaction) -> Details:
            place = log.next_place(tx)
            found = _present(tx.connection, [(kind, name)]).get((kind, name))
            if found is None:
                raise NotFound(f"there is no {kind} {name!r}")
            if paused and kind == "flow" and cast("Flow", parsed(kind, found.document)).schedule is None:
                raise Conflict(f"the flow {name!r} has no schedule that could be paused")
            change = definitions.pause if paused else definitions.resume
            if changed := change(tx.connection, kind=kind, name=name, seq=place.seq, now_us=place.received_us):
                log.append(tx, [definitions_changed({"paused" if paused else "resumed": [f"{kind}/{name}"]})])
            return {kind: name, "paused": paused, "changed": changed}

        return unit

    async def _replacing(self, origin: Origin, wanted: Texts, unit: Callable[[Transaction, Difference], T]) -> T:
        """Compare with what is in memory beside everything else, so that the writer has to look at changes only."""
        found = await asyncio.to_thread(difference, self._known, origin, wanted)
        return await self._writer.run(lambda tx: unit(tx, found))

    # In the writer's thread

    def _replace_all(
        self, tx: Transaction, origin: Origin, wanted: Texts, *, found: Difference, keep: bool = False
    ) -> Changes:
        place = log.next_place(tx)
        if definitions.newest_place(tx.connection) != found.place:  # somebody was quicker
            found = difference(merged(self._known, self._news(tx)), origin, wanted)
        present = _present(tx.connection, found.touched)
        removed = [] if keep else leaving(present, wanted, origin)
        other = {key: text for key, text in wanted.items() if key in found.new}
        return self._apply(tx, place, other, origin=origin, removed=removed, present=present)

    def _put(self, key: Key, text: str, tx: Transaction) -> Changes:
        place = log.next_place(tx)
        return self._apply(tx, place, {key: text}, origin="api", removed=[], present=_present(tx.connection, [key]))

    def _delete(self, kind: str, name: str, tx: Transaction) -> Changes:
        place = log.next_place(tx)
        present = _present(tx.connection, [(kind, name)])
        found = present.get((kind, name))
        if found is None:
            raise NotFound(f"there is no {kind} {name!r}")
        if found.origin == "file":
            raise Conflict(f"the {kind} {name!r} came from a file: remove it there")
        return self._apply(tx, place, {}, origin="api", removed=[(kind, name)], present=present)

    def _apply(
        self,
        tx: Transaction,
        place: Place,
        wanted: Texts,
        *,
        origin: Origin,
        removed: Collection[Key],
        present: Mapping[Key, Version],
    ) -> Changes:
        changes = Changes([], [], [f"{kind}/{name}" for kind, name in sorted(removed)], [])
        new: list[Version] = []
        for (kind, name), text in wanted.items():
            before = present.get((kind, name))
            if before is not None and before.origin != origin:
                raise Conflict(foreign(before))
            if before is not None and before.document == text:
                continue
            (changes.added if before is None else changes.changed).append(f"{kind}/{name}")
            armed = (place.seq, place.received_us)
            if before is not None and same_windows(kind, before.document, text):
                armed = (before.armed_seq, before.armed_us)
            elif before is not None and kind == "automation":
                changes.restarted.append(f"{kind}/{name}")
            shard = shard_of(judged_name(kind, name), self._shards)
            new.append(Version(kind, name, origin, text, place.seq, *armed, place.received_us, shard))
            if kind == "automation":
                was = before is None or _enabled(before.document)
                _note_enabled(tx, name, was=was, now=_enabled(text), place=place)
        if not changes:
            return changes
        for kind, name in removed:  # or else it would begin disabled when it comes again
            if kind == "automation":
                _note_enabled(tx, name, was=_enabled(present[kind, name].document), now=True, place=place)
        self._store(tx, place, new, removed=removed, present=present)
        log.append(tx, [definitions_changed(_brief(changes))])
        return changes

    def _store(
        self, tx: Transaction, place: Place, new: Sequence[Version], *, removed: Collection[Key],
        present: Mapping[Key, Version],
    ) -> None:  # fmt: skip
        """Store a change, and know of it once it is committed, with what others have changed before."""
        others = self._news(tx)
        ended = [(one.kind, one.name) for one in new if (one.kind, one.name) in present]
        definitions.end(tx.connection, [*removed, *ended], seq=place.seq)
        definitions.add(tx.connection, new)
        ours = News(place.seq, list(map(_entry_of, new)), list(removed))
        self._coming |= {(one.kind, one.name): one.text for one in ours.entries}

        def know() -> None:
            self._coming = {}
            self._merge(others)
            self._merge(ours)

        tx.after_commit(know)
        tx.on_rollback(self._coming.clear)
        tx.tell(Signal.DEFINITIONS)

    def _news(self, tx: Transaction) -> News:
        """Return what the store says that is not in memory."""
        known, newest = self._known.place, definitions.newest_place(tx.connection)
        keys = definitions.changed(tx.connection, after_seq=known, to_seq=newest) if newest > known else set()
        found = _present(tx.connection, keys)
        return News(newest, list(map(_entry_of, found.values())), sorted(keys - found.keys()))

    def _merge(self, news: News) -> None:
        """Know what is in force; it is replaced as a whole, so readers see all of it or nothing."""
        self._known = merged(self._known, news)

    def _in_order(self, kind: str) -> Iterator[Entry]:
        entries = self._known.entries[kind]
        return (entries[name] for name in sorted(entries))

    def _entry(self, kind: str, name: str) -> Definition | None:
        found = self._known.entries[kind].get(name)
        return None if found is None else found.spec


def _present(connection: Connection, keys: Collection[Key]) -> dict[Key, Version]:
    """Return what is in force of some kinds and names."""
    names: dict[str, list[str]] = {}
    for kind, name in keys:
        names.setdefault(kind, []).append(name)
    found = (one for kind, some in names.items() for one in definitions.in_force(connection, kind=kind, names=some))
    return {(one.kind, one.name): one for one in found}


def _entry_of(version: Version) -> Entry:
    return Entry.of((version.kind, version.name), cast("Origin", version.origin), version.document)


class PausePort:
    """Fits the ports `Automations` and `Flows` of the actions: pauses and resumes definitions of one kind."""

    def __init__(self, known: Definitions, kind: str) -> None:
        """Keep the definitions."""
        self._definitions = known
        self._kind = kind

    def pause(self, name: str, *, cause: Cause) -> Unit:
        """Return the unit that pauses a definition. It raises NotFound, Conflict."""
        return self._definitions.pausing(self._kind, name, paused=True)

    def resume(self, name: str, *, cause: Cause) -> Unit:
        """Return the unit that resumes a definition. It raises NotFound."""
        return self._definitions.pausing(self._kind, name, paused=False)


@lru_cache(_READ)
def _read(text: str) -> Mapping[str, Any]:
    """Return an automation's text as JSON data. It may be long, and is asked for by each action about its keys."""
    found: dict[str, Any] = json.loads(text)
    return MappingProxyType(found)


def _enabled(text: str) -> bool:
    """Return whether an automation is enabled."""
    return _ENABLED not in text or bool(json.loads(text).get("enabled", True))


def _note_enabled(tx: Transaction, name: str, *, was: bool, now: bool, place: Place) -> None:
    """Let `enabled: false` be a pause of its own kind: windows are kept, and the time is like an outage (law S4)."""
    if was != now:
        change = definitions.resume if now else definitions.pause
        change(tx.connection, kind="enabled", name=name, seq=place.seq, now_us=place.received_us)


def _brief(changes: Changes) -> dict[str, Any]:
    """Return the changes for the log: names as long as they are few, counts otherwise."""
    return {what: names if len(names) <= 100 else len(names) for what, names in changes.document().items() if names}
