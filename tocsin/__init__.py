"""tocsin: an event-driven automations engine. Events in, judgement, actions out - and silence judged as carefully.

What is public is loaded when it is first used, so that `import tocsin` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tocsin.client import Client, Receipt, emit
    from tocsin.errors import TocsinError

__version__ = "0.1.0"

__all__ = ["Client", "Receipt", "TocsinError", "__version__", "emit"]

_HOMES = {
    "Client": "tocsin.client",
    "Receipt": "tocsin.client",
    "TocsinError": "tocsin.errors",
    "emit": "tocsin.client",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
