"""What is defined: by files, which are changed in files, and over the API, which is changed there.

Every change is an entry of the log (`own_events.DEFINITIONS_CHANGED`); evaluators switch when they come to it, and
all events that are acknowledged after `apply` has returned are judged by the new definitions.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias, cast

from tocsin.actions.ports import Cause, Details, Unit
from tocsin.engine.own_events import definitions_changed
from tocsin.errors import Conflict, NotFound
from tocsin.schemas.automation import Automation
from tocsin.schemas.channel import AnyChannel
from tocsin.schemas.document import SECTIONS, Definition, Document, load_each, parse_definition, read_document
from tocsin.schemas.flow import Flow, Queue
from tocsin.schemas.scheduled import schedule_of
from tocsin.schemas.secret import secrets_in
from tocsin.schemas.source import AnySource
from tocsin.schemas.trigger import Trigger, fingerprint
from tocsin.store import applied, definitions, log
from tocsin.store.database import Database
from tocsin.store.definitions import Version
from tocsin.store.log import Place
from tocsin.store.writer import Transaction, Writer

Origin = Literal["file", "api"]
Key: TypeAlias = tuple[str, str]
"""Kind and name of a definition."""
Texts: TypeAlias = Mapping[Key, str]
"""Definitions as they are stored."""

_STORED = tuple(kind for kind in SECTIONS.values() if kind != "test")
_SECTION_OF = {kind: section for section, kind in SECTIONS.items()}
_SECRET, _ENABLED = '"env"', '"enabled"'
"""What stands in a text that names a secret's variable, or says whether it is enabled: others need no second look."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What an application of definitions changed: names as `kind/name`; `restarted` are triggers that begin anew."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    restarted: list[str]

    def __bool__(self) -> bool:
        """Return whether anything changed."""
        return bool(self.added or self.changed or self.removed)

    def document(self) -> dict[str, list[str]]:
        """Return the changes as JSON data."""
        return {"added": self.added, "changed": self.changed, "removed": self.removed, "restarted": self.restarted}


@dataclass(frozen=True, slots=True)
class Entry:
    """A definition in force: where it came from, and its text, by which changes are noticed.

    `kept` is what it says; None for an automation: there may be very many, and they are seldom asked for.
    `secret_names` are the environment variables that hold its secrets.
    """

    kind: str
    name: str
    origin: Origin
    text: str
    kept: Definition | None
    secret_names: frozenset[str]

    @classmethod
    def of(cls, key: Key, origin: Origin, text: str) -> Entry:
        """Return the entry of a definition."""
        kind, name = key
        spec = parsed(kind, text) if kind != "automation" or _SECRET in text else None
        found = () if spec is None else secrets_in(spec)
        names = frozenset(secret.env for _, secret in found if secret.env is not None)
        return cls(kind, name, origin, text, None if kind == "automation" else spec, names)

    @property
    def spec(self) -> Definition:
        """What the definition says."""
        return parsed(self.kind, self.text) if self.kept is None else self.kept


class Definitions:
    """The definitions that are in force now, in memory, and the ways to change them."""

    def __init__(self, writer: Writer, database: Database, *, api_secrets: Collection[str]) -> None:
        """Begin with nothing."""
        self._writer = writer
        self._database = database
        self._api_secrets = frozenset(api_secrets)
        self._entries: dict[str, dict[str, Entry]] = {kind: {} for kind in _STORED}

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
        return [cast("AnySource", entry.spec) for entry in self._entries["source"].values()]

    def queues(self) -> list[Queue]:
        """Return all queues."""
        return [cast("Queue", entry.spec) for entry in self._entries["queue"].values()]

    def automation(self, name: str) -> Mapping[str, Any] | None:
        """Return an automation as it is written, as JSON data."""
        found = self._entries["automation"].get(name)
        return None if found is None else cast("Mapping[str, Any]", json.loads(found.text))

    def origin(self, kind: str, name: str) -> Origin | None:
        """Return where a definition came from."""
        found = self._entries[kind].get(name)
        return None if found is None else found.origin

    def entries(self, kind: str) -> Mapping[str, Entry]:
        """Return all definitions of a kind by name; the mapping never changes, a later one takes its place."""
        return self._entries[kind]

    def secret_names(self) -> set[str]:
        """Return the environment variables that hold secrets of definitions."""
        return {name for found in self._entries.values() for entry in found.values() for name in entry.secret_names}

    def load(self, tx: Transaction) -> None:
        """Read what is in force from the store; in the writer's thread, before anything else begins."""
        found = definitions.in_force(tx.connection)
        self._merge(
            [Entry.of((one.kind, one.name), cast("Origin", one.origin), one.document) for one in found], removed=()
        )

    async def apply_files(self, wanted: Texts, *, digest: str = "") -> Changes:
        """Put into force what files say, instead of what they said before; `digest` stands for all of it.

        Raises:
            Conflict: a name belongs to a definition that came over the API.
        """

        def unit(tx: Transaction) -> Changes:
            applied.note(tx.connection, digest)
            return self._replace_all(tx, "file", wanted)

        return await self._writer.run(unit)

    def read_document(self, data: Any, *, origin: Origin, keep: bool = False) -> Document:
        """Return the document that JSON data makes, to be put into force instead of what came from `origin`.

        With `keep` it is put beside that. Files stand by themselves; what comes over the API may name what they define.

        Raises:
            InvalidDefinition: it is wrong, or may not come over the API.
        """
        beside: dict[str, list[str]] = {section: [] for section in SECTIONS}
        if origin == "api":
            for kind, found in self._entries.items():
                beside[_SECTION_OF[kind]] = [name for name, entry in found.items() if keep or entry.origin == "file"]
        return read_document(data, beside=beside, restricted=origin == "api", secrets=self._api_secrets)

    async def put_all(self, document: Document, *, keep: bool = False) -> Changes:
        """Put into force what came over the API, instead of all that came before, or with `keep` beside it.

        Raises:
            Conflict: a name belongs to a definition that came from a file.
        """
        wanted = wanted_of(document)
        return await self._writer.run(lambda tx: self._replace_all(tx, "api", wanted, keep=keep))

    async def put(self, kind: str, name: str, data: Any) -> Changes:
        """Put one definition into force, given as JSON data.

        Raises:
            InvalidDefinition: it is wrong, or may not come over the API.
            Conflict: the name belongs to a definition that came from a file.
        """
        if isinstance(data, dict):
            data = {"name": name} | data
        beside = {_SECTION_OF[other]: found for other, found in self._entries.items()}
        spec = parse_definition(kind, data, beside=beside, restricted=True, secrets=self._api_secrets)
        if spec.name != name:
            raise Conflict(f"the definition is named {spec.name!r}, the address {name!r}: make them the same")
        return await self._writer.run(partial(self._put, (kind, name), text_of(spec)))

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
            spec = self._entry(kind, name)
            if spec is None:
                raise NotFound(f"there is no {kind} {name!r}")
            if paused and isinstance(spec, Flow) and spec.schedule is None:
                raise Conflict(f"the flow {name!r} has no schedule that could be paused")
            change = definitions.pause if paused else definitions.resume
            place = log.next_place(tx)
            if changed := change(tx.connection, kind=kind, name=name, seq=place.seq, now_us=place.received_us):
                log.append(tx, [definitions_changed({"paused" if paused else "resumed": [f"{kind}/{name}"]})])
            return {kind: name, "paused": paused, "changed": changed}

        return unit

    # In the writer's thread

    def _replace_all(self, tx: Transaction, origin: Origin, wanted: Texts, *, keep: bool = False) -> Changes:
        present: dict[Key, Version] = {}
        same: set[Key] = set()
        for one in definitions.in_force(tx.connection):  # one by one: most are as they were, and there may be very many
            key = (one.kind, one.name)
            if one.origin == origin and wanted.get(key) == one.document:
                same.add(key)
            elif one.origin == origin or key in wanted:
                present[key] = one
        removed = [] if keep else leaving(present, wanted, origin)
        other = {key: text for key, text in wanted.items() if key not in same}
        return self._apply(tx, origin, other, removed=removed, present=present)

    def _put(self, key: Key, text: str, tx: Transaction) -> Changes:
        present = {(one.kind, one.name): one for one in definitions.in_force(tx.connection, names=[key[1]])}
        return self._apply(tx, "api", {key: text}, removed=[], present=present)

    def _delete(self, kind: str, name: str, tx: Transaction) -> Changes:
        present = {(one.kind, one.name): one for one in definitions.in_force(tx.connection, names=[name])}
        found = present.get((kind, name))
        if found is None:
            raise NotFound(f"there is no {kind} {name!r}")
        if found.origin == "file":
            raise Conflict(f"the {kind} {name!r} came from a file: remove it there")
        return self._apply(tx, "api", {}, removed=[(kind, name)], present=present)

    def _apply(
        self,
        tx: Transaction,
        origin: Origin,
        wanted: Texts,
        *,
        removed: Collection[Key],
        present: Mapping[Key, Version],
    ) -> Changes:
        changes = Changes([], [], [f"{kind}/{name}" for kind, name in removed], [])
        place = log.next_place(tx)
        new: list[Version] = []
        entries: list[Entry] = []
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
            entries.append(Entry.of((kind, name), origin, text))
            new.append(Version(kind, name, origin, text, place.seq, *armed, place.received_us))
            if kind == "automation":
                was = before is None or _enabled(before.document)
                _note_enabled(tx, name, was=was, now=_enabled(text), place=place)
        if not changes:
            return changes
        for kind, name in removed:  # or else it would begin disabled when it comes again
            if kind == "automation":
                _note_enabled(tx, name, was=_enabled(present[kind, name].document), now=True, place=place)
        definitions.end(tx.connection, [*removed, *((one.kind, one.name) for one in new)], seq=place.seq)
        definitions.add(tx.connection, new)
        log.append(tx, [definitions_changed(_brief(changes))])
        tx.after_commit(lambda: self._merge(entries, removed=removed))
        return changes

    def _merge(self, new: Sequence[Entry], *, removed: Collection[Key]) -> None:
        """Know what is in force; whole mappings are replaced, so readers see all of it or nothing."""
        entries = dict(self._entries)
        for kind in {entry.kind for entry in new} | {kind for kind, _ in removed}:
            known = dict(entries[kind])
            known.update((entry.name, entry) for entry in new if entry.kind == kind)
            for other, name in removed:
                if other == kind:
                    known.pop(name, None)
            entries[kind] = known
        self._entries = entries

    def _entry(self, kind: str, name: str) -> Definition | None:
        found = self._entries[kind].get(name)
        return None if found is None else found.spec


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


def wanted_of(document: Document) -> dict[Key, str]:
    """Return what a document wants to be in force, as it is stored: all of it but its tests."""
    return {(kind, spec.name): text_of(spec) for kind in _STORED for spec in getattr(document, _SECTION_OF[kind])}


def wanted_in(files: Mapping[str, str]) -> dict[Key, str]:
    """Return what the texts of files want to be in force, as `wanted_of` does, without the whole document in memory.

    Raises:
        InvalidDefinition: with every problem of every file, each with its place.
    """
    wanted: dict[Key, str] = {}

    def take(section: str, spec: Definition) -> None:
        if SECTIONS[section] in _STORED:
            wanted[SECTIONS[section], spec.name] = text_of(spec)

    load_each(files, take)
    return wanted


def parsed(kind: str, text: str) -> Definition:
    """Return the definition that a stored text is."""
    return parse_definition(kind, json.loads(text))


def leaving(present: Mapping[Key, Version], wanted: Collection[Key], origin: Origin) -> list[Key]:
    """Return what is removed when `wanted` is put in the place of everything from an origin."""
    return [key for key, one in present.items() if one.origin == origin and key not in wanted]


def foreign(version: Version) -> str:
    """Return why a definition can not be changed from where it did not come from."""
    theirs = "a file: change it there" if version.origin == "file" else "the API: delete it there first"
    return f"the {version.kind} {version.name!r} came from {theirs}"


def text_of(spec: Definition) -> str:
    """Return a definition as it is stored; equal texts are no change."""
    return json.dumps(spec.model_dump(mode="json", exclude_unset=True), ensure_ascii=False)


def same_windows(kind: str, before: str, after: str) -> bool:
    """Return whether a new version keeps the windows of the one before (law S4)."""
    if kind not in ("automation", "flow"):
        return True
    old, new = trigger_of(parsed(kind, before)), trigger_of(parsed(kind, after))
    if old is None or new is None:
        return old is new
    return fingerprint(old) == fingerprint(new)


def trigger_of(spec: Definition) -> Trigger | None:
    """Return what a definition waits for; None if it waits for nothing."""
    if isinstance(spec, Automation):
        return spec.trigger
    return schedule_of(spec) if isinstance(spec, Flow) else None


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
