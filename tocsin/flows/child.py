"""The process of a Python entrypoint: `python -P -m tocsin.flows.child path.py:function`.

The function is called with the run's parameters as keyword arguments, and awaited if it is asynchronous. What it
returns, or the exception that it raises, is told in the file that `TOCSIN_RESULT` names; the traceback goes to
standard error. Imports the standard library only: it shares its process with the flow.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


def load(entrypoint: str) -> Callable[..., Any]:
    """Return the function of `path.py:function`; its folder comes first on the module path, as for a script.

    Raises:
        LookupError: there is no such file, or no such function in it.
    """
    place, _, name = entrypoint.rpartition(":")
    path = Path(place)
    if not path.is_file():
        raise LookupError(f"there is no file {place}")
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise LookupError(f"{place} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # so that the flow can pickle what it defines
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise LookupError(f"there is no function {name} in {place}")
    found: Callable[..., Any] = function
    return found


def call(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """Call the function and return what it returns, awaited if it has to be."""
    returned = function(**parameters)
    return asyncio.run(_awaited(returned)) if inspect.isawaitable(returned) else returned


async def _awaited(returned: Any) -> Any:
    return await returned


def main() -> int:
    """Run the entrypoint that is named on the command line; return the exit status."""
    result = Path(os.environ["TOCSIN_RESULT"])
    try:
        returned = call(load(sys.argv[1]), json.loads(os.environ["TOCSIN_PARAMETERS"]))
    except Exception as error:  # noqa: BLE001 - whatever a flow raises is told, and ends in its status
        traceback.print_exception(error)
        result.write_text(json.dumps({"error": f"{type(error).__name__}: {error}"[:1000]}))
        return 1
    try:
        result.write_text(json.dumps({"result": returned}, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        print(f"what the flow returned is not JSON and was not kept: {error}", file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
