"""How definitions say which events they mean: name patterns, label specs and readers (laws E4, M1, M2, M3, M5).

These are the written forms, checked and brought into one shape; `tocsin.triggers.match` compiles them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from tocsin.schemas.event import bare_label, label_text
from tocsin.schemas.expression import compile_expression

RELATED = "related:"
"""A reader `related:ROLE:LABEL` takes a label of the first related resource of that role (law M5)."""

PAYLOAD = "payload:"
"""A reader `payload:PATH` takes what a JMESPath expression finds in the payload (law M5)."""

_SET = re.compile(r"\[!?+\]?+[^\]]*+\]")
_RANGE = re.compile(r"([^\]])-([^\]])")


def names(value: object) -> tuple[str, ...]:
    """Read a pattern or a list of patterns of event names; an empty list means any event, as in Prefect (law M1)."""
    patterns = _strings(value, "an event name pattern")
    if not all(patterns):
        raise ValueError('an event name pattern is empty: write a name, or "*" for any event')
    return tuple(dict.fromkeys(patterns)) or ("*",)


def no_names(value: object) -> tuple[str, ...] | None:
    """Read patterns as `names` does, but an empty list means that there are none, as in Prefect's `after`."""
    return None if value is None or _is_empty(value) else names(value)


def label_spec(value: object) -> dict[str, tuple[str, ...]]:
    """Read a label spec: each label with a pattern or a list of patterns, those with a leading `!` exclude (law M2)."""
    if not isinstance(value, dict):
        raise ValueError("a label spec is a map of labels to patterns: write {id: 'table/*', env: [prod, '!test']}")
    spec: dict[str, tuple[str, ...]] = {}
    for label, patterns in value.items():
        name = _bare(label)
        if name in spec:
            raise ValueError(f"label {name!r} is given twice: Prefect's prefix is dropped, so join the two lists")
        spec[name] = tuple(dict.fromkeys(_patterns(name, patterns)))
    return spec


def label_specs(value: object) -> tuple[dict[str, tuple[str, ...]], ...]:
    """Read one label spec or a list of them; empty ones ask for nothing and are dropped (law M3)."""
    if value is None:
        return ()
    specs = value if isinstance(value, list | tuple) else [value]
    return tuple(spec for spec in map(label_spec, specs) if spec)


def readers(value: object) -> dict[str, str]:
    """Read `for_each`: a list of readers, or a map from names of your own to readers, in that order (law M5)."""
    if _is_empty(value):
        return {}
    if isinstance(value, list | tuple | set | frozenset):
        found = [_reader(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
        return {reader: reader for reader in found}
    if isinstance(value, dict):
        return {_bare(name): _reader(item) for name, item in value.items()}
    raise ValueError("for_each is a list of labels or a map from names to labels: write for_each: [id]")


def expression(value: object) -> object:
    """Check a JMESPath expression and return its text without the space around it (law M4)."""
    if isinstance(value, str):
        value = value.strip()
        compile_expression(value)
    return value


def _strings(value: object, what: str) -> list[str]:
    items = [value] if isinstance(value, str) else value
    if isinstance(items, set | frozenset):
        items = sorted(items)
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"{value!r} is not {what}: write a string or a list of strings")
    return list(items)


def _is_empty(value: object) -> bool:
    return isinstance(value, list | tuple | set | frozenset | dict) and not value


def _bare(label: object) -> str:
    if not isinstance(label, str) or not bare_label(label):
        raise ValueError(f"{label!r} is not the name of a label: write a string that is not empty")
    return bare_label(label)


def _patterns(label: str, value: object) -> list[str]:
    items = value if isinstance(value, list | tuple) else [value]
    if not items:
        raise ValueError(f"label {label!r} has an empty list of patterns: write '*' for any value, or leave it out")
    patterns = [label_text(label, item) for item in items]
    for pattern in patterns:
        _check_sets(label, pattern)
    return patterns


def _check_sets(label: str, pattern: str) -> None:
    """Refuse a set that is not closed, or a range that no character is in; `fnmatch` takes both silently."""
    if "[" in _SET.sub("", pattern):
        raise ValueError(f"label {label!r}: a set in {pattern!r} is not closed: end it with ], "
                         "and write [[] for a bracket itself")  # fmt: skip
    for found in _SET.findall(pattern):
        for low, high in _RANGE.findall(found[1:-1].removeprefix("!")):
            if low > high:
                raise ValueError(f"label {label!r}: the range {low}-{high} in {pattern!r} is empty: write {high}-{low}")


def _reader(value: object) -> str:
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.startswith(PAYLOAD):
        compile_expression(text.removeprefix(PAYLOAD))
        return text
    if isinstance(text, str) and text.startswith(RELATED):
        role, _, label = text.removeprefix(RELATED).partition(":")
        if not role or not label:
            raise ValueError(f"{text!r} reads nothing: write related:ROLE:LABEL, for example related:owner:id")
        return f"{RELATED}{role}:{_bare(label)}"
    return _bare(text)


def _one_or_list(patterns: tuple[str, ...]) -> str | list[str]:
    return patterns[0] if len(patterns) == 1 else list(patterns)


def _spec_json(spec: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    return {label: _one_or_list(patterns) for label, patterns in spec.items()}


_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_SCALAR = {"type": ["string", "number", "boolean"]}
_SPEC = {"type": "object", "additionalProperties": {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]}}

Names = Annotated[
    tuple[str, ...], BeforeValidator(names), PlainSerializer(_one_or_list, when_used="json"), WithJsonSchema(_TEXTS)
]
"""Event name patterns, at least one."""

OptionalNames = Annotated[
    tuple[str, ...] | None,
    BeforeValidator(no_names),
    PlainSerializer(lambda patterns: patterns and _one_or_list(patterns), when_used="json"),
    WithJsonSchema({"anyOf": [*_TEXTS["anyOf"], {"type": "null"}]}),
]
"""Event name patterns, or None."""

LabelSpec = Annotated[
    dict[str, tuple[str, ...]],
    BeforeValidator(label_spec),
    PlainSerializer(_spec_json, when_used="json"),
    WithJsonSchema(_SPEC),
]
"""Patterns by label; empty: anything goes."""

LabelSpecs = Annotated[
    tuple[dict[str, tuple[str, ...]], ...],
    BeforeValidator(label_specs),
    PlainSerializer(lambda specs: [_spec_json(spec) for spec in specs], when_used="json"),
    WithJsonSchema({"anyOf": [_SPEC, {"type": "array", "items": _SPEC}]}),
]
"""Specs that each have to be satisfied by a related resource."""

Readers = Annotated[
    dict[str, str],
    BeforeValidator(readers),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}},
                {"type": "object", "additionalProperties": {"type": "string"}},
            ]
        }
    ),
]
"""What makes a key: names, each with what reads its value from an event."""

Where = Annotated[str, BeforeValidator(expression)]
"""The text of a JMESPath expression that compiles."""
