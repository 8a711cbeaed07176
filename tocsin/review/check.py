"""Checking definitions without running them: `tocsin check`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tocsin.errors import InvalidDefinition, NotFound, Problem
from tocsin.schemas.document import Document
from tocsin.schemas.secret import SecretReference, secrets_in
from tocsin.store.files import read_definitions


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a check: what is wrong, how many there are of each kind, and the secrets that are referred to."""

    problems: list[Problem]
    counts: Mapping[str, int]
    secrets: list[SecretReference]

    def summary(self) -> str:
        """Return what was checked in words: `3 automations, 1 channel`."""
        return ", ".join(f"{count} {kind if count > 1 else kind.removesuffix('s')}"
                         for kind, count in self.counts.items()) or "nothing is defined"  # fmt: skip

    def missing(self, env: Mapping[str, str], read: Callable[[str], str]) -> dict[str, str]:
        """Return the secrets that are not there now, in `env` or among the files that `read` opens, each with why."""
        said = {}
        for one in self.secrets:
            try:
                one.resolve(env, read)
            except NotFound as error:
                said[str(one)] = str(error)
        return said


def check(path: Path) -> Checked:
    """Read a definitions file or folder and say what is in it; its `problems` are empty when it is right."""
    try:
        document = read_definitions(path)
    except InvalidDefinition as error:
        return Checked(error.problems, {}, [])
    return Checked([], _counts(document), list({str(one): one for _, one in secrets_in(document)}.values()))


def _counts(document: Document) -> dict[str, int]:
    sizes = {section: len(getattr(document, section)) for section in type(document).model_fields}
    return {section: size for section, size in sizes.items() if size}
