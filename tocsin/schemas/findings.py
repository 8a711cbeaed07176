"""What is wrong with a definition, told for people: pydantic's errors in our words, and where they stand.

A finding names a path in the data. Its place in a file is looked up only when there is a finding: a second reading
of the text is cheaper than keeping the place of each value.
"""

from __future__ import annotations

import types
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tocsin.errors import Problem
from tocsin.schemas.spec import Path
from tocsin.schemas.yaml_text import Place, places_of

_LISTED = 20
_COMPARED, _ALIKE = 1_000, 3  # so many names are compared; of more, those that begin with the same characters
_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: the path of the value, or of the key where `at_key`.

    `missing` is the key that is not there, when the finding is about one.
    """

    path: Path
    message: str
    at_key: bool = False
    missing: str = ""


def findings_of(error: ValidationError, model: Any, data: Any) -> list[Finding]:
    """Return pydantic's errors about `data`, which was read as the type `model`, each at its path in the data."""
    return [_finding(details, model, data) for details in error.errors(include_url=False)]


def problems_of(findings: Iterable[Finding], data: Any, *, file: str = "", text: str = "") -> list[Problem]:
    """Return the findings in the order in which they stand in the file; without a text they have fields only."""
    known = list(findings)
    wanted = {finding.path[:length] for finding in known for length in range(len(finding.path) + 1)}
    places = places_of(text, wanted) if text and known else {}
    problems = []
    for finding in known:
        place = _place(finding, places)
        problems.append(
            Problem(finding.message, field=field_of(finding, data), file=file, line=place.line, column=place.column)
        )
    return sorted(problems, key=lambda problem: (problem.line, problem.column))


def field_of(finding: Finding, data: Any) -> str:
    """Return the path as people read it: `automations[nightly].trigger.within`; items by name, if they have one."""
    parts: list[str] = []
    value: Any = data
    for step in (*finding.path, *([finding.missing] if finding.missing else [])):
        value = value[step] if _inside(value, step) else None
        name = value.get("name") if isinstance(value, dict) else None
        parts.append(f".{step}" if isinstance(step, str) else f"[{name if isinstance(name, str) else step}]")
    return "".join(parts).removeprefix(".")


def nearest(name: object, known: Iterable[str], *, else_say: str = "") -> str:
    """Return `did you mean ...?` with the nearest known name, or when none is near `else_say`, by default all names.

    Of very many names only those are compared that begin alike, and not all of them.
    """
    wanted, names = str(name).lower(), sorted(_like(str(name), known))
    near = get_close_matches(wanted, names, n=1)
    if near:
        return f"did you mean `{near[0]}`?"
    more = ", …" if len(names) > _LISTED else ""
    return else_say or f"known here: {', '.join(f'`{known_name}`' for known_name in names[:_LISTED])}{more}"


def _like(name: str, known: Iterable[str]) -> Collection[str]:
    if isinstance(known, Sized) and len(known) > _COMPARED:
        return list(islice((one for one in known if one[:_ALIKE] == name[:_ALIKE]), _COMPARED))
    return list(known)


def _place(finding: Finding, places: Mapping[Path, tuple[Place, Place]]) -> Place:
    """Return where the finding stands, or what it stands in, for what came in by an alias."""
    for length in range(len(finding.path), -1, -1):
        if found := places.get(finding.path[:length]):
            return found[0 if finding.at_key and length == len(finding.path) else 1]
    return Place(1, 1) if places else Place(0, 0)


def _finding(details: ErrorDetails, root: Any, data: Any) -> Finding:
    path, value, rest = _follow(details["loc"], data)
    kind = details["type"]
    options = _options_at(root, data, path[:-1] if kind == "extra_forbidden" else path)
    model = _meant(options, _value_at(data, path[:-1]) if kind == "extra_forbidden" else value)
    keys = _keys(model) if model else {}
    if kind == "extra_forbidden":
        return Finding(path, f"unknown key: {nearest(path[-1], keys)}", at_key=True)
    if kind == "missing":
        missing = str(details["loc"][-1])
        return Finding(path, f"is missing: {_begun(keys.get(missing) or 'add it')}", missing=missing)
    if "[key]" in rest:
        return Finding(path, _message(details, value), at_key=True)
    if kind == "union_tag_not_found":
        return Finding(path, f"is missing: one of {', '.join(_types(options))}", missing="type")
    if model is None and isinstance(value, dict) and "type" in value:
        path = (*path, "type")
    tail = str(rest[-1]) if rest and rest[-1] in keys else ""
    return Finding(path, _message(details, value), missing=tail)


def _follow(loc: Sequence[int | str], data: Any) -> tuple[Path, Any, list[int | str]]:
    """Walk a location through the data; what is not in it (union members, missing keys) is left over."""
    path: list[int | str] = []
    rest: list[int | str] = []
    value = data
    for step in loc:
        if _inside(value, step):
            path.append(step)
            value = value[step]
        else:
            rest.append(step)
    return tuple(path), value, rest


def _inside(value: Any, step: int | str) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, dict) and step in value


def _message(details: ErrorDetails, value: Any) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "union_tag_invalid":
        types = [tag.strip("' ") for tag in context["expected_tags"].split(",")]
        return f"there is no type {value['type']!r}: {nearest(value['type'], types)}"
    if kind in ("literal_error", "enum"):
        return f"{value!r} is not one of {context['expected']}"
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f"is {_kind(value)}, and has to be text: put it in quotes"
    if (expected := _EXPECTED.get(kind)) is not None:
        return f"is {_kind(value)}, and has to be {expected}"
    if kind in _TOLD:
        return _TOLD[kind].format(**context)
    return _begun(details["msg"])


def _begun(sentence: str) -> str:
    """Return a sentence as it goes on after a colon."""
    return sentence[:1].lower() + sentence[1:].removesuffix(".")


_EXPECTED = {
    "string_type": "text", "bool_type": "true or false", "bool_parsing": "true or false",
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "list_type": "a list", "tuple_type": "a list", "dict_type": "a mapping",
    "model_type": "a mapping", "model_attributes_type": "a mapping", "datetime_type": "a time: 2026-03-02T09:00:00Z",
}  # fmt: skip

_TOLD = {
    "too_short": "has {actual_length} items, and needs at least {min_length}",
    "string_too_short": "is too short: write at least {min_length} character",
    "string_too_long": "is too long: write at most {max_length} characters",
    "timezone_aware": "has no offset from UTC: write 2026-03-02T09:00:00+01:00, or Z for UTC",
}  # fmt: skip


def _kind(value: Any) -> str:
    return "empty" if value is None else _KINDS.get(type(value), "something else")


def _value_at(data: Any, path: Path) -> Any:
    for step in path:
        data = data[step]
    return data


def _options_at(annotation: Any, data: Any, path: Path) -> list[Any]:
    """Return the types that the value at a path may be read as."""
    options, value = list(_options(annotation)), data
    for step in path:
        if isinstance(step, int):
            options = [option for kind in options for item in _items(kind) for option in _options(item)]
        elif (model := _meant(options, value)) is not None:
            found = next((field for name, field in model.model_fields.items() if (field.alias or name) == step), None)
            options = list(_options(found.annotation)) if found else []
        else:
            options = [option for kind in options for item in _values(kind) for option in _options(item)]
        value = value[step]
    return options


def _options(annotation: Any) -> Iterator[Any]:
    """Return the members of a union, of annotated types and of both inside each other."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _options(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _options(member)
    else:
        yield annotation


def _items(kind: Any) -> Sequence[Any]:
    return get_args(kind)[:1] if get_origin(kind) in (list, tuple) else ()


def _values(kind: Any) -> Sequence[Any]:
    return get_args(kind)[1:2] if get_origin(kind) is dict else ()


def _meant(options: Sequence[Any], value: Any) -> type[BaseModel] | None:
    """Choose among models by the `type` that the value names, or that a model takes for granted."""
    models = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
    if len(models) == 1:
        return models[0]
    if not isinstance(value, dict):
        return None
    for model in models:
        field = model.model_fields.get("type")
        if field is not None and value.get("type", field.default) in get_args(field.annotation):
            return model
    return None


def _types(options: Sequence[Any]) -> list[str]:
    """Return the values of `type` that models take."""
    fields = [option.model_fields.get("type") for option in options if hasattr(option, "model_fields")]
    return [name for field in fields if field is not None for name in get_args(field.annotation)]


def _keys(model: type[BaseModel]) -> dict[str, str]:
    """Return the keys that a model takes, with what each is for."""
    return {
        field.alias or name: field.description or ""
        for name, field in model.model_fields.items()
        if field.exclude is not True
    }
