"""The server's log on standard error: a line for people, or a JSON object, for each record."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from tocsin.cli.output import printable

_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def configure(level: str, form: str) -> None:
    """Send the log to standard error; `form` is `text` or `json`. Libraries speak up from a warning on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("tocsin").setLevel(level.upper())


class TextLines(logging.Formatter):
    """`2026-11-20T08:57:02.123Z WARNING tocsin.engine: what happened name=value`; nothing can steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the traceback below it if there is one."""
        fields = "".join(f" {name}={value}" for name, value in _extra(record).items())
        text = f"{_moment(record)} {record.levelname} {record.name}: {printable(record.getMessage() + fields)}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonLines(logging.Formatter):
    """One JSON object for each record: `time`, `level`, `logger`, `message`, what it is about, and `exception`.

    What it is about are ids, as far as there are some: `automation`, `firing`, `intent`, `run`, `request`, and `seq`,
    the place of an event in the log.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the object on one line."""
        own = {"time": _moment(record), "level": record.levelname.lower(), "logger": record.name,
               "message": record.getMessage()}  # fmt: skip
        line: dict[str, object] = {**own, **_extra(record), **own}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in record.__dict__.items() if name not in _OWN}
