"""JMESPath expressions with a budget, so that no expression can run away over a large document.

JMESPath has neither loops nor recursion, but projections nest (`a[].b[?...]`) and pipes can double what they are
given, so the work may be a power of the document's size. A search therefore counts the nodes it evaluates and the
elements that flattening, comparing and calling functions walk through, and fails when the budget is used up.

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
_FUNCTIONS = Functions()
_CHARACTERS_PER_STEP = 256


class ExpressionFailed(TocsinError):
    """A right expression failed on this document, or used up its budget (law M4)."""


class Expression:
    """A compiled JMESPath expression; immutable, and safe to use from several threads."""

    __slots__ = ("_tree", "text")

    def __init__(self, text: str, tree: dict[str, Any]) -> None:
        """Keep the text and its parsed tree; use `compile_expression` to make one."""
        self.text = text
        self._tree = tree

    def __repr__(self) -> str:
        """Return the expression as it was written."""
        return f"Expression({self.text!r})"

    def search(self, document: object, *, budget: int = BUDGET) -> Any:
        """Return what the expression finds in the document, None where it finds nothing.

        Raises:
            ExpressionFailed: a function was given what it can not take, or more than `budget` steps were needed.
        """
        try:
            return _Bounded(budget).visit(self._tree, document)
        except ExpressionFailed:
            raise
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
    return not (value is None or value is False or value == "" or value == [] or value == {})


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


def _check_functions(text: str, tree: dict[str, Any]) -> None:
    """Refuse a function that does not exist now, instead of failing on every event later."""
    if tree["type"] == "function_expression" and tree["value"] not in _FUNCTIONS.FUNCTION_TABLE:
        known = ", ".join(sorted(_FUNCTIONS.FUNCTION_TABLE))
        raise ValueError(f"{text!r} calls {tree['value']}(), which JMESPath does not have: use one of {known}")
    for child in tree["children"]:
        if isinstance(child, dict):
            _check_functions(text, child)


class _Bounded(TreeInterpreter):  # type: ignore[misc]
    """The library's interpreter, counting what it does."""

    def __init__(self, budget: int) -> None:
        super().__init__()
        self._left = budget

    def visit(self, node: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ExpressionFailed("needs more steps than one search may take: make it look at less of the event")
        return super().visit(node, *args, **kwargs)

    def visit_flatten(self, node: dict[str, Any], value: Any) -> Any:
        merged = super().visit_flatten(node, value)
        self._spend(len(merged or ()))
        return merged

    def visit_comparator(self, node: dict[str, Any], value: Any) -> Any:
        # Pipes share what they repeat: such a document is cheap to build and dear to compare, so it is walked first.
        sides = [self.visit(child, value) for child in node["children"]]
        for side in sides:
            self._walk(side)
        literals = [{"type": "literal", "value": side, "children": []} for side in sides]
        return super().visit_comparator({**node, "children": literals}, value)

    def visit_function_expression(self, node: dict[str, Any], value: Any) -> Any:
        deep = node["value"] in ("to_string", "contains")
        arguments = [self.visit(child, value) for child in node["children"]]
        for argument in arguments:
            if deep:
                self._walk(argument)
            elif isinstance(argument, str):
                self._spend(len(argument) // _CHARACTERS_PER_STEP)
            elif isinstance(argument, list | dict):
                self._spend(len(argument))
        result = self._functions.call_function(node["value"], arguments)
        if isinstance(result, str):
            self._spend(len(result) // _CHARACTERS_PER_STEP)
        return result

    def _spend(self, steps: int) -> None:
        self._left -= steps

    def _walk(self, value: Any) -> None:
        """Spend one step for each element of a value, stopping where the budget does."""
        rest = [value]
        while rest and self._left >= 0:
            item = rest.pop()
            self._left -= 1
            if isinstance(item, list):
                rest.extend(item)
            elif isinstance(item, dict):
                rest.extend(item.values())
            elif isinstance(item, str):
                self._left -= len(item) // _CHARACTERS_PER_STEP
