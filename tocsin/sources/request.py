"""A request as a webhook source sees it: bytes and headers in, one document for expressions out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from pydantic_core import from_json

from tocsin.errors import NotJSON, TooLarge
from tocsin.schemas.moments import Micros

FORM_FIELDS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Request:
    """What was sent to a source. Header names are lower-case; values that came several times are joined by `, `.

    `received_us` is when it came.
    """

    source: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"
    received_us: Micros = 0

    @property
    def media_type(self) -> str:
        """The content type in lower case, without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def content(self) -> Any:
        """Return the body as what it is: JSON, the fields of a form, or text; None for an empty one.

        Raises:
            NotJSON: it says that it is JSON and is not, or is neither JSON nor text.
            TooLarge: it is a form with too many fields.
        """
        if not self.body.strip():
            return None
        if self.media_type == "application/x-www-form-urlencoded":
            return _form(self.body)
        says_json = self.media_type.endswith(("/json", "+json"))
        try:
            return read_json(self.body)
        except NotJSON:
            if says_json:
                raise
        return _text(self.body)

    def document(self) -> dict[str, Any]:
        """Return what expressions look at: `{body, headers, query, method, source}`.

        Raises:
            NotJSON, TooLarge: as for `content`.
        """
        return {
            "body": self.content(),
            "headers": dict(self.headers),
            "query": dict(self.query),
            "method": self.method,
            "source": self.source,
        }


def read_json(body: bytes) -> Any:
    """Return what a body of JSON says.

    Raises:
        NotJSON: it is not JSON, or nested too deeply.
    """
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise NotJSON(f"the body is not JSON: {error}") from None


def _form(body: bytes) -> dict[str, str | list[str]]:
    """Return the fields of a form; one that is there several times becomes a list."""
    fields: dict[str, str | list[str]] = {}
    try:
        pairs = parse_qsl(_text(body), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)
    except ValueError:
        raise TooLarge(f"the form has more than {FORM_FIELDS_MAX} fields") from None
    for name, value in pairs:
        known = fields.get(name)
        if known is None:
            fields[name] = value
        else:
            fields[name] = [*known, value] if isinstance(known, list) else [known, value]
    return fields


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise NotJSON("the body is neither JSON nor text in UTF-8") from None
