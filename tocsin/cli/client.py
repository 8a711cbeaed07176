"""The command line's way to a running server: HTTP, and an error in one sentence when that does not work."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, Self
from urllib.parse import quote

import httpx

from tocsin.client import DEFAULT_URL, answered, connection, refusal, unreachable

PAGE = 500
"""The most items that one request asks for."""

_TIMEOUT_S = 30.0


class Client:
    """A server's API under `TOCSIN_URL`, with `TOCSIN_TOKEN` if that is set; a context manager."""

    def __init__(self, transport: httpx.BaseTransport | None = None) -> None:
        """Read the address and the token from the environment.

        Raises:
            Unavailable: the address is not one.
        """
        given = os.environ.get("TOCSIN_URL") or DEFAULT_URL
        self.url = given.rstrip("/")
        self._http = connection(given, os.environ.get("TOCSIN_TOKEN"), _TIMEOUT_S, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the answer to a GET; parameters that are None are left out."""
        return self._call("GET", path, params=_given(parameters))

    def post(self, path: str, body: Any = None, **parameters: Any) -> Any:
        """Return the answer to a POST, with a JSON body if one is given."""
        return self._call("POST", path, params=_given(parameters), **({} if body is None else {"json": body}))

    def put(self, path: str, body: Any, **parameters: Any) -> Any:
        """Return the answer to a PUT of a JSON body."""
        return self._call("PUT", path, params=_given(parameters), json=body)

    def part(self, path: str, offset: int) -> tuple[bytes, int]:
        """Return a part of a text from a byte on, and where the next part begins."""
        response = self._send("GET", path, params={"offset": offset})
        return response.content, int(response.headers.get("tocsin-next-offset", offset))

    def delete(self, path: str) -> Any:
        """Return the answer to a DELETE."""
        return self._call("DELETE", path)

    def items(self, path: str, limit: int | None, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Return up to `limit` items of a list, as many pages as that takes."""
        cursor: str | None = None
        while limit is None or limit > 0:
            size = PAGE if limit is None else min(limit, PAGE)
            page = self.get(path, limit=size, cursor=cursor, **parameters)
            yield from page["items"]
            cursor = page.get("next")
            if cursor is None:
                return
            limit = None if limit is None else limit - len(page["items"])

    def stream(self, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Return what a stream of server-sent events says, for as long as it lasts."""
        timeout = httpx.Timeout(_TIMEOUT_S, read=None)
        try:
            with self._http.stream("GET", path, params=_given(parameters), timeout=timeout) as response:
                if response.is_error:
                    response.read()
                    raise refusal(response, self.url)
                for line in response.iter_lines():
                    if line.startswith("data:"):
                        yield json.loads(line.removeprefix("data:"))
        except httpx.HTTPError as error:
            raise unreachable(error, self.url) from error

    def alive(self) -> bool:
        """Return whether a server answers at all."""
        try:
            return self._http.get("/healthz").is_success
        except httpx.HTTPError:
            return False

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise unreachable(error, self.url) from error
        if response.is_error:
            raise refusal(response, self.url)
        return response

    def _call(self, method: str, path: str, **options: Any) -> Any:
        return answered(self._send(method, path, **options), self.url)


def segment(name: str) -> str:
    """Return a name as one part of a path."""
    return quote(name, safe="")


def _given(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}
