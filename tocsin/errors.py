"""Everything that tocsin raises on purpose, in one tree.

TocsinError
+- InvalidInput                (errors: where, what, how to mend)       422
|  +- InvalidDefinition        (problems with file, line, column)      422
|  +- InvalidEvent             (index and field of each problem)       422
+- NotJSON                                                             400
+- TooLarge                    (limit, unit)                           413
+- Unauthorized                                                        401
+- Forbidden                                                           403
+- NotFound                                                            404
+- Conflict                                                            409
|  +- IllegalTransition
+- Overloaded                  (retry_after_s)                         429
+- Unavailable                 (retry_after_s)                         503
|  +- HomeInUse
+- ActionFailed                (permanent, retry_after_s)              never leaves the dispatcher
+- JudgeFailed                 (automation, seq or state)              never leaves the evaluator

The API maps a class to its status by walking the MRO; the command line prints the message and exits with 1.
"""

from __future__ import annotations

from dataclasses import dataclass


class TocsinError(Exception):
    """The base of all errors that tocsin raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input: where it is, and what to do about it."""

    message: str
    field: str = ""
    index: int | None = None
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Return `file:line:column: field: message`, leaving out what is not known."""
        place = f"{self.file}:{self.line}:{self.column}: " if self.file else ""
        item = f"[{self.index}] " if self.index is not None else ""
        return f"{place}{item}{self.field + ': ' if self.field else ''}{self.message}"


class InvalidInput(TocsinError):
    """The input was understood and is wrong; nothing of it was kept."""

    def __init__(self, problems: list[Problem]) -> None:
        """Keep the problems, in the order in which they stand in the input."""
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class InvalidDefinition(InvalidInput):
    """A definitions file, or a definition sent to the API, is wrong."""


class InvalidEvent(InvalidInput):
    """At least one event of a request is wrong; the whole request is refused (law E3)."""


class NotJSON(TocsinError):
    """The body is not JSON, or not JSON that can be kept (too deep, lone surrogates)."""


class TooLarge(TocsinError):
    """A body, an event or a batch exceeds its limit."""


class Unauthorized(TocsinError):
    """No token, a wrong token or a wrong signature; `challenge` is the HTTP scheme that would be right (RFC 9110)."""

    def __init__(self, message: str, *, challenge: str = "Bearer") -> None:
        """Keep the scheme."""
        super().__init__(message)
        self.challenge = challenge


class Forbidden(TocsinError):
    """The token is right and does not allow this."""


class NotFound(TocsinError):
    """There is nothing under that name or id."""


class Conflict(TocsinError):
    """The request contradicts what is there, for example the owner of a definition."""


class IllegalTransition(Conflict):
    """That state can not be reached from the present one."""


class Overloaded(TocsinError):
    """A bounded queue is full; nothing was kept, try again after `retry_after_s` seconds."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        """Keep the time to wait, in seconds."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(TocsinError):
    """Something that is needed is away or can not write; try again after `retry_after_s` seconds."""

    def __init__(self, message: str, *, retry_after_s: float = 5.0) -> None:
        """Keep the time to wait, in seconds."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class HomeInUse(Unavailable):
    """Another server already runs on this home directory, or on this SQLite file."""


class ActionFailed(TocsinError):
    """The effect was attempted and did not happen, or it is not known whether it did."""

    def __init__(self, reason: str, *, permanent: bool = False, retry_after_s: float | None = None) -> None:
        """Keep whether a retry can help (`permanent`), and how long the target asked to wait, in seconds."""
        super().__init__(reason)
        self.permanent = permanent
        self.retry_after_s = retry_after_s


class JudgeFailed(TocsinError):
    """One automation could not judge one event, or one of its states (law S5)."""

    def __init__(self, reason: str, *, automation: str, seq: int | None = None, state_key: str | None = None) -> None:
        """Keep what has to be set aside: the pair of automation and event `seq`, or a state."""
        super().__init__(reason)
        self.automation = automation
        self.seq = seq
        self.state_key = state_key
