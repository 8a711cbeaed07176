"""Definitions files on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from tocsin.errors import InvalidDefinition, Problem
from tocsin.schemas.document import Document, load

BYTES_MAX = 256 * 1024 * 1024
"""The largest file that is read."""

_SUFFIXES = frozenset({".yaml", ".yml"})


def read_definitions(path: Path) -> Document:
    """Return the document that a file makes, or the `*.yaml` and `*.yml` files of a folder, by name.

    Raises:
        InvalidDefinition: there is no file, or one can not be read; or else with every problem of every file.
    """
    return load(read_texts(path))


def read_texts(path: Path) -> dict[str, str]:
    """Return the text of each definitions file by its name.

    Raises:
        InvalidDefinition: there is none, or some can not be read.
    """
    files = definition_files(path)
    if not files:  # as where a volume is not mounted: nobody means to remove everything by that
        message = "there is no *.yaml or *.yml file in this folder: add one, `automations: []` is enough"
        raise InvalidDefinition([Problem(message, file=str(path), line=1, column=1)])
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for file in files:
        try:
            texts[str(file)] = _read(file)
        except (OSError, ValueError) as error:
            message = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
            problems.append(Problem(f"the file can not be read: {message}", file=str(file), line=1, column=1))
    if problems:
        raise InvalidDefinition(problems)
    return texts


def digest_of(texts: Mapping[str, str], *, version: str) -> str:
    """Return what stands for the texts of files as one version of tocsin reads them."""
    whole = hashlib.sha256(version.encode())
    for name, text in texts.items():
        for part in (name, text):
            whole.update(b"%d\n" % len(part))
            whole.update(part.encode())
    return whole.hexdigest()


def definition_files(path: Path) -> list[Path]:
    """Return the files that a definitions path stands for; hidden ones and those of inner folders do not count."""
    if not path.is_dir():
        return [path]
    return sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".") and file.is_file()
    )


def _read(file: Path) -> str:
    if file.exists() and not file.is_file():
        raise ValueError("it is not a file")
    if file.stat().st_size > BYTES_MAX:
        raise ValueError(f"it is larger than {BYTES_MAX // 1024**2} MiB, split it")
    content = file.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8, save it as UTF-8") from None
