"""JMESPath expressions with a budget, so that no expression can run away over a large document.

JMESPath has neither loops nor recursion, but projections nest (`a[].b[?...]`) and pipes can double what they are
given, so the work may be a power of the document's size. A search therefore counts the nodes it evaluates and the
elements that flattening, comparing and calling functions walk through, and fails when the budget is used up.
Expressions that can do none of this, which most are, run uncounted.

Source: the JMESPath specification, https://jmespath.org/specification.html; evaluated by the library `jmespath`.
"""

from __future__ import annotations

from typing import Any

import jmespath
from jmespath.exceptions import EmptyExpressionError, JMESPathError, LexerError, ParseError
from jmespath.functions import Functions
from jmespath.visitor import TreeInterpreter

from tocsin.errors import TocsinError

BUDGET = 200_000
"""The most steps of one search; about a tenth of a second."""

_HINT = "strings stand in single quotes, numbers in backticks: resource.env == 'prod' && payload.n > `1`"
_LIBRARY = TreeInterpreter()
_FUNCTIONS = Functions().FUNCTION_TABLE
_LINEAR = frozenset({
    "and_expression", "comparator", "current", "field", "function_expression", "identity", "index", "index_expression",
    "literal", "not_expression", "or_expression", "subexpression",
})  # fmt: skip
"""Nodes that are evaluated once and build nothing: without others, the work is linear in the document."""
_DEEP = ("to_string", "contains")
"""Functions that look into the elements of what they are given."""
_CHARACTERS_PER_STEP = 256


class ExpressionFailed(TocsinError):
    """A right expression failed on this document, or used up its budget (law M4)."""


class _OverBudget(Exception):
    """The search has used up its steps."""


class Expression:
    """A compiled JMESPath expression; immutable, and safe to use from several threads."""

    __slots__ = ("_linear", "_tree", "text")

    def __init__(self, text: str, tree: Any) -> None:
        """Keep the text and its parsed tree; use `compile_expression` to make one."""
        self.text = text
        self._tree = tree
        self._linear = _is_linear(tree)

    def __repr__(self) -> str:
        """Return the expression as it was written."""
        return f"Expression({self.text!r})"

    def search(self, document: object, *, budget: int = BUDGET) -> Any:
        """Return what the expression finds in the document, None where it finds nothing.

        Raises:
            ExpressionFailed: a function was given what it can not take, or more than `budget` steps were needed.
        """
        interpreter = _LIBRARY if self._linear else _Bounded(budget)
        try:
            return interpreter.visit(self._tree, document)
        except _OverBudget:
            what = f"needs more than {budget:,} steps on this document: make it look at less of it"
            raise ExpressionFailed(f"{self.text!r} {what}") from None
        except RecursionError:
            raise ExpressionFailed(f"{self.text!r} is nested too deeply for this document") from None
        except (JMESPathError, TypeError, ValueError, ArithmeticError) as error:
            raise ExpressionFailed(f"{self.text!r}: {error}") from error

    def holds(self, document: object) -> bool:
        """Return whether the result is true by JMESPath's rule: not null, false, or empty; 0 is true (law M4).

        Raises:
            ExpressionFailed: as for `search`.
        """
        return is_true(self.search(document))


def is_true(value: object) -> bool:
    """Return whether JMESPath takes the value for true: everything but null, false, and what is empty."""
    return not (value is None or value is False or value in ("", [], {}))


def compile_expression(text: str) -> Expression:
    """Parse an expression.

    Raises:
        ValueError: it is not JMESPath, or calls a function that does not exist; says where, and how to mend it.
    """
    try:
        tree = jmespath.compile(text).parsed
    except EmptyExpressionError:
        raise ValueError(f"a JMESPath expression is empty: leave it out, or write one; {_HINT}") from None
    except LexerError as error:
        raise ValueError(_not_jmespath(text, error.lexer_position, error.message)) from None
    except ParseError as error:
        what = f"{error.token_value!r} is not expected here" if error.token_value else "it ends too early"
        raise ValueError(_not_jmespath(text, error.lex_position, what)) from None
    except RecursionError:
        raise ValueError("the JMESPath expression is nested too deeply: split it") from None
    _check_functions(text, tree)
    return Expression(text, tree)


def _not_jmespath(text: str, position: int, what: str) -> str:
    return f"{text!r} is not JMESPath: at column {position + 1}, {what}; {_HINT}"


def _check_functions(text: str, tree: Any) -> None:
    """Refuse now what would fail on every event: a function that does not exist, or the wrong number of arguments."""
    if tree["type"] == "function_expression":
        name, given = tree["value"], len(tree["children"])
        if name not in _FUNCTIONS:
            raise ValueError(
                f"{text!r} calls {name}(), which is not there: the functions are {', '.join(sorted(_FUNCTIONS))}"
            )
        signature = _FUNCTIONS[name]["signature"]
        more = bool(signature[-1].get("variadic"))
        if given < len(signature) or (given > len(signature) and not more):
            wants = f"{'at least ' if more else ''}{len(signature)}"
            raise ValueError(f"{text!r} calls {name}() with {given} arguments: give it {wants}")
    for child in _children(tree):
        _check_functions(text, child)


def _is_linear(tree: Any) -> bool:
    plain = tree["type"] in _LINEAR and not (tree["type"] == "function_expression" and tree["value"] == "to_string")
    return plain and all(map(_is_linear, _children(tree)))


def _children(tree: Any) -> list[Any]:
    """Return the child nodes; the bounds of a slice stand among them and are none."""
    return [child for child in tree["children"] if isinstance(child, dict)]


class _Bounded(TreeInterpreter):
    """The library's interpreter, counting what it does."""

    def __init__(self, budget: int) -> None:
        super().__init__()
        self._left = budget

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise _OverBudget
        return super().visit(node, *args, **kwargs)

    def visit_flatten(self, node: Any, value: Any) -> Any:
        merged = super().visit_flatten(node, value)
        self._spend(len(merged or ()))
        return merged

    def visit_comparator(self, node: Any, value: Any) -> Any:
        # Pipes share what they repeat: such a document is cheap to build and dear to compare, so it is walked first.
        sides = [self.visit(child, value) for child in node["children"]]
        for side in sides:
            self._walk(side)
        return super().visit_comparator(_with_values(node, sides), value)

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        arguments = [self.visit(child, value) for child in node["children"]]
        for argument in arguments:
            if node["value"] in _DEEP:
                self._walk(argument)
            else:
                self._spend(_length(argument))
        result = super().visit_function_expression(_with_values(node, arguments), value)
        self._spend(_length(result))
        return result

    def _spend(self, steps: int) -> None:
        self._left -= steps

    def _walk(self, value: object) -> None:
        """Spend one step for each element of a value, at any depth, stopping where the budget does."""
        rest = [value]
        while rest and self._left >= 0:
            item = rest.pop()
            self._left -= 1
            if isinstance(item, list):
                rest.extend(item)
            elif isinstance(item, dict):
                rest.extend(item.values())
            else:
                self._left -= _length(item)


def _length(value: object) -> int:
    """Return how many steps it takes to walk over a value without looking into its elements."""
    if isinstance(value, str):
        return len(value) // _CHARACTERS_PER_STEP
    return len(value) if isinstance(value, list | dict) else 0


def _with_values(node: Any, values: list[Any]) -> Any:
    """Return the node with children that are done: literals of what they evaluated to."""
    return {**node, "children": [{"type": "literal", "value": value, "children": []} for value in values]}
