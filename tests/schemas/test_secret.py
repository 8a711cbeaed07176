"""Secrets are references, looked up late; what they are never shows."""

# ruff: noqa: E501 - a table of inputs and messages reads best with one case on a line

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from tests.schemas.documents import WHOLE
from tocsin.errors import NotFound
from tocsin.schemas.document import parse
from tocsin.schemas.secret import Secret, SecretReference, secrets_in

SECRET = TypeAdapter(Secret)


def read(path: str) -> str:
    if path == "bytes":
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    return {"there": "hunter2\n", "empty": "\r\n"}[path] if path in {"there", "empty"} else open_nothing(path)


def open_nothing(path: str) -> str:
    raise FileNotFoundError(2, "No such file", path)


@pytest.mark.parametrize(
    ("reference", "secret"),
    [
        ({"env": "A"}, "hunter2"), ({"file": "there"}, "hunter2"), ({"env": "A", "prefix": "Bearer "}, "Bearer hunter2"),
    ],
)  # fmt: skip
def test_a_secret_is_found_where_its_reference_says(reference: dict[str, str], secret: str) -> None:
    found = SECRET.validate_python(reference)
    assert found.resolve({"A": "hunter2"}, read) == secret
    assert "hunter2" not in f"{found} {found!r}"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (SecretReference(env="B"), "the secret {env: B} is not there, or empty: set the environment variable B"),
        (SecretReference(env="E"), "the secret {env: E} is not there, or empty: set the environment variable E"),
        (SecretReference(file="empty"), "the secret {file: empty} is not there, or empty: write the secret into the file empty"),
        (SecretReference(file="x"), "the secret {file: x} can not be read (FileNotFoundError): write the secret into the file x"),
        (SecretReference(file="bytes"), "the secret {file: bytes} can not be read (UnicodeDecodeError): write the secret into"),
    ],
)  # fmt: skip
def test_a_secret_that_is_not_there_says_how_to_mend_it(reference: SecretReference, said: str) -> None:
    with pytest.raises(NotFound) as refused:
        reference.resolve({"A": "hunter2", "E": ""}, read)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    "value", [{}, {"env": "A", "file": "b"}, {"env": ""}, {"value": "hunter2"}, "hunter2", None, 5]
)
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        SECRET.validate_python(value)


def test_all_references_of_a_document_are_found_with_their_paths() -> None:
    found = {".".join(map(str, path)): str(secret) for path, secret in secrets_in(parse(WHOLE))}
    assert found["automations.2.actions.2.headers.Authorization"] == "{env: INCIDENT_TOKEN}"
    assert found["channels.1.url"] == "{file: secrets/teams}"
    assert len(found) == 13
