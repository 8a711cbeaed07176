"""Which events a trigger means: predicates compiled once, evaluated for each candidate (laws M1-M5, F5).

Rule 1: everything that decides whether an event matches is in this file; the index only leaves out what can not.
Rule 2: what is dear comes last: names, then equal labels, then patterns, then related resources, then `where`.
Rule 3: `explain` evaluates the very predicates that matching evaluates, so that the two can not disagree.

A trigger looks at an event in up to three roles, written as a sum of `EXPECT`, `AFTER` and `UNTIL`; 0 is no match.
The three differ in the event's name only: `match`, `match_related`, `where` and `for_each` are shared (law M5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Any, TypeAlias

from tocsin.schemas.event import RESERVED, Arrival
from tocsin.schemas.expression import Expression, ExpressionFailed, compile_expression, is_true
from tocsin.schemas.pattern import PAYLOAD, RELATED
from tocsin.schemas.trigger import LeafTrigger

EXPECT, AFTER, UNTIL = 1, 2, 4
"""The roles in which an event can matter to a trigger; an event may have several."""

Roles: TypeAlias = int
Key: TypeAlias = tuple[str, ...]
Labels: TypeAlias = Mapping[str, str]
Spec: TypeAlias = Mapping[str, Sequence[str]]

_SPECIAL = re.compile(r"[*?\[]")
_FEW = 4


class Facts:
    """What predicates ask about one arrival; the document of `where` is built at most once."""

    __slots__ = ("_document", "arrival", "labels", "name", "related")

    def __init__(self, arrival: Arrival) -> None:
        event = arrival.event
        self.arrival = arrival
        self.name = event.event
        self.labels = event.resource
        self.related = event.related
        self._document: dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """Return the event as JMESPath sees it."""
        if self._document is None:
            self._document = self.arrival.document()
        return self._document


class Matcher:
    """The compiled predicates of one event or deadline trigger; immutable.

    An index finds candidates by `name_patterns` and `literals_of`; `roles` then decides.
    """

    __slots__ = ("_equal", "_globs", "_key_labels", "_literals", "_readers", "_related", "_tests", "_where")

    def __init__(self, trigger: LeafTrigger) -> None:
        patterns = name_patterns(trigger)
        literals = {role: [text for text in texts if "*" not in text] for role, texts in patterns.items()}
        self._literals = tuple((_container(texts), role) for role, texts in literals.items() if texts)
        self._globs = tuple(
            (name_test(text), role) for role, texts in patterns.items() for text in texts if "*" in text
        )
        self._equal, self._tests = _compile_spec(trigger.match)
        self._related = tuple(_Related(spec) for spec in trigger.match_related)
        self._where = None if trigger.where is None else compile_expression(trigger.where)
        plain = not any(reader.startswith((RELATED, PAYLOAD)) for reader in trigger.for_each.values())
        self._key_labels = tuple(trigger.for_each.values()) if plain else None
        self._readers = () if plain else tuple(map(_reader, trigger.for_each.values()))

    def roles(self, facts: Facts) -> Roles:
        """Return the roles in which the event matches, 0 for none.

        Raises:
            ExpressionFailed: `where` failed at run time: the event does not match, and that is counted (law M4).
        """
        found = self._name_roles(facts.name)
        if not found:
            return 0
        labels = facts.labels
        for label, value in self._equal:
            if labels.get(label) != value:
                return 0
        for label, test in self._tests:
            if not test.covers(labels.get(label)):
                return 0
        for related in self._related:
            if not related.covers(facts.related):
                return 0
        if self._where is not None and not self._where.holds(facts.document()):
            return 0
        return found

    def key(self, facts: Facts) -> Key:
        """Return K, the values of `for_each` in its order; what is missing or no scalar is the empty string."""
        if self._key_labels is not None:
            labels = facts.labels
            return tuple([labels.get(label, "") for label in self._key_labels])
        return tuple([read(facts) for read in self._readers])

    def _name_roles(self, name: str) -> Roles:
        found = 0
        for names, role in self._literals:
            if name in names:
                found |= role
        for test, role in self._globs:
            if not found & role and test(name):
                found |= role
        return found


def name_patterns(trigger: LeafTrigger) -> dict[Roles, tuple[str, ...]]:
    """Return the event name patterns of each role that the trigger has (law M1)."""
    patterns = {EXPECT: trigger.expect}
    for role, field in ((AFTER, "after"), (UNTIL, "until")):
        texts = getattr(trigger, field, None)
        if texts is not None:
            patterns[role] = texts
    return patterns


def literals_of(match: Spec) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the labels of the primary resource that have to equal one of some values, whatever else they must."""
    literals = []
    for label, patterns in match.items():
        wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
        if wanted and not any(map(_SPECIAL.search, wanted)):
            literals.append((label, tuple(dict.fromkeys(wanted))))
    return tuple(literals)


def name_test(pattern: str) -> Callable[[str], object]:
    """Compile a glob over a whole event name: `*` is one or more characters, nothing else is special (law M1).

    A bare `*` means any event of the outside world: the engine's own do not match it (law F5).
    """
    if pattern == "*":
        return _is_foreign
    first, *others = pattern.split("*")
    if not others:
        return pattern.__eq__
    if others == [""]:
        return _Prefix(first)
    # The leftmost place for each part leaves the most room for the next, so nothing is ever tried twice: (?>...).
    middle = "".join(f"(?>.+?{re.escape(part)})" for part in others[:-1])
    return re.compile(f"{re.escape(first)}{middle}.+{re.escape(others[-1])}", re.DOTALL).fullmatch


class _Prefix:
    """The glob of a prefix and a `*`, which most globs are: quicker and much smaller than an expression."""

    __slots__ = ("_prefix",)

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __call__(self, name: str) -> bool:
        return name.startswith(self._prefix) and len(name) > len(self._prefix)


def _is_foreign(name: str) -> bool:
    return not name.startswith(RESERVED)


def _container(texts: Sequence[str]) -> Container[str]:
    """Return what is quickest to ask whether it contains a text; for a few that is a tuple, and small."""
    return tuple(texts) if len(texts) <= _FEW else frozenset(texts)


class _Values:
    """Some patterns of label values, of which one has to cover a value (law M2)."""

    __slots__ = ("_globs", "_literals", "_prefixes")

    def __init__(self, patterns: Sequence[str]) -> None:
        special = [pattern for pattern in patterns if _SPECIAL.search(pattern)]
        prefixes = [text for text in special if text.endswith("*") and not _SPECIAL.search(text[:-1])]
        self._literals = _container([pattern for pattern in patterns if pattern not in special])
        self._prefixes = tuple(text[:-1] for text in prefixes)
        self._globs = tuple(re.compile(translate(text)) for text in special if text not in prefixes)

    def cover(self, value: str) -> bool:
        return (
            value in self._literals
            or value.startswith(self._prefixes)
            or any(glob.match(value) for glob in self._globs)
        )


class _LabelTest:
    """The patterns of one label: those that a value has to match, and those that exclude it (law M2)."""

    __slots__ = ("_excluded", "_wanted")

    def __init__(self, patterns: Sequence[str]) -> None:
        wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
        excluded = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
        self._wanted = _Values(wanted) if wanted else None
        self._excluded = _Values(excluded) if excluded else None

    def covers(self, value: str | None) -> bool:
        if value is None:
            return self._wanted is None
        if self._wanted is not None and not self._wanted.cover(value):
            return False
        return self._excluded is None or not self._excluded.cover(value)


@lru_cache(maxsize=1024)
def _label_test(patterns: tuple[str, ...]) -> _LabelTest:
    """Compile the patterns of one label, or share those of a trigger that has the same ones."""
    return _LabelTest(patterns)


_Equal: TypeAlias = tuple[tuple[str, str], ...]
_Tests: TypeAlias = tuple[tuple[str, _LabelTest], ...]


def _compile_spec(spec: Spec) -> tuple[_Equal, _Tests]:
    """Split a label spec into plain equalities, which are cheap, and the rest."""
    equal, tests = [], []
    for label, patterns in spec.items():
        if len(patterns) == 1 and not patterns[0].startswith("!") and not _SPECIAL.search(patterns[0]):
            equal.append((label, patterns[0]))
        else:
            tests.append((label, _label_test(tuple(patterns))))
    return tuple(equal), tuple(tests)


class _Related:
    """One spec over related resources: one has to satisfy it, or none may be excluded by it (law M3)."""

    __slots__ = ("_equal", "_quantifier", "_tests")

    def __init__(self, spec: Spec) -> None:
        self._equal, self._tests = _compile_spec(spec)
        only_exclusions = all(pattern.startswith("!") for patterns in spec.values() for pattern in patterns)
        self._quantifier: Callable[[Any], bool] = all if only_exclusions else any

    def covers(self, related: Sequence[Labels]) -> bool:
        return self._quantifier(self._satisfied_by(labels) for labels in related)

    def _satisfied_by(self, labels: Labels) -> bool:
        return all(labels.get(label) == value for label, value in self._equal) and all(
            test.covers(labels.get(label)) for label, test in self._tests
        )


def _reader(text: str) -> Callable[[Facts], str]:
    """Compile one reader of `for_each` (law M5)."""
    if text.startswith(PAYLOAD):
        expression = compile_expression(text.removeprefix(PAYLOAD))
        return lambda facts: _scalar(expression, facts.arrival.event.payload)
    if text.startswith(RELATED):
        role, _, label = text.removeprefix(RELATED).partition(":")
        return lambda facts: _first_related(facts.related, role).get(label, "")
    return lambda facts: facts.labels.get(text, "")


def _first_related(related: Sequence[Labels], role: str) -> Labels:
    return next((labels for labels in related if labels.get("role") == role), {})


def _scalar(expression: Expression, payload: object) -> str:
    try:
        value = expression.search(payload)
    except ExpressionFailed:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else ""


@dataclass(frozen=True, slots=True)
class Predicate:
    """One condition of a trigger beside what an event had for it."""

    name: str
    pattern: object
    value: object
    passed: bool


def explain(trigger: LeafTrigger, arrival: Arrival) -> list[Predicate]:
    """Recompute each predicate of a trigger for one event, and what its key would be.

    The event matches when all but the roles (`expect`, `after`, `until`) passed, and at least one of these did.
    """
    facts = Facts(arrival)
    predicates = []
    for role, patterns in name_patterns(trigger).items():
        passed = any(name_test(pattern)(facts.name) for pattern in patterns)
        predicates.append(Predicate(_ROLE_NAMES[role], patterns, facts.name, passed))
    for label, patterns in trigger.match.items():
        value = facts.labels.get(label)
        predicates.append(Predicate(f"match.{label}", patterns, value, _LabelTest(patterns).covers(value)))
    for place, spec in enumerate(trigger.match_related):
        passed = _Related(spec).covers(facts.related)
        predicates.append(Predicate(f"match_related.{place}", spec, facts.related, passed))
    if trigger.where is not None:
        predicates.append(_explain_where(trigger.where, facts))
    key = Matcher(trigger).key(facts)
    for (name, reader), text in zip(trigger.for_each.items(), key, strict=True):
        predicates.append(Predicate(f"for_each.{name}", reader, text, passed=True))
    return predicates


_ROLE_NAMES = {EXPECT: "expect", AFTER: "after", UNTIL: "until"}


def _explain_where(where: str, facts: Facts) -> Predicate:
    try:
        value = compile_expression(where).search(facts.document())
    except ExpressionFailed as error:
        return Predicate("where", where, f"failed: {error}", passed=False)
    return Predicate("where", where, value, is_true(value))
