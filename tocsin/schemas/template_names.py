"""Names in templates that can not exist, found before anything is rendered.

The shape of what templates see is known down to labels and payloads, which are open. It is followed through
attributes, loops, `set` and the filters that keep or pick items; where it is lost, everything is possible.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from jinja2 import nodes

from tocsin.schemas.findings import nearest
from tocsin.schemas.template_syntax import parse_template, written

Shape: TypeAlias = Any
"""A mapping of known names to shapes, a tuple with the shape of its items, or None: anything is possible."""

_TEXT: Mapping[str, Shape] = {}
_TIME: Mapping[str, Shape] = dict.fromkeys(
    ("year", "month", "day", "hour", "minute", "second", "microsecond"), _TEXT
)  # fmt: skip
_EVENT: Mapping[str, Shape] = {
    "id": _TEXT, "event": _TEXT, "resource": None, "related": (None,), "payload": None, "occurred": _TIME,
    "received": _TIME, "source": _TEXT, "follows": _TEXT, "seq": _TEXT,
}  # fmt: skip
_FIRING: Mapping[str, Shape] = {
    "id": _TEXT, "verdict": _TEXT, "at": _TIME, "due": _TIME, "window": (_TIME,), "reason": _TEXT,
}  # fmt: skip
_AUTOMATION: Mapping[str, Shape] = dict.fromkeys(
    ("name", "description", "mode", "severity", "owner", "runbook"), _TEXT
) | {"tags": (_TEXT,)}  # fmt: skip

_PICK = frozenset({"first", "last", "min", "max"})
_KEEP = frozenset({"list", "reject", "rejectattr", "reverse", "select", "selectattr", "sort", "unique"})
_OF_ITEMS = frozenset({"map", "rejectattr", "selectattr", "sort", "groupby", "unique", "sum", "min", "max", "join"})


def wrong_names(text: str, labels: Collection[str] | None) -> list[str]:
    """Return what is wrong with a template of an automation whose firings have these labels; empty: nothing is.

    None: it is not known which labels there are.
    """
    try:
        body = parse_template(text)
    except ValueError as error:
        return [str(error)]
    names = {
        "event": _EVENT, "events": (_EVENT,), "firing": _FIRING,
        "automation": _AUTOMATION, "labels": None if labels is None else dict.fromkeys(labels, _TEXT),
    }  # fmt: skip
    walk = _Walk()
    walk.statements(body, names)
    return list(dict.fromkeys(walk.wrong))


class _Walk:
    """Follows shapes through a template; `wrong` collects what can not exist."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def statements(self, body: Sequence[nodes.Node], names: dict[str, Shape]) -> None:
        for node in body:
            if isinstance(node, nodes.Output):
                for part in node.nodes:
                    self.shape(part, names)
            elif isinstance(node, nodes.If):
                self.shape(node.test, names)
                for branch in (node.body, node.elif_, node.else_):
                    self.statements(branch, names)
            elif isinstance(node, nodes.Assign):
                self._bind(node.target, self.shape(node.node, names), names)
            elif isinstance(node, nodes.With):
                inner = dict(names)
                for target, value in zip(node.targets, node.values, strict=True):
                    self._bind(target, self.shape(value, names), inner)
                self.statements(node.body, inner)
            else:
                assert isinstance(node, nodes.For)
                self._loop(node, names)

    def _loop(self, node: nodes.For, names: dict[str, Shape]) -> None:
        inner = dict(names)
        self._bind(node.target, _item(self.shape(node.iter, names)), inner)
        if node.test is not None:
            self.shape(node.test, inner)
        self.statements(node.body, inner | {"loop": None})
        self.statements(node.else_, dict(names))

    def _bind(self, target: nodes.Node, shape: Shape, names: dict[str, Shape]) -> None:
        if isinstance(target, nodes.Name):
            names[target.name] = shape
        else:
            names.update({name.name: None for name in target.find_all(nodes.Name)})

    def shape(self, node: nodes.Node, names: Mapping[str, Shape]) -> Shape:
        if isinstance(node, nodes.Name):
            if node.name not in names:
                self._say(node, f"there is no `{node.name}`: {nearest(node.name, names)}")
            return names.get(node.name)
        if isinstance(node, nodes.Getattr):
            return self._member(self.shape(node.node, names), node.attr, node)
        if isinstance(node, nodes.Getitem):
            return self._getitem(node, names)
        if isinstance(node, nodes.Filter):
            return self._filter(node, names)
        if isinstance(node, nodes.Call):
            if isinstance(node.node, nodes.Getattr):
                self.shape(node.node.node, names)
            for part in (*node.args, *node.kwargs):
                self.shape(part, names)
            return None
        for child in node.iter_child_nodes():
            self.shape(child, names)
        return None

    def _getitem(self, node: nodes.Getitem, names: Mapping[str, Shape]) -> Shape:
        shape = self.shape(node.node, names)
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return self._member(shape, node.arg.value, node)
        self.shape(node.arg, names)
        return shape if isinstance(node.arg, nodes.Slice) else _item(shape)

    def _filter(self, node: nodes.Filter, names: Mapping[str, Shape]) -> Shape:
        assert node.node is not None
        shape = self.shape(node.node, names)
        for part in (*node.args, *node.kwargs):
            self.shape(part, names)
        picked = _item(shape)
        for path in _attributes(node):
            picked = _item(shape)
            for name in path.split("."):
                picked = _item(picked) if name.isdigit() else self._member(picked, name, node)
        if node.name == "map":
            return (picked,) if list(_attributes(node)) else None
        if node.name in _PICK:
            return _item(shape)
        return shape if node.name in _KEEP else None

    def _member(self, shape: Shape, name: str, node: nodes.Node) -> Shape:
        if shape is None:
            return None
        if isinstance(shape, tuple):
            self._say(node, f"a list has no `{name}`: take an item first, as in events[0].{name}, or use map")
            return None
        if name not in shape:
            mend = nearest(name, shape) if shape else "it has no parts"
            self._say(node, f"there is no `{written(node, name)}`: {mend}")
        return shape.get(name)

    def _say(self, node: nodes.Node, what: str) -> None:
        line = f"line {node.lineno} of the template: " if node.lineno > 1 else ""
        self.wrong.append(line + what)


def _item(shape: Shape) -> Shape:
    return shape[0] if isinstance(shape, tuple) else None


def _attributes(node: nodes.Filter) -> Iterator[str]:
    """Return the attributes of items that a filter is told to look at, where they are written out."""
    words: list[Any] = node.kwargs
    named = {word.key: word.value for word in words}
    first = node.args[0] if node.args and node.name in {"selectattr", "rejectattr", "groupby"} else None
    value = named.get("attribute") or first
    if node.name in _OF_ITEMS and isinstance(value, nodes.Const) and isinstance(value.value, str):
        yield value.value
