"""What a run writes: a log file that is bounded, and the last lines, with secrets blotted out."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

LOG_BYTES = 10 << 20
"""The most that is kept of what one attempt writes; behind it only the end is."""

TAIL_BYTES = 16 << 10
TAIL_LINES = 20
_LINE_BYTES = 64 << 10
_SECRET_CHARS = 4  # a shorter one would blot out ordinary text, and is none


def blotted(data: bytes, secrets: Collection[str]) -> bytes:
    """Return the data with every secret replaced by `***`."""
    for secret in sorted(secrets, key=len, reverse=True):  # one may begin with another
        if len(secret) >= _SECRET_CHARS:
            data = data.replace(secret.encode(), b"***")
    return data


def log_path(home: Path, run_id: str) -> Path:
    """Return the file in which all attempts of a run leave their output."""
    return home.absolute() / "runs" / f"{run_id}.log"


def read_log(path: Path, *, offset: int, limit: int) -> bytes:
    """Return up to `limit` bytes of a log from `offset` on; nothing when nothing was written there yet."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(limit)
    except FileNotFoundError:
        return b""


class Output:
    """The output of one attempt; fed from one thread, read when that has ended."""

    def __init__(self, path: Path, title: str, *, secrets: Collection[str] = (), limit: int = LOG_BYTES) -> None:
        """Append to the file, below a line with the title; nobody but its owner may read it."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._file = os.fdopen(descriptor, "wb", buffering=0)  # so that it can be followed
        self._secrets = secrets
        self._limit, self._written, self._left_out = limit, 0, 0
        self._line = b""
        self._tail = b""
        self._write(f"--- {title}\n".encode())

    def feed(self, data: bytes) -> None:
        """Take what the process has written; a line is passed on once it is complete, or very long."""
        complete, newline, rest = (self._line + data).rpartition(b"\n")
        self._line = rest
        if newline:
            self._keep(complete + newline)
        if len(self._line) > _LINE_BYTES:
            self._flush()

    def close(self) -> None:
        """Complete the file: what was left out is counted, and followed by the end of the output."""
        self._flush()
        if self._left_out:
            self._write(f"\n--- {self._left_out} bytes were left out; the output ended:\n".encode() + self._tail)
        self._file.close()

    def tail(self) -> str:
        """Return the last lines as text that can be stored anywhere."""
        text = self._tail.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
        return "\n".join(text.rstrip().splitlines()[-TAIL_LINES:])

    def _flush(self) -> None:
        self._keep(self._line)
        self._line = b""

    def _keep(self, data: bytes) -> None:
        data = blotted(data, self._secrets)
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        head = data[: max(self._limit - self._written, 0)]
        if head and not self._write(head):
            head = b""
        self._written += len(head)
        self._left_out += len(data) - len(head)

    def _write(self, data: bytes) -> bool:
        try:
            self._file.write(data)
        except OSError:  # a full disk costs the log, not the run
            return False
        return True
