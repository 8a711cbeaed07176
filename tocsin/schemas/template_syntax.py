"""What a template may contain: Jinja2's expressions, `if`, `for`, `set` and `with`; nothing that defines or includes.

Jinja2 compiles a template into Python code, which nothing can stop once it runs. Here its parser, filters and tests
are used as they are, and `tocsin.schemas.template` walks the parsed tree itself, so that each step is counted.

Filters and tests are listed, not inherited: those that are random, or that write HTML, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from types import MappingProxyType

from jinja2 import Environment, TemplateSyntaxError, nodes

from tocsin.schemas.findings import nearest

TEXT_MAX = 65_536
"""The most characters of one template."""

DEPTH_MAX = 60
"""The most parts of a template inside each other."""

BRACKETS_MAX = 30
"""The most brackets inside each other; Jinja2's parser takes a dozen calls for each."""

FILTERS = frozenset({
    "abs", "batch", "capitalize", "center", "count", "d", "default", "dictsort", "filesizeformat", "first", "float",
    "format", "groupby", "indent", "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min",
    "reject", "rejectattr", "replace", "reverse", "round", "select", "selectattr", "slice", "sort", "string", "sum",
    "title", "tojson", "trim", "truncate", "unique", "upper", "urlencode", "wordcount",
})  # fmt: skip
"""The filters that templates may use."""

TESTS = frozenset({
    "boolean", "defined", "divisibleby", "eq", "equalto", "even", "false", "float", "ge", "greaterthan", "gt", "in",
    "integer", "iterable", "le", "lessthan", "lower", "lt", "mapping", "ne", "none", "number", "odd", "sequence",
    "string", "true", "undefined", "upper", "==", "!=", "<", "<=", ">", ">=",
})  # fmt: skip
"""The tests (`x is defined`) that templates may use."""

METHODS: Mapping[type, frozenset[str]] = MappingProxyType({
    str: frozenset({
        "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdecimal", "isdigit",
        "islower", "isspace", "isupper", "join", "lower", "lstrip", "partition", "removeprefix", "removesuffix",
        "replace", "rfind", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase",
        "title", "upper",
    }),
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
    datetime: frozenset({"date", "isoformat", "isoweekday", "strftime", "time", "timestamp", "weekday"}),
    date: frozenset({"isoformat", "isoweekday", "strftime", "weekday"}),
    time: frozenset({"isoformat", "strftime"}),
    timedelta: frozenset({"total_seconds"}),
})  # fmt: skip
"""The methods that templates may call, by the type of the value."""

_METHODS = frozenset(name for names in METHODS.values() for name in names)
_STATEMENTS = (nodes.Output, nodes.If, nodes.For, nodes.Assign, nodes.With)
_EXPRESSIONS = (
    nodes.TemplateData, nodes.Const, nodes.Name, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Getattr,
    nodes.Getitem, nodes.Slice, nodes.Filter, nodes.Test, nodes.Call, nodes.Keyword, nodes.CondExpr, nodes.Compare,
    nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv,
    nodes.Mod, nodes.Pow, nodes.Neg, nodes.Pos, nodes.Concat,
)  # fmt: skip
_ALLOWED = frozenset((nodes.Template, *_STATEMENTS, *_EXPRESSIONS))


def parse_template(text: str) -> list[nodes.Node]:
    """Return the statements of a template.

    Raises:
        ValueError: it is not Jinja2, too large, or uses what templates may not; says where and how to mend it.
    """
    if len(text) > TEXT_MAX:
        raise ValueError(f"a template has at most {TEXT_MAX:,} characters, this one has {len(text):,}: shorten it")
    if _brackets(text) > BRACKETS_MAX:
        raise ValueError(f"the template has more than {BRACKETS_MAX} brackets inside each other: flatten it")
    try:
        tree = Environment(autoescape=False).parse(text)  # noqa: S701 - what it makes is text and JSON, not HTML
    except TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno} of the template: {error.message}") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    for node, depth in _walk(tree):
        if depth > DEPTH_MAX:
            raise ValueError(_TOO_DEEP)
        if wrong := _wrong(node):
            raise ValueError(f"line {node.lineno} of the template: {wrong}")
    return tree.body


_TOO_DEEP = f"the template is nested more than {DEPTH_MAX} deep: flatten it"


def _brackets(text: str) -> int:
    """Return how many brackets are open at the same time, wherever they stand."""
    if sum(map(text.count, "([{")) <= BRACKETS_MAX:
        return 0
    deepest = depth = 0
    for character in text:
        depth = depth + 1 if character in "([{" else max(depth - 1, 0) if character in ")]}" else depth
        deepest = max(deepest, depth)
    return deepest


def _walk(tree: nodes.Node) -> Iterator[tuple[nodes.Node, int]]:
    rest = [(tree, 0)]
    while rest:
        node, depth = rest.pop()
        yield node, depth
        rest.extend((child, depth + 1) for child in node.iter_child_nodes())


def _wrong(node: nodes.Node) -> str:
    kind = type(node)
    if kind not in _ALLOWED:
        return f"{kind.__name__.lower()} is not for templates: use expressions, if, for, set and with"
    if isinstance(node, nodes.Filter | nodes.Test | nodes.Call) and (node.dyn_args or node.dyn_kwargs):
        return "`*` and `**` are not for templates: write the arguments out"
    if isinstance(node, nodes.Filter):
        if node.name not in FILTERS:
            return f"there is no filter `{node.name}`: {nearest(node.name, FILTERS)}"
    elif isinstance(node, nodes.Test):
        if node.name not in TESTS:
            return f"there is no test `{node.name}`: {nearest(node.name, TESTS)}"
    elif isinstance(node, nodes.Call):
        return _wrong_call(node)
    elif isinstance(node, nodes.For) and node.recursive:
        return "a recursive loop is not for templates: nest two loops"
    elif isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
        return f"names that begin with `_` are private: `{node.attr}`"
    return ""


def _wrong_call(node: nodes.Call) -> str:
    called = node.node
    if isinstance(called, nodes.Name):
        return "" if called.name == "range" else f"there is no function `{called.name}`: only `range` is one"
    if not isinstance(called, nodes.Getattr):
        return "only methods of values can be called, as in firing.due.date()"
    if called.attr in _METHODS:
        return ""
    return f"there is no method `{called.attr}`: {nearest(called.attr, _METHODS)}"


def written(node: nodes.Node, name: str) -> str:
    """Return an attribute's path as it stands in the template, as far as it is made of names."""
    inner = None if isinstance(node, nodes.Filter) else getattr(node, "node", None)
    if isinstance(inner, nodes.Getattr):
        return f"{written(inner, inner.attr)}.{name}"
    return f"{inner.name}.{name}" if isinstance(inner, nodes.Name) else name
