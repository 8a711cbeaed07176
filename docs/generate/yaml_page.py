"""Every key of a definitions file, from its JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from docs.generate.markdown import anchor, code, page, table
from tocsin.schemas.action import ACTION_TYPES, ActionSpec
from tocsin.schemas.document import document_schema
from tocsin.schemas.moments import duration_us, parse_duration, span

INTRODUCTION = """\
A definitions file is YAML with the sections below, all of them optional; a folder of `*.yaml` and `*.yml` files is
read as one document. A key that is not listed here is an error. `tocsin schema` prints the same as JSON Schema, for
editors; `tocsin check PATH` checks a file.

- A **duration** is `90s`, `10m`, `1h30m`, `2d`, ISO 8601 (`PT10M`) or a number of seconds.
- A **secret** is a reference, `{env: NAME}` or `{file: path}`; a secret that is written out is an error.
- A **template** is Jinja2 over what [actions](../actions.md#templates) see."""

_Schema = Mapping[str, Any]
_ACTIONS = frozenset(one.__name__ for one in ACTION_TYPES)
_EVERY_ACTION = "Every action"
_PLAIN = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`",
          "object": "map", "null": "nothing"}  # fmt: skip


def yaml_page() -> str:
    """Return the page."""
    schema = document_schema()
    return _Reference(schema["$defs"]).page(schema)


class _Reference:
    """Writes the models of a schema in the order in which they are first needed."""

    def __init__(self, models: Mapping[str, _Schema]) -> None:
        self._models = models
        self._told: set[str] = {"JsonValue", "Verdict"}

    def page(self, schema: _Schema) -> str:
        parts = [INTRODUCTION]
        for name, section in schema["properties"].items():
            parts.append(f"## {name}\n\n{section['description']}")
            for model in _references(section):
                parts += self._model(model)
        assert self._told >= set(self._models), f"never told: {set(self._models) - self._told}"
        return page("Definitions: every key", *parts)

    def _model(self, name: str) -> Iterator[str]:
        if name in self._told:
            return
        if name in _ACTIONS and not self._told & _ACTIONS:
            yield from self._every_action()
        self._told.add(name)
        model = self._models[name]
        fields = model.get("properties", {})
        shown = {key: field for key, field in fields.items() if self._is_shown(name, key, field)}
        rows = (self._row(key, field, required=key in model.get("required", ())) for key, field in shown.items())
        yield "\n\n".join(
            filter(None, [f"### {self._title(name)}", _told(model["description"]), table(_COLUMNS, rows)])
        )
        for reference in _references({**model, "properties": shown}):
            yield from self._model(reference)

    def _every_action(self) -> Iterator[str]:
        """Tell once what all actions take."""
        model = self._models[ACTION_TYPES[0].__name__]
        names = [field.alias or name for name, field in ActionSpec.model_fields.items()]
        fields = {name: model["properties"][name] for name in names}
        rows = (self._row(name, field, required=False) for name, field in fields.items())
        yield f"### {_EVERY_ACTION}\n\nWhat the actions below have in common.\n\n{table(_COLUMNS, rows)}"
        for reference in _references(fields):
            yield from self._model(reference)

    def _is_shown(self, model: str, key: str, field: _Schema) -> bool:
        """Leave out the `id` of Prefect's triggers, and of an action what every action has."""
        common = {field.alias or name for name, field in ActionSpec.model_fields.items()}
        return not (model in _ACTIONS and key in common) and not field.get("description", "").startswith(_PREFECTS)

    def _title(self, name: str) -> str:
        kinds = _kinds(self._models[name])
        if not kinds:
            return _words(name)
        return f"{_words(name)}: {' or '.join(f'`type: {kind}`' for kind in kinds)}"

    def _row(self, key: str, field: _Schema, *, required: bool) -> tuple[str, str, str, str]:
        kind = self._type(field)
        return code(key), kind, "required" if required else _default(field, kind), _told(field.get("description", ""))

    def _type(self, schema: _Schema) -> str:
        """Return a schema in words."""
        if "$ref" in schema:
            return self._link(schema["$ref"].rpartition("/")[2])
        if "const" in schema or "enum" in schema:
            return " or ".join(map(code, schema.get("enum") or [schema["const"]]))
        members = [one for one in schema.get("anyOf") or schema.get("oneOf") or () if one.get("type") != "null"]
        if {one.get("type") for one in members} == {"string", "number"}:
            return "duration"
        if members and {*_references(members)} == _ACTIONS:
            return f"[action](#{anchor(_EVERY_ACTION)})"
        if members:
            return " or ".join(dict.fromkeys(map(self._type, members)))
        if schema.get("type") == "array":
            return f"list of {self._type(schema.get('items', {}))}"
        if schema.get("format") == "date-time":
            return "time"
        kinds = schema.get("type", ())
        return " or ".join(_PLAIN[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)) or "anything"

    def _link(self, name: str) -> str:
        if name == "JsonValue":
            return "anything"
        if name == "Verdict":
            return self._type(self._models[name])
        kinds = _kinds(self._models[name])
        return f"[{' or '.join(kinds) or _words(name)}](#{anchor(self._title(name))})"


_COLUMNS = ("key", "value", "default", "meaning")
_PREFECTS = "Triggers written for Prefect have ids"


def _kinds(model: _Schema) -> list[str]:
    """Return the values of `type` that a model answers to."""
    field = model.get("properties", {}).get("type", {})
    return field.get("enum") or ([field["const"]] if "const" in field else [])


def _references(schema: Any) -> Iterator[str]:
    """Return the names of the models that a schema names, in order."""
    if isinstance(schema, Mapping):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for key, inner in schema.items():
            if key != "discriminator":
                yield from _references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _references(inner)


def _words(name: str) -> str:
    """Return `FlowSchedule` as `Flow schedule`."""
    return "".join(f" {one.lower()}" if one.isupper() else one for one in name).strip().capitalize()


def _told(text: str) -> str:
    """Return a description on one line."""
    return " ".join(text.split())


def _default(field: _Schema, kind: str) -> str:
    if "const" in field:
        return "required"
    value = field.get("default")
    if value in (None, "", [], {}) or isinstance(value, dict):
        return ""
    if kind == "duration":
        return code(span(duration_us(parse_duration(value))))
    return code(str(value).lower() if isinstance(value, bool) else value)
