"""The settings of a command: from the environment, and flags that win."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from tocsin.errors import TocsinError
from tocsin.settings import Settings


def read_settings(**flags: Any) -> Settings:
    """Return the settings of environment and flags; flags that are None were not given.

    Raises:
        TocsinError: a setting is wrong.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        raise TocsinError("\n".join(_setting_problem(one) for one in error.errors(include_input=False))) from None


def _setting_problem(problem: Any) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    name = "_".join(map(str, problem["loc"][:1]))
    return f"TOCSIN_{name.upper()}: {message}" if name else message
