"""Automations of Prefect as a definitions file, with a comment wherever something means something else here.

    exported JSON or YAML -> Imported(text, errors)

What has no equivalent is an error: its place in the file holds a comment that says why, and the rest of the file is
right. Triggers are read by the same models as any definition, so that what is written is what `tocsin check` takes.
Nothing is fetched here: what the API told about blocks, deployments and queues comes in as `Known`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.errors import InvalidDefinition, Problem
from tocsin.review.commented import Entry, written
from tocsin.review.prefect_actions import (
    REFERENCES,
    Catalogue,
    Desk,
    Known,
    NoEquivalent,
    plain_name,
    translate,
    unique_name,
)
from tocsin.review.prefect_template import Translator
from tocsin.schemas.automation import Automation, resolves
from tocsin.schemas.document import parse, parse_definition
from tocsin.schemas.moments import duration_us, span
from tocsin.schemas.secret import secrets_in
from tocsin.schemas.trigger import ChildTrigger, EventTrigger, SequenceTrigger, label_names
from tocsin.schemas.yaml_text import read_yaml

_HEAD = (
    "Imported from Prefect by `tocsin import prefect`. A remark says where something means something else here.",
    "Labels lose the prefix `prefect.resource.`, here and in events (law E4).",
    "Events named `prefect.*` are Prefect's own: they have to be sent on to POST /api/events.",
)
_SHORTEST_S = 10
_ANY = {"expect": "*"}
_MIXED = (
    "Patterns that begin with ! exclude here, also beside others (law M2); in Prefect one pattern that fits is enough."
)
_UNLABELLED = "An event without the label passes an exclusion here (law M2), and does not in Prefect."
_RELATED = "Here no related resource may be excluded (law M3); in Prefect it is enough that one is not."


@dataclass(frozen=True, slots=True)
class Imported:
    """A definitions file, and what could not be imported, in sentences.

    `automations` counts those that are in the file; `variables` are the environment variables that it asks for.
    """

    text: str
    automations: int
    variables: tuple[str, ...]
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Draft:
    """An automation whose trigger is translated; without `data`, what stands in its place is `remarks`."""

    source: Mapping[str, Any]
    name: str
    remarks: tuple[str, ...]
    spec: Automation | None = None


def read_export(text: str, *, file: str = "") -> list[Mapping[str, Any]]:
    """Return the automations of an export: one, a list, or a mapping with `automations`; JSON or YAML.

    Prefect's command breaks long lines of its JSON; what is not JSON is read as YAML, which joins them again.

    Raises:
        InvalidDefinition: it is neither, or not of automations.
    """
    try:
        data = json.loads(text)
    except ValueError:
        data = read_yaml(text, file=file)
    return automations_of(data, file=file)


def automations_of(data: Any, *, file: str = "") -> list[Mapping[str, Any]]:
    """Return the automations of an export that was read.

    Raises:
        InvalidDefinition: it is not of automations.
    """
    found = data.get("automations", [data]) if isinstance(data, dict) else data
    if not isinstance(found, list) or not all(isinstance(one, dict) and "trigger" in one for one in found):
        message = "this is no export of automations: write what `prefect automation inspect NAME --json` prints"
        raise InvalidDefinition([Problem(message, file=file, line=1, column=1)])
    return found


def references(automations: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return what the actions name by id, as (collection of Prefect's API, id), each once."""
    return list(dict.fromkeys(
        (REFERENCES[field], str(value))
        for one in automations
        for action, _ in _actions_of(one)
        for field, value in action.items()
        if field in REFERENCES and value
    ))  # fmt: skip


def convert(automations: Sequence[Mapping[str, Any]], known: Known | None = None) -> Imported:
    """Return the definitions file that automations make; `known` is what the API told about what they name."""
    taken: set[str] = set()
    drafts = [_drafted(one, taken) for one in automations]
    catalogue = Catalogue(known or {}, {str(draft.source.get("id")): draft.name for draft in drafts if draft.spec})
    errors: list[str] = []
    entries = [_entry(draft, catalogue, errors) for draft in drafts]
    text = written(_HEAD, {
        "automations": entries, "channels": list(catalogue.channels.values()),
        "flows": list(catalogue.flows.values()), "queues": list(catalogue.queues.values()),
    })  # fmt: skip
    document = parse(text)
    secrets = [secret.env for _, secret in secrets_in(document) if secret.env is not None]
    return Imported(text, len(document.automations), tuple(dict.fromkeys(secrets)), tuple(errors))


def _drafted(source: Mapping[str, Any], taken: set[str]) -> _Draft:
    written_name = source.get("name")
    name = unique_name(plain_name(written_name, otherwise="unnamed"), taken)
    taken.add(name)
    remarks = [] if name == written_name else [f"Called {json.dumps(written_name, ensure_ascii=False)} in Prefect."]
    data = {
        "name": name,
        "description": str(source.get("description") or ""),
        "enabled": source.get("enabled", True),
        "tags": [str(tag) for tag in source.get("tags") or [] if tag],
    }
    try:
        spec = parse_definition("automation", data | {"trigger": _cleaned(source["trigger"])})
    except NoEquivalent as error:
        return _Draft(source, name, (str(error),))
    except InvalidDefinition as error:
        return _Draft(source, name, tuple(map(str, error.problems)))
    assert isinstance(spec, Automation)
    return _Draft(source, name, (*remarks, *dict.fromkeys(_differences(spec.trigger))), spec)


def _cleaned(trigger: Any) -> Any:
    """Return a trigger with what Prefect takes for granted written out."""
    if not isinstance(trigger, dict):
        return trigger
    kind = trigger.get("type", "event")
    if kind == "metric":
        raise NoEquivalent("trigger: metrics of Prefect Cloud are not events: send them as events, and count those")
    if "triggers" in trigger:
        children = trigger["triggers"]
        return trigger | {"triggers": list(map(_cleaned, children)) if isinstance(children, list) else children}
    if kind != "event":
        return trigger
    clean = trigger | {"expect": trigger.get("expect") or "*"}
    if str(trigger.get("posture")).lower() == "proactive":
        clean["within"] = trigger.get("within") or _SHORTEST_S
    elif trigger.get("threshold") not in (None, 1) and not trigger.get("within") and not trigger.get("after"):
        raise NoEquivalent(
            f"trigger: counts {trigger['threshold']} events however far apart (within: 0), which would never forget: "
            "choose a `within`"
        )
    return clean


def _differences(trigger: ChildTrigger) -> Iterator[str]:
    """Return what a trigger means here and did not in Prefect."""
    if isinstance(trigger, EventTrigger):
        yield from _silence(trigger) if trigger.posture == "Proactive" else _bursts(trigger)
        yield from _exclusions(trigger)
    for child in getattr(trigger, "triggers", ()):
        yield from _differences(child)
    if isinstance(trigger, SequenceTrigger):
        yield (
            "A sequence is found among all events in the order of their times (law C3); in Prefect one that comes "
            "again in between breaks it."
        )


def _bursts(trigger: EventTrigger) -> Iterator[str]:
    if trigger.within is None or trigger.after is not None:
        return
    within = span(duration_us(trigger.within))
    if trigger.threshold > 1:
        yield (
            f"Counts {trigger.threshold} events in any {within} (law R1); Prefect's windows follow one another, so a "
            "burst across two of them was not seen."
        )
    else:
        yield (
            f"Quiet for {within} after each event that fired (law R2); Prefect's quiet times follow one another, "
            "whenever the event came."
        )


def _silence(trigger: EventTrigger) -> Iterator[str]:
    assert trigger.within is not None
    within = span(duration_us(trigger.within))
    if trigger.after is None:
        yield (
            f"One alert for each silence, and a `resolved` behind it (law P5); Prefect alerts every {within}: add "
            f"`repeat: {within}` for that."
        )
        if trigger.for_each:
            yield (
                "Each key is watched from its first event on (law P4); Prefect forgets a key when its window is met, "
                "and does not notice that it falls silent."
            )
    elif not trigger.for_each:
        yield (
            "Waits behind an `after` event only (law P1); Prefect also waits by itself, from its start and behind "
            "each verdict."
        )


def _exclusions(trigger: EventTrigger) -> Iterator[str]:
    for patterns in trigger.match.values():
        if any(pattern.startswith("!") for pattern in patterns):
            yield _MIXED if len(patterns) > 1 else _UNLABELLED
    for spec in trigger.match_related:
        excluding = [patterns for patterns in spec.values() if any(pattern.startswith("!") for pattern in patterns)]
        if any(len(patterns) > 1 for patterns in excluding):
            yield _MIXED
        if excluding and all(pattern.startswith("!") for patterns in spec.values() for pattern in patterns):
            yield _RELATED


def _entry(draft: _Draft, catalogue: Catalogue, errors: list[str]) -> Entry:
    if draft.spec is None:
        errors += [f"{draft.name}: {remark}" for remark in draft.remarks]
        trigger = json.dumps(draft.source["trigger"], ensure_ascii=False)
        return Entry(None, (f"NOT IMPORTED: {draft.name}", *draft.remarks, f"It was: {trigger}"))
    spec, remarks = draft.spec, list(draft.remarks)
    data: dict[str, Any] = {"name": draft.name}
    data |= spec.model_dump(mode="json", include={"description", "enabled", "tags"}, exclude_defaults=True)
    data["trigger"] = _idiomatic(spec.model_dump(mode="json", include={"trigger"}, exclude_defaults=True)["trigger"])
    desk = Desk(catalogue, _translator(spec.trigger))
    lists: dict[str, list[Entry]] = {"actions": [], "actions_on_resolve": []}
    for action, field in _actions_of(draft.source):
        if field == "actions_on_resolve" and not resolves(spec.trigger):
            remarks.append("Its actions_on_resolve never ran, and are left out: nothing of this trigger resolves.")
            continue
        lists[field] += _translated(action, desk, (draft.name, errors))
    data |= {field: found for field, found in lists.items() if found}
    return Entry(data, tuple(dict.fromkeys(remarks)))


def _actions_of(source: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Return actions and the lists they belong to; those `on_trigger` are performed at the same time as the others."""
    for field in ("actions", "actions_on_trigger", "actions_on_resolve"):
        for action in source.get(field) or ():
            if isinstance(action, dict):
                yield action, "actions" if field == "actions_on_trigger" else field


def _translated(action: Mapping[str, Any], desk: Desk, where: tuple[str, list[str]]) -> list[Entry]:
    name, errors = where
    try:
        entries = translate(action, desk)
        for entry in entries:
            parse_definition("automation", {"name": name, "trigger": _ANY, "actions": [entry.data]})
    except (NoEquivalent, InvalidDefinition) as error:
        reason = f"{plain_name(action.get('type'), otherwise='an action')}: {'; '.join(str(error).splitlines())}"
        errors.append(f"{name}: {reason}")
        return [Entry(None, (f"NOT IMPORTED: {reason}",))]
    return entries


def _translator(trigger: ChildTrigger) -> Translator:
    """Return what translates templates; what the events are about shows in their names (`prefect.flow-run.Failed`)."""
    silent = isinstance(trigger, EventTrigger) and trigger.posture == "Proactive"
    names = trigger.expect if isinstance(trigger, EventTrigger) else ()
    kinds = {name.split(".")[1].replace("-", "_") if name.startswith("prefect.") else None for name in names}
    primary = kinds.pop() if len(kinds) == 1 else None
    return Translator(label_names(trigger), silent, primary)


def _idiomatic(trigger: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trigger as people write it here: `type: absence`, `for_each` as a list, one spec without a list."""
    plain = {name: value for name, value in trigger.items() if name != "subjects"}
    if plain.pop("posture", None) == "Proactive":
        plain = {"type": "absence", **plain}
    elif "type" in plain:
        plain = {"type": plain.pop("type"), **plain}
    if all(name == reader for name, reader in plain.get("for_each", {}).items()) and "for_each" in plain:
        plain["for_each"] = list(plain["for_each"])
    if len(plain.get("match_related", ())) == 1:
        plain["match_related"] = plain["match_related"][0]
    if "triggers" in plain:
        plain["triggers"] = [_idiomatic(child) for child in plain.pop("triggers")]
    return plain
