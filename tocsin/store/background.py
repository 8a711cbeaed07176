"""A thread beside the writer's, which works until it is closed."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod


class Background(ABC):
    """Runs `_serve`, which ends soon after `_closing` is set, in a thread of its own."""

    def __init__(self, name: str) -> None:
        """Prepare the thread."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"tocsin-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, and wait for it."""
        self._closing.set()
        self._thread.join()

    @abstractmethod
    def _serve(self) -> None: ...
