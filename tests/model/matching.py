"""Which events a trigger means, and for which key: laws M1 to M5, F5 for the engine's own events."""

import re
from collections.abc import Mapping

import jmespath
from jmespath.exceptions import JMESPathError

from tests.model.notation import Event, Json, Labels, as_text, bare


def listed(value: Json) -> list[Json]:
    """One or a list of them, as a list."""
    return list(value) if isinstance(value, list | tuple) else [value]


def name_matches(patterns: Json, name: str) -> bool:
    """Law M1: `*` is one or more characters; an empty list, or `"*"`, is any event but the engine's own."""
    wanted = listed(patterns) or ["*"]
    return any(_one_name(pattern, name) for pattern in wanted)


def _one_name(pattern: str, name: str) -> bool:
    if pattern == "*":
        return not name.startswith("tocsin.")
    return re.fullmatch(".+".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None


def _value_glob(pattern: str) -> str:
    """Law M2 as a regular expression: `*` any run, `?` one character, `[abc]` a set."""
    out = ""
    for part in re.findall(r"\[[^]]+]|.", pattern, re.DOTALL):
        if part == "*":
            out += ".*"
        elif part == "?":
            out += "."
        elif len(part) > 1:
            out += "[" + re.escape(part[1:-1]).replace(r"\-", "-") + "]"
        else:
            out += re.escape(part)
    return out


def _value_matches(pattern: str, value: str) -> bool:
    return re.fullmatch(_value_glob(pattern), value, re.DOTALL) is not None


def _label_matches(patterns: list[str], value: str | None) -> bool:
    """Law M2 for one label: at least one positive pattern (or there is none), and no exclusion."""
    positive = [pattern for pattern in patterns if not pattern.startswith("!")]
    negative = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    if value is None:
        return not positive
    chosen = not positive or any(_value_matches(pattern, value) for pattern in positive)
    return chosen and not any(_value_matches(pattern, value) for pattern in negative)


def _patterns(spec: Mapping[str, Json]) -> dict[str, list[str]]:
    return {bare(name): [as_text(one) for one in listed(value)] for name, value in spec.items()}


def _spec_matches(spec: Mapping[str, Json], labels: Mapping[str, str]) -> bool:
    return all(_label_matches(patterns, labels.get(name)) for name, patterns in _patterns(spec).items())


def _related_matches(spec: Mapping[str, Json], related: tuple[Mapping[str, str], ...]) -> bool:
    """Law M3: one related resource satisfies it; exclusions only: all of them do."""
    only_exclusions = all(one.startswith("!") for patterns in _patterns(spec).values() for one in patterns)
    satisfied = [_spec_matches(spec, labels) for labels in related]
    return all(satisfied) if only_exclusions else any(satisfied)


def _where_holds(expression: str, event: Event) -> bool:
    """Law M4: JMESPath's own truth; an expression that fails does not match."""
    try:
        value = jmespath.search(expression, event.document)
    except (JMESPathError, TypeError):  # some comparisons fail as Python's do
        return False
    return not (value is None or value is False or value in ("", [], {}))


def predicate_holds(trigger: Mapping[str, Json], event: Event) -> bool:
    """`match`, `match_related` and `where`, which apply to every role of an event (law M5)."""
    return (
        _spec_matches(trigger.get("match") or {}, event.resource)
        and all(_related_matches(spec, event.related) for spec in listed(trigger.get("match_related") or []))
        and ("where" not in trigger or _where_holds(trigger["where"], event))
    )


def key_names(trigger: Mapping[str, Json]) -> dict[str, str]:
    """The names of a key's labels, each with the path that it is read from (law M5)."""
    wanted = trigger.get("for_each") or []
    if isinstance(wanted, Mapping):
        return {str(name): path for name, path in wanted.items()}
    return {_bare_path(path): path for path in listed(wanted)}


def _bare_path(path: str) -> str:
    if path.startswith("payload:"):
        return path
    start, _, label = path.rpartition(":") if path.startswith("related:") else ("", "", path)
    return f"{start}:{bare(label)}" if start else bare(label)


def key_of(trigger: Mapping[str, Json], event: Event) -> Labels:
    """K: one value for each name, the empty string for what is missing or no scalar (law M5)."""
    return tuple((name, _read(path, event)) for name, path in key_names(trigger).items())


def _read(path: str, event: Event) -> str:
    if path.startswith("payload:"):
        value = jmespath.search(path.removeprefix("payload:"), event.payload)
        return "" if value is None or isinstance(value, list | dict) else as_text(value)
    if path.startswith("related:"):
        _, role, label = path.split(":", 2)
        found = [labels for labels in event.related if labels.get("role") == role]
        return found[0].get(bare(label), "") if found else ""
    return event.resource.get(bare(path), "")


def subject_keys(trigger: Mapping[str, Json]) -> list[Labels]:
    """The keys listed in `subjects`: scalars for one label, else maps (law P4)."""
    names = list(key_names(trigger))
    keys = []
    for subject in trigger.get("subjects") or []:
        given = {bare(k): v for k, v in subject.items()} if isinstance(subject, Mapping) else {names[0]: subject}
        keys.append(tuple((name, as_text(given[name])) for name in names))
    return keys
