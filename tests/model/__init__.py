"""A brute-force model of the laws: deliberately naive, and independent of the engine (see README.md)."""

from tests.model.judge import judge

__all__ = ["judge"]
