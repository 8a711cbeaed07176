"""What only a whole document can tell: names that are not declared, templates that can not work, what the API may not.

Template names are checked against what the automation's trigger gives (its labels).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tocsin.schemas.action import Action, ActionSpec, is_template
from tocsin.schemas.automation import Automation
from tocsin.schemas.case import Case
from tocsin.schemas.findings import Finding, nearest
from tocsin.schemas.flow import Flow
from tocsin.schemas.run import DEFAULT_QUEUE
from tocsin.schemas.secret import secrets_in
from tocsin.schemas.spec import Path, Spec
from tocsin.schemas.template_names import wrong_names
from tocsin.schemas.trigger import Trigger, label_names

_NAMED = {"automation": "automations", "channel": "channels", "flow": "flows", "queue": "queues"}
"""Fields that name something, and the section in which it is declared."""

_TRIGGER: TypeAdapter[Any] = TypeAdapter(Trigger)
_ACTION: TypeAdapter[Any] = TypeAdapter(Action)


class Linker:
    """Checks definitions against the names that there are, by section; remembers templates it has seen."""

    def __init__(self, names: Mapping[str, Collection[str]] | None) -> None:
        """Keep the declared names of each section; None: they are not known, and any name may be right."""
        self._names = names
        self._seen: dict[tuple[str, tuple[str, ...] | None], list[str]] = {}

    def findings(self, spec: Spec) -> Iterator[Finding]:
        """Return what is wrong with a definition that is right by itself; paths begin inside of it."""
        if isinstance(spec, Automation):
            labels = label_names(spec.trigger)
            for field in ("actions", "actions_on_resolve"):
                for position, action in enumerate(getattr(spec, field)):
                    yield from self._action(action, (field, position), labels)
        elif isinstance(spec, Flow):
            yield from self._reference(spec.queue, ("queue",))
        elif isinstance(spec, Case):
            yield from self._reference(spec.automation, ("automation",))

    def actions(self, data: Mapping[str, Any]) -> Iterator[Finding]:
        """Return what is wrong with the actions of an automation that is wrong itself; only those that can be read."""
        trigger = data.get("trigger")
        try:
            labels = label_names(_TRIGGER.validate_python(trigger))
        except ValidationError:
            labels = None
        for field in ("actions", "actions_on_resolve"):
            items = data.get(field)
            for position, item in enumerate(items if isinstance(items, list) else ()):
                try:
                    action = _ACTION.validate_python(item)
                except ValidationError:
                    continue
                yield from self._action(action, (field, position), labels)

    def _action(self, action: ActionSpec, path: Path, labels: tuple[str, ...] | None) -> Iterator[Finding]:
        for field in type(action).model_fields:
            if field in _NAMED:
                yield from self._reference(getattr(action, field), (*path, field))
        for field in action.templated:
            for place, text in _texts(getattr(action, field), (*path, field)):
                for message in self._template(text, labels):
                    yield Finding(place, message)

    def _reference(self, name: str, path: Path) -> Iterator[Finding]:
        if self._names is None:
            return
        kind = str(path[-1])
        known = self._names[_NAMED[kind]]
        if name in known or is_template(name) or (kind == "queue" and name == DEFAULT_QUEUE):
            return
        mend = nearest(name, known, else_say=f"declare it under `{_NAMED[kind]}:`")
        yield Finding(path, f"there is no {kind} {name!r}: {mend}")

    def _template(self, text: str, labels: tuple[str, ...] | None) -> list[str]:
        if not is_template(text):
            return []
        key = (text, labels)
        if key not in self._seen:
            self._seen[key] = wrong_names(text, labels)
        return self._seen[key]


def forbidden(spec: Spec, *, secrets: Collection[str]) -> Iterator[Finding]:
    """Return what a definition that came over the API may not have: files, commands, secrets that are not listed."""
    if isinstance(spec, Flow):
        yield Finding((), "a flow starts a program: declare it in a definitions file, not over the API")
    for path, secret in secrets_in(spec):
        if secret.file is not None:
            yield Finding(path, "a definition that comes over the API can not read files: write {env: NAME}")
        elif secret.env not in secrets:
            yield Finding(path, f"{secret} is not open to the API: list {secret.env} in TOCSIN_API_SECRETS")


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Return all texts in a value, keys of mappings excepted, each with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _texts(item, (*path, position))
