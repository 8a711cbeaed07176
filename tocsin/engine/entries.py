"""Definitions as they are stored and held in memory: texts, compared as texts, and read when somebody asks for them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from pydantic_core import from_json

from tocsin.schemas.automation import Automation
from tocsin.schemas.document import SECTIONS, Definition, Document, load_each, parse_definition
from tocsin.schemas.flow import Flow
from tocsin.schemas.scheduled import schedule_of
from tocsin.schemas.secret import secrets_in
from tocsin.schemas.trigger import Trigger, fingerprint
from tocsin.store.definitions import Version

Origin = Literal["file", "api"]
Key: TypeAlias = tuple[str, str]
"""Kind and name of a definition."""
Texts: TypeAlias = Mapping[Key, str]
"""Definitions as they are stored."""

STORED = tuple(kind for kind in SECTIONS.values() if kind != "test")
"""The kinds of definitions that are stored."""
SECTION_OF: Mapping[str, str] = MappingProxyType({kind: section for section, kind in SECTIONS.items()})
"""The section of a document in which a kind of definitions stands."""
_WAITS: Mapping[str, str] = MappingProxyType({"automation": "trigger", "flow": "schedule"})
"""The kinds that wait for something, and the field that says for what."""
_VARIABLE = '{"env": "'
"""How a reference to an environment variable begins in a stored text; one that has it is looked at properly."""


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
        spec = parsed(kind, text) if kind != "automation" or _VARIABLE in text else None
        found = () if spec is None else secrets_in(spec)
        names = frozenset(secret.env for _, secret in found if secret.env is not None)
        return cls(kind, name, origin, text, None if kind == "automation" else spec, names)

    @property
    def spec(self) -> Definition:
        """What the definition says."""
        return parsed(self.kind, self.text) if self.kept is None else self.kept


def wanted_of(document: Document) -> dict[Key, str]:
    """Return what a document wants to be in force, as it is stored: all of it but its tests."""
    return {(kind, spec.name): text_of(spec) for kind in STORED for spec in getattr(document, SECTION_OF[kind])}


def wanted_in(files: Mapping[str, str]) -> dict[Key, str]:
    """Return what the texts of files want to be in force, as `wanted_of` does, without the whole document in memory.

    Raises:
        InvalidDefinition: with every problem of every file, each with its place.
    """
    wanted: dict[Key, str] = {}

    def take(section: str, spec: Definition) -> None:
        if SECTIONS[section] in STORED:
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
    if kind not in _WAITS:
        return True
    if from_json(before).get(_WAITS[kind]) == from_json(after).get(_WAITS[kind]):  # as it mostly is
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
