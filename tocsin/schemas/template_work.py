"""The budget of a template: each step counts, and nothing is made that would be too large.

Whatever could grow faster than its input is estimated before it is done: repetition, powers, padding, replacing,
joining, formatting. The rest is counted after it is done, by its size.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from itertools import islice
from types import GeneratorType, MappingProxyType
from typing import Any, NamedTuple

from jinja2 import ChainableUndefined, Undefined
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS as JINJA_TESTS

from tocsin.errors import TocsinError
from tocsin.schemas.moments import duration_us, span
from tocsin.schemas.template_syntax import FILTERS, METHODS, TESTS

STEPS_MAX = 200_000
"""The most steps of one rendering; a few tenths of a second."""

CHARACTERS_MAX = 1_048_576
"""The most characters of a text, on the way and in the end."""

RANGE_MAX = 10_000
"""The most numbers of a `range`, and the most parts of `batch` and `slice`."""

_BITS_MAX = 4_096
_CHARACTERS_PER_STEP = 64
_DIGITS = re.compile(r"\d+")
_TIME_PARTS = frozenset({"year", "month", "day", "hour", "minute", "second", "microsecond"})


class Stopped(TocsinError):
    """The template used up its budget."""


class Missing(ChainableUndefined):
    """What a template names and is not there; its name is the path as written."""

    @property
    def path(self) -> str:
        """Return the path as it stands in the template."""
        return self._undefined_name or "a value"


class Work:
    """Counts the steps of one rendering."""

    def __init__(self, steps: int = STEPS_MAX) -> None:
        """Allow that many steps."""
        self._left = steps

    def spend(self, steps: int = 1) -> None:
        """Count steps; raises Stopped when there are none left."""
        self._left -= steps
        if self._left < 0:
            raise Stopped(f"needs more than {STEPS_MAX:,} steps: make it look at less, for example at events[:10]")

    def room(self, characters: int) -> None:
        """Refuse a text before it is made; raises Stopped when it would be too large."""
        if characters > CHARACTERS_MAX:
            raise Stopped(f"would make a text of more than {CHARACTERS_MAX:,} characters: make it shorter")
        self.spend(max(characters, 0) // _CHARACTERS_PER_STEP)

    def made(self, value: Any) -> Any:
        """Count a value that was just made by its size, and return it."""
        if isinstance(value, str):
            self.room(len(value))
        elif isinstance(value, list | tuple | dict):
            self.spend(len(value))
        elif isinstance(value, int) and value.bit_length() > _BITS_MAX:
            raise Stopped("makes a number that is too large")
        return value

    def arithmetic(self, sign: str, left: Any, right: Any) -> Any:
        """Return `left sign right`, refusing before it is made what would be too large."""
        if sign == "+" and isinstance(left, str) and isinstance(right, str):
            self.room(len(left) + len(right))
        elif sign == "*":
            self._repeat(left, right)
            self._repeat(right, left)
        elif sign == "**" and isinstance(left, int) and isinstance(right, int):
            if left.bit_length() * right > _BITS_MAX:
                raise Stopped("makes a number that is too large")
        elif sign == "%" and isinstance(left, str):
            _guard_format(self, left, right)
        return self.made(_OPERATORS[sign](left, right))

    def _repeat(self, value: Any, times: Any) -> None:
        if isinstance(times, int):
            if isinstance(value, str):
                self.room(len(value) * times)
            elif isinstance(value, list | tuple):
                self.spend(max(len(value) * times, 0))

    def walk(self, value: Any) -> int:
        """Count everything in a value, and return about how many characters it takes as text."""
        characters, rest = 0, [value]
        while rest:
            item = rest.pop()
            self.spend()
            if isinstance(item, str):
                characters += len(item) + 2
                self.spend(len(item) // _CHARACTERS_PER_STEP)
            elif isinstance(item, dict):
                characters += 2 + sum(len(key) + 4 for key in item if isinstance(key, str))
                rest.extend(item.values())
            elif isinstance(item, list | tuple):
                characters += 2 + 2 * len(item)
                rest.extend(item)
            else:
                characters += 32
        return characters


def plain(value: Any) -> Any:
    """Return a value as JSON has it: times as ISO 8601, lengths of time in short form, what is missing as no text."""
    if isinstance(value, Undefined):
        return ""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(item) for item in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return span(duration_us(value)) if isinstance(value, timedelta) else value


def text_of(value: Any, work: Work) -> str:
    """Return a value as it stands in a text: null and what is missing as nothing, lists and mappings as JSON."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, Undefined):
        return ""
    if isinstance(value, dict | list | tuple):
        work.room(work.walk(value))
        return json.dumps(plain(value), ensure_ascii=False)
    return str(plain(value))


def member(value: Any, name: Any, path: str) -> Any:
    """Return a part of plain data: an item, or a part of a time. No attribute of a Python object is ever looked at."""
    if isinstance(value, dict | list | tuple | str) and not isinstance(value, Undefined):
        try:
            return value[name]
        except (KeyError, IndexError, TypeError):
            return Missing(name=path)
    if isinstance(value, date | time) and name in _TIME_PARTS:
        return getattr(value, name, Missing(name=path))
    return Missing(name=path)


_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType({
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "**": operator.pow,
})  # fmt: skip


class Arguments(NamedTuple):
    """What a call is given."""

    positional: Sequence[Any]
    named: Mapping[str, Any]


def call_method(work: Work, value: Any, call: tuple[str, Arguments]) -> Any:
    """Call one of the listed methods of a value; one that its type does not have is an AttributeError."""
    if isinstance(value, Undefined):
        return value
    name, (args, kwargs) = call
    if not any(isinstance(value, kind) and name in names for kind, names in METHODS.items()):
        raise AttributeError(f"a value of type {type(value).__name__} has no method {name}")
    if isinstance(value, str) and name == "join":
        _guard_join(work, *args, value)
    elif isinstance(value, str) and name == "replace":
        _guard_replace(work, value, *args, **kwargs)
    elif name == "strftime":
        _guard_format(work, *args, **kwargs)
    result = getattr(value, name)(*args, **kwargs)
    return work.made(list(result) if isinstance(value, dict) and name != "get" else result)


class Jinja(ImmutableSandboxedEnvironment):
    """Jinja2's filters and tests, each call counted; filters that call filters (`map`) come back here."""

    def __init__(self, work: Work) -> None:
        """Count on this budget."""
        super().__init__(undefined=Missing)
        self._work = work
        self.filters = {name: JINJA_FILTERS[name] for name in FILTERS} | {"tojson": self._to_json}
        self.tests = {name: JINJA_TESTS[name] for name in TESTS}
        self._context = Context(self, {}, None, {})

    def apply(self, name: str, value: Any, given: Arguments) -> Any:
        """Return what a filter makes of a value."""
        return self.call_filter(name, value, *given, context=self._context)

    def holds(self, name: str, value: Any, given: Arguments) -> bool:
        """Return whether a test holds for a value."""
        return bool(self.call_test(name, value, *given, context=self._context))

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return a part of plain data, for filters that take an `attribute`."""
        return member(obj, argument, str(argument))

    def call_filter(self, name: str, value: Any, *given: Any, **more: Any) -> Any:
        """Count, refuse what would be too large, and call the filter."""
        args, kwargs = given
        if isinstance(value, list | tuple | dict) and name not in _OF_ITEMS:
            self._work.walk(value)
        else:
            self._work.made(value)
        if name in _GUARDS:
            _GUARDS[name](self._work, value, *args, **kwargs)
        result = super().call_filter(name, value, args, kwargs, **more)
        if isinstance(result, GeneratorType):
            result = list(islice(result, STEPS_MAX))
        return self._work.made(str(result) if isinstance(result, str) else result)

    def call_test(self, name: str, value: Any, *given: Any, **more: Any) -> Any:
        """Count, and call the test."""
        self._work.spend(1 + sum(map(_size, given[0])))
        return super().call_test(name, value, *given, **more)

    def _to_json(self, value: Any, indent: int | None = None) -> str:
        self._work.room(self._work.walk(value) * (1 + _small(indent or 0, 8)))
        return json.dumps(plain(value), ensure_ascii=False, indent=indent)


_OF_ITEMS = frozenset({
    "batch", "count", "d", "default", "dictsort", "first", "groupby", "items", "last", "length", "list", "map", "max",
    "min", "reject", "rejectattr", "reverse", "select", "selectattr", "slice", "sort", "sum", "unique",
})  # fmt: skip


def _size(value: Any) -> int:
    return len(value) // _CHARACTERS_PER_STEP if isinstance(value, str) else _length(value)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list | tuple | dict | str) else 0


def _small(number: Any, most: int) -> int:
    if not isinstance(number, int) or abs(number) > most:
        raise ValueError(f"{number!r} is not a number up to {most:,}")
    return abs(number)


def _guard_format(work: Work, form: Any, *args: Any, **kwargs: Any) -> None:
    """Every placeholder may be as wide as the largest number in the format, or as long as the longest argument."""
    form = text_of(form, work)
    if "*" in form:
        raise ValueError("`*` as a width is not for templates: write the width out")
    widest = max((int(digits) if len(digits) < 8 else CHARACTERS_MAX for digits in _DIGITS.findall(form)), default=0)
    longest = max((work.walk(argument) for argument in (*args, *kwargs.values())), default=0)
    work.room(len(form) + form.count("%") * (widest + longest + 64))


def _guard_replace(work: Work, value: Any, *given: Any, old: Any = "", new: Any = "", **_: Any) -> None:
    old, new = (*given, old, new)[:2] if len(given) != 1 else (given[0], new)
    value, old, new = (text_of(part, work) for part in (value, old, new))
    work.room(len(value) + value.count(old) * max(len(new) - len(old), 0))


def _guard_join(work: Work, value: Any, between: Any = "", *_: Any, **__: Any) -> None:
    work.room(work.walk(value) + _length(value) * len(text_of(between, work)))


def _guard_indent(work: Work, value: Any, width: Any = 4, *_: Any, **__: Any) -> None:
    text = text_of(value, work)
    work.room(len(text) + (text.count("\n") + 1) * (len(width) if isinstance(width, str) else _small(width, 1_000)))


def _guard_center(work: Work, value: Any, width: Any = 80) -> None:
    work.room(_small(width, 1_000))


def _guard_round(work: Work, value: Any, precision: Any = 0, *_: Any, **__: Any) -> None:
    _small(precision, 20)


def _guard_parts(work: Work, value: Any, parts: Any, *_: Any, **__: Any) -> None:
    work.spend(_small(parts, RANGE_MAX))


def _guard_sum(work: Work, value: Any, attribute: Any = None, *given: Any, start: Any = 0) -> None:
    if not all(isinstance(number, int | float) for number in (*given, start)):
        raise TypeError("sum adds numbers only")


def _guard_each(work: Work, value: Any, *args: Any, **kwargs: Any) -> None:
    work.spend(_length(value) * (1 + sum(map(_size, (*args, *kwargs.values())))))


def _guard_sort(work: Work, value: Any, *_: Any, **__: Any) -> None:
    work.spend(_length(value) * 10)


_GUARDS: Mapping[str, Callable[..., None]] = MappingProxyType({
    "batch": _guard_parts, "center": _guard_center, "dictsort": _guard_sort, "format": _guard_format,
    "groupby": _guard_sort, "indent": _guard_indent, "join": _guard_join, "map": _guard_each, "reject": _guard_each,
    "rejectattr": _guard_each, "replace": _guard_replace, "round": _guard_round, "select": _guard_each,
    "selectattr": _guard_each, "slice": _guard_parts, "sort": _guard_sort, "sum": _guard_sum, "unique": _guard_sort,
})  # fmt: skip
