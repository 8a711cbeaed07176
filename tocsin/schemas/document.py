"""The definitions document: everything that its files say, checked as a whole.

Each entry is checked by itself and against the names of all others, so that one reading tells everything that is
wrong. Entries are handed over one by one: a document of 100,000 of them is never in memory as a whole unless somebody
wants it so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from tocsin.errors import InvalidDefinition, Problem
from tocsin.schemas.automation import Automation
from tocsin.schemas.case import Case
from tocsin.schemas.channel import AnyChannel, Channel
from tocsin.schemas.findings import Finding, findings_of, nearest, problems_of
from tocsin.schemas.flow import Flow, Queue
from tocsin.schemas.references import Linker, forbidden
from tocsin.schemas.source import AnySource, Source
from tocsin.schemas.spec import Path, Spec
from tocsin.schemas.yaml_text import places_of, read_yaml


class Document(Spec):
    """All definitions, in the order in which they were written."""

    automations: list[Automation] = Field(default_factory=list, description="Triggers and the actions they lead to.")
    sources: list[Source] = Field(default_factory=list, description="How events of others arrive.")
    channels: list[Channel] = Field(default_factory=list, description="Where notifications go.")
    flows: list[Flow] = Field(default_factory=list, description="What can be run.")
    queues: list[Queue] = Field(default_factory=list, description="How much is run at the same time.")
    tests: list[Case] = Field(default_factory=list, description="What automations do with given events.")


Definition = Automation | AnySource | AnyChannel | Flow | Queue | Case
"""Anything that stands in a section."""
Take: TypeAlias = Callable[[str, Definition], None]
"""Is given the section and the definition of each entry that is right."""

SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "automations": "automation",
        "sources": "source",
        "channels": "channel",
        "flows": "flow",
        "queues": "queue",
        "tests": "test",
    }
)
"""The sections of a document, and the kind of what stands in them."""

_SECTION_OF = MappingProxyType({kind: section for section, kind in SECTIONS.items()})
_TYPES: Mapping[str, Any] = MappingProxyType(
    {"automations": Automation, "sources": Source, "channels": Channel, "flows": Flow, "queues": Queue, "tests": Case}
)
_ADAPTERS: Mapping[str, TypeAdapter[Any]] = MappingProxyType(
    {section: TypeAdapter(kind) for section, kind in _TYPES.items()}
)


@dataclass(slots=True, eq=False)
class _File:
    """One file: its data, and what is wrong with it."""

    name: str
    text: str
    data: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)

    def names(self) -> Iterator[tuple[str, int, str]]:
        """Return section, position and name of all entries, also of those that are wrong."""
        for section in SECTIONS:
            items = self.data.get(section)
            for position, item in enumerate(items if isinstance(items, list) else ()):
                name = item.get("name") if isinstance(item, dict) else None
                if isinstance(name, str):
                    yield section, position, name


def parse(text: str, *, file: str = "") -> Document:
    """Return the document that one file makes; as `load`."""
    return load({file: text})


def load(texts: Mapping[str, str]) -> Document:
    """Return the document that files make together, given the text of each by its name.

    Raises:
        InvalidDefinition: with every problem of every file, each with its place.
    """
    together = _Together()
    load_each(texts, together.take)
    return together.document()


def load_each(texts: Mapping[str, str], take: Take) -> None:
    """Hand over the entries of files one by one, to be forgotten if anything turns out to be wrong.

    Raises:
        InvalidDefinition: as `load`, in the end.
    """
    files: list[_File] = []
    problems: list[Problem] = []
    for name, text in texts.items():
        try:
            files.append(_read(name, text))
        except InvalidDefinition as error:
            problems += error.problems
    declared = _declared(files)
    linker = Linker(None if problems else declared)
    for file in files:
        _check(file, linker, take)
        problems += problems_of(file.findings, file.data, file=file.name, text=file.text)
    if problems:
        raise InvalidDefinition(problems)


def read_document(
    data: Any, *, beside: Mapping[str, Collection[str]], restricted: bool = False, secrets: Collection[str] = ()
) -> Document:
    """Return the document that JSON data makes; `restricted` and `secrets` as in `parse_definition`.

    `beside` are the names, by section, that will be in force with it.

    Raises:
        InvalidDefinition: with every problem, each with its field.
    """
    file = _shaped("", "", data)
    linker = Linker({section: _Both(names, beside[section]) for section, names in _declared([file]).items()})
    together = _Together()
    _check(file, linker, together.take, secrets=secrets if restricted else None)
    if file.findings:
        raise InvalidDefinition(problems_of(file.findings, data))
    return together.document()


def parse_definition(
    kind: str,
    data: Any,
    *,
    beside: Mapping[str, Collection[str]] | None = None,
    restricted: bool = False,
    secrets: Collection[str] = (),
) -> Definition:
    """Return one definition of a kind (`automation`, `source`, ...), given as JSON data.

    `beside` has the names, by section, of what it will stand beside: what it names must be there. `restricted`
    definitions came over the API: they start no programs, read no files, and use only the environment `secrets` given.

    Raises:
        InvalidDefinition: with every problem, each with its field.
    """
    section = _SECTION_OF[kind]
    try:
        spec: Definition = _ADAPTERS[section].validate_python(data)
    except ValidationError as error:
        raise InvalidDefinition(problems_of(findings_of(error, _TYPES[section], data), data)) from None
    findings: list[Finding] = []
    if beside is not None:
        own = {section: _Both((spec.name,), beside.get(section, {}))}
        findings += Linker({name: beside.get(name, {}) for name in SECTIONS} | own).findings(spec)
    if restricted:
        findings += forbidden(spec, secrets=secrets)
    if findings:
        raise InvalidDefinition(problems_of(findings, data))
    return spec


def document_schema() -> dict[str, Any]:
    """Return the JSON Schema of a definitions file, for editors."""
    schema = Document.model_json_schema()
    return {"$schema": GenerateJsonSchema.schema_dialect} | schema | {"title": "tocsin definitions"}


def _read(name: str, text: str) -> _File:
    data = read_yaml(text, file=name)
    return _shaped(name, text, {} if data is None else data)


def _shaped(name: str, text: str, data: Any) -> _File:
    """Return a file whose sections are looked at, not yet what is in them."""
    if not isinstance(data, dict):
        wrong = Finding((), f"a definitions file is a mapping of sections: {', '.join(SECTIONS)}")
        raise InvalidDefinition(problems_of([wrong], data, file=name, text=text))
    file = _File(name, text, data)
    for section, items in data.items():
        if section not in SECTIONS:
            file.findings.append(Finding((section,), f"unknown key: {nearest(section, SECTIONS)}", at_key=True))
        elif items is not None and not isinstance(items, list):
            file.findings.append(Finding((section,), "has to be a list: begin each entry with `-`"))
    return file


def _check(file: _File, linker: Linker, take: Take, *, secrets: Collection[str] | None = None) -> None:
    """Check each entry by itself, then against what there is beside it; `secrets` if they came over the API."""
    for section, items in file.data.items():
        if section not in SECTIONS or not isinstance(items, list):
            continue
        for position, data in enumerate(items):
            try:
                spec = _ADAPTERS[section].validate_python(data)
            except ValidationError as error:
                file.findings += _inside(findings_of(error, _TYPES[section], data), section, position)
                if section == "automations" and isinstance(data, dict):
                    file.findings += _inside(linker.actions(data), section, position)
                continue
            file.findings += _inside(linker.findings(spec), section, position)
            if secrets is not None:
                file.findings += _inside(forbidden(spec, secrets=secrets), section, position)
            take(section, spec)


class _Both(Collection[str]):
    """The names of two collections together, without a copy of them."""

    def __init__(self, some: Collection[str], others: Collection[str]) -> None:
        self._some = some
        self._others = others

    def __contains__(self, name: object) -> bool:
        return name in self._some or name in self._others

    def __iter__(self) -> Iterator[str]:
        yield from self._some
        yield from (name for name in self._others if name not in self._some)

    def __len__(self) -> int:
        return len(self._some) + len(self._others)


class _Together:
    """A document in the making."""

    def __init__(self) -> None:
        self._sections: dict[str, Any] = {section: [] for section in SECTIONS}

    def take(self, section: str, spec: Definition) -> None:
        self._sections[section].append(spec)

    def document(self) -> Document:
        return Document.model_construct(**self._sections)


def _inside(findings: Iterable[Finding], section: str, position: int) -> Iterator[Finding]:
    for finding in findings:
        yield replace(finding, path=(section, position, *finding.path))


def _declared(files: list[_File]) -> dict[str, set[str]]:
    """Return the names of each section; a name that is declared again is a finding that tells where it was first."""
    first: dict[tuple[str, str], tuple[_File, Path]] = {}
    again: list[tuple[_File, Path, str, tuple[_File, Path]]] = []
    for file in files:
        for section, position, name in file.names():
            path: Path = (section, position, "name")
            if (section, name) in first:
                again.append((file, path, name, first[section, name]))
            else:
                first[section, name] = (file, path)
    wanted = {other.name: (other, {there[1] for *_, there in again if there[0] is other}) for *_, (other, _) in again}
    places = {name: places_of(other.text, paths) for name, (other, paths) in wanted.items()}
    for file, path, name, (other, there) in again:
        found = places[other.name].get(there)
        where = ":".join(map(str, (other.name, found[1].line, found[1].column) if found else (other.name,)))
        kind = SECTIONS[str(path[0])]
        taker = f"the {kind} at {where}" if where else f"another {kind}"
        message = f"the name {name!r} is taken by {taker}: rename one of them"
        file.findings.append(Finding(path, message))
    declared: dict[str, set[str]] = {section: set() for section in SECTIONS}
    for section, name in first:
        declared[section].add(name)
    return declared
