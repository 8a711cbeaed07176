"""Templates: Jinja2 over plain data, bounded in time and size.

    {{ labels.id }} was not updated by {{ firing.due }}

The parsed tree is walked here, step by step, so that a template that would run away stops; see `template_syntax`
for what may stand in one and `template_work` for the budget. Only plain data is seen: mappings, lists, texts,
numbers and times.

It differs from Jinja2 in what makes a good alert: what is null renders as nothing, not as `None`; a list or mapping
within a text is JSON; a time is ISO 8601; an expression that fails leaves nothing behind and the rest stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from jinja2 import TemplateError, Undefined, nodes

from tocsin.schemas.action import is_template
from tocsin.schemas.template_syntax import parse_template, written
from tocsin.schemas.template_work import (
    RANGE_MAX,
    Arguments,
    Jinja,
    Missing,
    Stopped,
    Work,
    call_method,
    member,
    plain,
    text_of,
)

_FAILURES = (ArithmeticError, AttributeError, LookupError, RecursionError, TemplateError, TypeError, ValueError)
"""What an expression may raise over data that it does not fit."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """What came of a template: plain JSON, the names that had no value, and what failed, in sentences."""

    value: Any
    missing: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class Template:
    """A compiled template, or a structure of mappings and lists whose texts are templates; immutable."""

    __slots__ = ("_compiled",)

    def __init__(self, value: Any) -> None:
        """Compile each text in the value.

        Raises:
            ValueError: a text is not a template; says where in it, and how to mend it.
        """
        self._compiled = _compile(value)

    def render(self, variables: Mapping[str, Any], *, work: Work | None = None) -> Rendered:
        """Fill in the variables; never fails. Steps are counted over the whole structure, on `work` if it is given."""
        run = _Run(variables, work or Work())
        value = run.structure(self._compiled)
        return Rendered(value, tuple(run.missing), tuple(run.failed))


def render(value: Any, variables: Mapping[str, Any]) -> Rendered:
    """Compile and fill in a template or a structure once.

    Raises:
        ValueError: a text is not a template.
    """
    return Template(value).render(variables)


@dataclass(frozen=True, slots=True)
class _Text:
    body: Sequence[nodes.Node]
    only: nodes.Node | None
    """The expression, if the template is nothing else."""


def _compile(value: Any) -> Any:
    if isinstance(value, str):
        if not is_template(value):
            return value
        body = parse_template(value)
        parts = body[0].nodes if len(body) == 1 and isinstance(body[0], nodes.Output) else []
        single = len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData)
        return _Text(body, parts[0] if single else None)
    if isinstance(value, dict):
        return {key: _compile(item) for key, item in value.items()}
    return [_compile(item) for item in value] if isinstance(value, list | tuple) else value


class _Run:
    """One rendering: the variables in scope, the budget, and what was noted."""

    def __init__(self, variables: Mapping[str, Any], work: Work) -> None:
        self.missing: dict[str, None] = {}
        self.failed: dict[str, None] = {}
        self._variables = variables
        self._scope: dict[str, Any] = {}
        self._work = work
        self._output: list[str] = []
        self._length = 0

    @cached_property
    def _jinja(self) -> Jinja:
        return Jinja(self._work)

    def structure(self, compiled: Any) -> Any:
        if isinstance(compiled, _Text):
            return self._text(compiled)
        if isinstance(compiled, dict):
            return {key: self.structure(item) for key, item in compiled.items()}
        return [self.structure(item) for item in compiled] if isinstance(compiled, list) else compiled

    def _text(self, template: _Text) -> Any:
        self._scope, self._output, self._length = {}, [], 0
        try:
            if template.only is not None:
                value = self._settled(template.only)
                self._note(value)
                self._work.room(self._work.walk(value))
                return plain(value)
            self._statements(template.body)
        except Stopped as error:
            self.failed[str(error)] = None
        return "".join(self._output)

    def _note(self, value: Any) -> None:
        if isinstance(value, Missing):
            self.missing[value.path] = None

    def _settled(self, node: nodes.Node) -> Any:
        """Return the value of an expression, or nothing where it fails."""
        try:
            return self.value(node)
        except _FAILURES as error:
            text = str(error) or type(error).__name__
            self.failed[f"line {node.lineno} of the template: {text[:200]}"] = None
            return ""

    # Statements

    def _statements(self, body: Sequence[nodes.Node]) -> None:
        for node in body:
            self._work.spend()
            _STATEMENTS[type(node)](self, node)

    def on_write(self, node: nodes.Output) -> None:
        for part in node.nodes:
            value = part.data if isinstance(part, nodes.TemplateData) else self._settled(part)
            self._note(value)
            text = text_of(value, self._work)
            self._length += len(text)
            self._work.room(self._length)
            self._output.append(text)

    def on_if(self, node: nodes.If) -> None:
        for branch in (node, *node.elif_):
            if self._settled(branch.test):
                self._statements(branch.body)
                return
        self._statements(node.else_)

    def on_set(self, node: nodes.Assign) -> None:
        self._bind(node.target, self._settled(node.node), self._scope)

    def on_with(self, node: nodes.With) -> None:
        inner = dict(self._scope)
        for target, value in zip(node.targets, node.values, strict=True):
            self._bind(target, self._settled(value), inner)
        self._within(inner, node.body)

    def on_for(self, node: nodes.For) -> None:
        items = list(self._loop_items(node))
        for place, inner in enumerate(items):
            inner["loop"] = {
                "index": place + 1, "index0": place, "length": len(items), "first": place == 0,
                "last": place + 1 == len(items), "revindex": len(items) - place, "revindex0": len(items) - place - 1,
            }  # fmt: skip
            self._within(inner, node.body)
        if not items:
            self._within(dict(self._scope), node.else_)

    def _loop_items(self, node: nodes.For) -> Iterator[dict[str, Any]]:
        """Return a scope for each item that passes the loop's own test."""
        found = self._settled(node.iter)
        self._note(found)
        for item in found if isinstance(found, list | tuple | dict | str | range) else ():
            self._work.spend(1 + len(self._scope))
            inner = dict(self._scope)
            self._bind(node.target, item, inner)
            outer, self._scope = self._scope, inner
            passes = node.test is None or self._settled(node.test)
            self._scope = outer
            if passes:
                yield inner

    def _within(self, scope: dict[str, Any], body: Sequence[nodes.Node]) -> None:
        outer, self._scope = self._scope, scope
        self._statements(body)
        self._scope = outer

    def _bind(self, target: nodes.Node, value: Any, scope: dict[str, Any]) -> None:
        if isinstance(target, nodes.Name):
            scope[target.name] = value
            return
        names = list(target.find_all(nodes.Name))
        values = list(value) if isinstance(value, list | tuple) and len(value) == len(names) else [""] * len(names)
        scope.update({name.name: item for name, item in zip(names, values, strict=True)})

    # Expressions

    def value(self, node: nodes.Node | None) -> Any:
        self._work.spend()
        return _EXPRESSIONS[type(node)](self, node)

    def values(self, parts: Sequence[nodes.Node]) -> list[Any]:
        return [self.value(part) for part in parts]

    def on_name(self, node: nodes.Name) -> Any:
        if node.name in self._scope:
            return self._scope[node.name]
        return self._variables[node.name] if node.name in self._variables else Missing(name=node.name)

    def on_getattr(self, node: nodes.Getattr) -> Any:
        value = self.value(node.node)
        return value[node.attr] if type(value) is dict and node.attr in value else self._member(value, node, node.attr)

    def on_getitem(self, node: nodes.Getitem) -> Any:
        value = self.value(node.node)
        if isinstance(node.arg, nodes.Slice):
            part = slice(*(None if edge is None else self.value(edge) for edge in _edges(node.arg)))
            if isinstance(value, Undefined):
                return value
            return self._work.made(value[part])
        return self._member(value, node, self.value(node.arg))

    def _member(self, value: Any, node: nodes.Node, name: Any) -> Any:
        return member(value, name, written(node, str(name)))

    def on_dict(self, node: nodes.Dict) -> dict[str, Any]:
        return {text_of(self.value(pair.key), self._work): self.value(pair.value) for pair in node.items}

    def on_call(self, node: nodes.Call) -> Any:
        given = self._arguments(node)
        if isinstance(node.node, nodes.Getattr):
            return call_method(self._work, self.value(node.node.node), (node.node.attr, given))
        numbers = range(*given.positional)
        if len(numbers) > RANGE_MAX:
            raise ValueError(f"a range has at most {RANGE_MAX:,} numbers")
        return self._work.made(list(numbers))

    def on_filter(self, node: nodes.Filter) -> Any:
        value = self.value(node.node)
        if node.name not in ("default", "d"):
            self._note(value)
        return self._jinja.apply(node.name, value, self._arguments(node))

    def on_test(self, node: nodes.Test) -> bool:
        return self._jinja.holds(node.name, self.value(node.node), self._arguments(node))

    def _arguments(self, node: nodes.Call | nodes.Filter | nodes.Test) -> Arguments:
        words: Sequence[Any] = node.kwargs
        return Arguments(self.values(node.args), {word.key: self.value(word.value) for word in words})

    def on_binary(self, node: nodes.BinExpr) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        for value in (left, right):
            if isinstance(value, Missing):
                return value
        return self._work.arithmetic(node.operator, left, right)

    def on_concat(self, node: nodes.Concat) -> str:
        joined = ""
        for part in node.nodes:
            value = self.value(part)
            self._note(value)
            text = text_of(value, self._work)
            joined = self._work.arithmetic("+", joined, text)
        return joined

    def on_compare(self, node: nodes.Compare) -> bool:
        left = self.value(node.expr)
        for operand in node.ops:
            right = self.value(operand.expr)
            if isinstance(left, list | tuple | dict | str) and isinstance(right, list | tuple | dict | str):
                self._work.walk(right)
            if operand.op in _ORDER and (isinstance(left, Missing) or isinstance(right, Missing)):
                self._note(left)
                self._note(right)
                return False
            if not _COMPARE[operand.op](left, right):
                return False
            left = right
        return True

    def on_choice(self, node: nodes.CondExpr) -> Any:
        if self.value(node.test):
            return self.value(node.expr1)
        return "" if node.expr2 is None else self.value(node.expr2)

    def on_and(self, node: nodes.And) -> Any:
        left = self.value(node.left)
        return self.value(node.right) if left else left

    def on_or(self, node: nodes.Or) -> Any:
        left = self.value(node.left)
        return left or self.value(node.right)


def _edges(part: nodes.Slice) -> tuple[nodes.Node | None, ...]:
    return part.start, part.stop, part.step


_ORDER = frozenset({"lt", "lteq", "gt", "gteq"})
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = MappingProxyType({
    "eq": lambda left, right: left == right, "ne": lambda left, right: left != right,
    "lt": lambda left, right: left < right, "lteq": lambda left, right: left <= right,
    "gt": lambda left, right: left > right, "gteq": lambda left, right: left >= right,
    "in": lambda left, right: left in right, "notin": lambda left, right: left not in right,
})  # fmt: skip

_STATEMENTS: Mapping[type, Callable[[_Run, Any], None]] = MappingProxyType({
    nodes.Output: _Run.on_write, nodes.If: _Run.on_if, nodes.Assign: _Run.on_set, nodes.With: _Run.on_with,
    nodes.For: _Run.on_for,
})  # fmt: skip

_EXPRESSIONS: Mapping[type, Callable[[_Run, Any], Any]] = MappingProxyType({
    nodes.And: _Run.on_and, nodes.Call: _Run.on_call, nodes.Compare: _Run.on_compare, nodes.Concat: _Run.on_concat,
    nodes.CondExpr: _Run.on_choice, nodes.Const: lambda run, node: node.value, nodes.Dict: _Run.on_dict,
    nodes.Filter: _Run.on_filter, nodes.Getattr: _Run.on_getattr, nodes.Getitem: _Run.on_getitem,
    nodes.List: lambda run, node: run.values(node.items), nodes.Name: _Run.on_name,
    nodes.Neg: lambda run, node: -run.value(node.node), nodes.Not: lambda run, node: not run.value(node.node),
    nodes.Or: _Run.on_or, nodes.Pos: lambda run, node: +run.value(node.node), nodes.Test: _Run.on_test,
    nodes.Tuple: lambda run, node: run.values(node.items),
    **dict.fromkeys(
        (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow), _Run.on_binary
    ),
})  # fmt: skip
