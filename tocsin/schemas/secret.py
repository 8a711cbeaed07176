"""Secrets stand in definitions as references only: where to find them, never what they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, model_validator

from tocsin.errors import NotFound
from tocsin.schemas.spec import Path, Spec, Text


class SecretReference(Spec):
    """Where a secret is found: in an environment variable or in a file; exactly one of the two."""

    env: Text | None = Field(None, description="The environment variable that holds the secret.")
    file: Text | None = Field(None, description="The file that holds the secret; a line end at its end is dropped.")
    prefix: str = Field("", description='What is put in front of the secret, for example "Bearer ".')

    @model_validator(mode="after")
    def _one_place(self) -> SecretReference:
        if (self.env is None) == (self.file is None):
            raise ValueError("a secret is found in one place: write {env: NAME} or {file: path}")
        return self

    def __str__(self) -> str:
        """Return the reference as it is written in a definition; never the secret."""
        return f"{{env: {self.env}}}" if self.env is not None else f"{{file: {self.file}}}"

    def resolve(self, env: Mapping[str, str], read: Callable[[str], str]) -> str:
        """Return the secret itself: look it up in `env`, or `read` the file.

        Raises:
            NotFound: the variable is not set or empty, or the file can not be read or is empty.
        """
        if self.env is not None:
            found, mend = env.get(self.env, ""), f"set the environment variable {self.env}"
        else:
            mend = f"write the secret into the file {self.file}"
            try:
                found = read(self.file or "").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise NotFound(f"the secret {self} can not be read ({type(error).__name__}): {mend}") from None
        if not found:
            raise NotFound(f"the secret {self} is not there, or empty: {mend}")
        return self.prefix + found


def _refuse_literal(value: Any) -> Any:
    if isinstance(value, dict | SecretReference):
        return value
    raise ValueError(
        "a secret is never written into a definition: write {env: NAME} for an environment variable, or {file: path}"
    )


Secret = Annotated[SecretReference, BeforeValidator(_refuse_literal, json_schema_input_type=SecretReference)]
"""A field that takes a reference to a secret and refuses a literal one."""


def _text_or_secret(value: Any) -> str:
    return "secret" if isinstance(value, dict | SecretReference) else "text"


TextOrSecret = Annotated[
    Annotated[str, Tag("text")] | Annotated[SecretReference, Tag("secret")], Discriminator(_text_or_secret)
]
"""A field that takes plain text, or a reference to a secret."""


def secrets_in(value: Any, path: Path = ()) -> Iterator[tuple[Path, SecretReference]]:
    """Return all references in a definition, or a part of one, each with its path."""
    if isinstance(value, SecretReference):
        yield path, value
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from secrets_in(getattr(value, name), (*path, field.alias or name))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from secrets_in(item, (*path, key))
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from secrets_in(item, (*path, position))
