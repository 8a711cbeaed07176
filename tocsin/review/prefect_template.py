"""Templates written for Prefect, in the names that templates have here.

A template is taken apart by Jinja2's own lexer, so that everything but the paths (`event.resource.labels.env`) stays
as it was written. A path goes through a table by its first name; what it becomes is checked like any template, and an
output that can not be had here is written as text, so that an alert is sent with a gap rather than not at all.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from jinja2 import Environment, TemplateSyntaxError, nodes

from tocsin.schemas.action import is_template
from tocsin.schemas.event import bare_label
from tocsin.schemas.pattern import RELATED
from tocsin.schemas.template_names import wrong_names

Token: TypeAlias = tuple[str, str]
"""The kind of a token, as Jinja2 calls it, and its text."""

Step: TypeAlias = tuple[str, str]
"""A step of a path: `attr` and a name, `item` and a text, or `index` and a number."""

_STATE = MappingProxyType({name: f"prefect.state-{name}" for name in ("message", "name", "type", "timestamp")})
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Translated:
    """A template in our names, and the expressions that have no equivalent and stand in it as text."""

    text: str
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Translator:
    """Translates the templates of one automation.

    `labels` are those of its firings. Where it waits for silence (`silent`) Prefect's `event` is the last one that was
    seen. `primary` is the kind of Prefect's object that its events are about (`flow_run`, ...), if that is known.
    """

    labels: Collection[str]
    silent: bool = False
    primary: str | None = None

    def translate(self, text: str) -> Translated:
        """Return the template in our names.

        Raises:
            ValueError: it is not a template, or what has no equivalent is not an output that can be left out.
        """
        if not is_template(text):
            return Translated(text)
        environment = Environment(autoescape=False)  # noqa: S701 - nothing is rendered here
        try:
            bound = {name.name for name in environment.parse(text).find_all(nodes.Name) if name.ctx == "store"}
        except TemplateSyntaxError as error:
            bound, unknown = set(), error.message or ""
            if "filter" not in unknown:
                raise ValueError(f"line {error.lineno} of the template: {error.message}") from None
        parts = list(_parts([(kind, value) for _, kind, value in environment.lex(text)]))
        pieces = [self._rewritten(tokens, bound) for _, tokens in parts]
        outputs = [place for place, (output, _) in enumerate(parts) if output]
        if wrong := self._wrong(pieces, outputs):
            raise ValueError("; ".join(wrong))
        lost = {}
        for place in outputs:
            if self._wrong(pieces, [other for other in outputs if other != place]):
                lost[place] = _expression(parts[place][1])
        for place, expression in lost.items():
            pieces[place] = f"[{expression}]"
        return Translated("".join(pieces), tuple(dict.fromkeys(lost.values())))

    def _wrong(self, pieces: Sequence[str], blank: Collection[int]) -> list[str]:
        text = "".join("" if place in blank else piece for place, piece in enumerate(pieces))
        return wrong_names(text, tuple(self.labels)) if is_template(text) else []

    def _rewritten(self, tokens: Sequence[Token], bound: Collection[str]) -> str:
        written, place, before = [], 0, ""
        while place < len(tokens):
            kind, value = tokens[place]
            if kind == "name" and before not in (".", "|", "is"):
                steps, after = _path(tokens, place + 1)
                written.append(self._of(value, steps, bound) or "".join(text for _, text in tokens[place:after]))
                place, before = after, value
                continue
            written.append(_literal(value) if kind == "string" else value)
            place += 1
            before = before if kind == "whitespace" else value
        return "".join(written)

    def _of(self, root: str, steps: Sequence[Step], bound: Collection[str]) -> str | None:
        """Return what a path becomes; None: it stays as it is."""
        if root in bound:
            return _unlabelled(root, steps)
        if root in _OBJECTS:
            return self._object(root, steps)
        rewrite = _ROOTS.get(root)
        return rewrite(self, steps) if rewrite else None

    @property
    def event(self) -> str:
        """The expression of the event that Prefect calls `event`."""
        return "(events | last)" if self.silent else "event"

    def _events(self, steps: Sequence[Step]) -> str | None:
        if steps and steps[0][0] == "index":
            return _event(f"events[{steps[0][1]}]", steps[1:])
        return None

    def _firing(self, steps: Sequence[Step]) -> str | None:
        name = steps[0][1] if steps else ""
        if name == "triggered":
            return _plain("firing.at", steps[1:])
        if name == "triggering_labels":
            return _labelled("labels", [("attr", "labels"), *steps[1:]])
        return _event(self.event, steps[1:]) if name == "triggering_event" else None

    def _object(self, kind: str, steps: Sequence[Step]) -> str | None:
        """Return a part of Prefect's object that events tell of: its name and id, the state of a run."""
        role = kind.replace("_", "-")
        resource = f"{self.event}.resource" if kind == self.primary else _in_role(self.event, role, pick="first")
        names = [name for _, name in steps]
        if names == ["name"]:
            return f"{resource}.name"
        if names == ["id"]:
            return f'{resource}.id.removeprefix("prefect.{role}.")'
        state = names[1:] if names[:1] == ["state"] else [name.removeprefix("state_") for name in names]
        if kind.endswith("_run") and len(state) == 1 and names[0].startswith("state") and state[0] in _STATE:
            return f'{resource}["{_STATE[state[0]]}"]'
        return None


_OBJECTS = frozenset({"flow_run", "task_run", "flow", "deployment", "work_queue", "work_pool", "concurrency_limit"})

_ROOTS: Mapping[str, Callable[[Translator, Sequence[Step]], str | None]] = MappingProxyType({
    "event": lambda to, steps: _event(to.event, steps),
    "labels": lambda to, steps: _labelled("labels", [("attr", "labels"), *steps]),
    "events": Translator._events,  # noqa: SLF001 - a method of this module
    "firing": Translator._firing,  # noqa: SLF001
})  # fmt: skip


def _event(event: str, steps: Sequence[Step]) -> str:
    """Return a path inside an event."""
    if not steps:
        return event
    (_, name), rest = steps[0], steps[1:]
    if name == "resource":
        return _labelled(f"{event}.resource", rest)
    if name == "related" and rest and rest[0][0] == "index":
        return _labelled(f"{event}.related[{rest[0][1]}]", rest[1:])
    if name == "resource_in_role" and rest:
        return _labelled(_in_role(event, rest[0][1], pick="first"), rest[1:])
    if name == "resources_in_role" and rest:
        return _plain(_in_role(event, rest[0][1], pick="list"), rest[1:])
    if name == "involved_resources":
        return _plain(f"([{event}.resource] + {event}.related)", rest)
    return _plain(event, steps)


def _in_role(event: str, role: str, *, pick: str) -> str:
    return f'({event}.related | selectattr("role", "equalto", {_quoted(role)}) | {pick})'


def _labelled(resource: str, steps: Sequence[Step]) -> str:
    """Return a path inside a resource, whose labels Prefect has in `labels`, dotted names as a chain of attributes."""
    if steps and steps[0] == ("attr", "labels"):
        chain = [name for kind, name in steps[1:] if kind == "attr"]
        if chain and len(chain) == len(steps) - 1:
            return _plain(resource, [("item", ".".join(chain))])
        steps = steps[1:]
    return _plain(resource, steps)


def _unlabelled(root: str, steps: Sequence[Step]) -> str:
    """Return a path of a loop's own name: only `labels` has to go."""
    place = next((place for place, step in enumerate(steps) if step == ("attr", "labels")), len(steps))
    return _labelled(_plain(root, steps[:place]), steps[place:])


def _plain(base: str, steps: Sequence[Step]) -> str:
    for kind, name in steps:
        if kind == "index":
            base += f"[{name}]"
        else:
            label = _bare(name)
            base += f".{label}" if _IDENTIFIER.fullmatch(label) else f"[{_quoted(label)}]"
    return base


def _path(tokens: Sequence[Token], place: int) -> tuple[list[Step], int]:
    """Return the steps that follow a name, and the place behind them; a method and its call are not among them."""
    steps: list[Step] = []
    while True:
        following = [value for _, value in tokens[place : place + 3]]
        kinds = [kind for kind, _ in tokens[place : place + 3]]
        if following[:1] == ["."] and kinds[1:2] == ["name"] and following[2:] != ["("]:
            steps.append(("attr", following[1]))
            place += 2
        elif following[:1] == ["["] and following[2:] == ["]"] and kinds[1] in ("string", "integer"):
            text = following[1]
            steps.append(("item", str(ast.literal_eval(text))) if kinds[1] == "string" else ("index", text))
            place += 3
        else:
            return steps, place


def _literal(text: str) -> str:
    """Return the literal of a text: the name of a label loses Prefect's prefix wherever it stands."""
    quote, inner = text[0], text[1:-1]
    return f"{quote}{_bare(inner) or inner}{quote}"


def _bare(label: str) -> str:
    """Return a label, or a reader `related:ROLE:LABEL`, without Prefect's prefix (law E4)."""
    if label.startswith(RELATED):
        role, _, inner = label.removeprefix(RELATED).partition(":")
        return f"{RELATED}{role}:{bare_label(inner)}"
    return bare_label(label)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _parts(tokens: Sequence[Token]) -> Iterator[tuple[bool, list[Token]]]:
    """Return outputs (True) and what is between them."""
    part: list[Token] = []
    for token in tokens:
        if token[0] == "variable_begin":
            yield False, part
            part = []
        part.append(token)
        if token[0] == "variable_end":
            yield True, part
            part = []
    yield False, part


def _expression(tokens: Sequence[Token]) -> str:
    text = "".join(value for _, value in tokens[1:-1]).strip()
    return "?" if is_template(text) else text
