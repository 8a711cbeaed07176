"""`tocsin import prefect`: automations of a Prefect server, or of its exports, as a definitions file."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from tocsin.errors import NotFound, TocsinError, Unauthorized, Unavailable

if TYPE_CHECKING:
    import httpx

PAGE = 200
"""How many automations one request asks for; the most that Prefect answers."""

_TIMEOUT_S = 30.0

group = typer.Typer(help="Definitions of others as ours.", no_args_is_help=True, add_completion=False)


@group.callback()
def imports() -> None:
    """Definitions of others as ours."""


@group.command()
def prefect(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|URL",
            help="An export as JSON or YAML, - for standard input; or a server's API: http://127.0.0.1:4200/api",
            show_default=False,
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="The definitions file to write; else it is printed.")] = None,
    api_key: Annotated[
        str | None, typer.Option(metavar="ENV", help="The environment variable with an API key, or user:password.")
    ] = None,
) -> None:
    """Turn Prefect's automations into a definitions file; exit status 1 if something has no equivalent."""
    from tocsin.cli import output
    from tocsin.review.prefect import automations_of, convert, read_export, references

    if source.startswith(("http://", "https://")):
        with PrefectApi(source, key=_key(api_key)) as api:
            automations = automations_of(api.automations(), file=source)
            imported = convert(automations, api.known(references(automations)))
    else:
        imported = convert(read_export(_text(source), file=source))
    if out is None:
        sys.stdout.write(imported.text)
    else:
        with out.open("x", encoding="utf-8") as file:
            file.write(imported.text)
    what = "1 automation" if imported.automations == 1 else f"{imported.automations} automations"
    output.note(f"{what} imported" + (f" into {out}" if out else ""))
    if imported.variables:
        output.note(f"to be set in the environment: {', '.join(imported.variables)}")
    if imported.errors:
        count = len(imported.errors)
        first = "one thing has" if count == 1 else f"{count} things have"
        raise TocsinError("\n".join([f"{first} no equivalent; comments stand in their places:", *imported.errors]))


def _text(source: str) -> str:
    content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise TocsinError(f"{source} is not UTF-8: save it as UTF-8") from None


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    if key := os.environ.get(variable):
        return key
    raise NotFound(f"the environment variable {variable} is not set: put Prefect's API key into it")


class PrefectApi:
    """The parts of Prefect's API that an import reads; a context manager."""

    def __init__(self, url: str, *, key: str | None = None, transport: httpx.BaseTransport | None = None) -> None:
        """Keep the address (`/api` is added to a bare host) and the key: a token, or `user:password`.

        Raises:
            Unavailable: the address is not one, or holds a password.
        """
        import httpx

        try:
            address = httpx.URL(url)
        except httpx.InvalidURL:
            raise Unavailable(f"{url!r} is not an address: write http://127.0.0.1:4200/api") from None
        if address.userinfo or not address.host:
            raise Unavailable("write the address as http://host:4200/api, and give user:password by --api-key ENV")
        self.url = str(address.copy_with(path=address.path.rstrip("/") or "/api", query=None, fragment=None))
        self._http = httpx.Client(
            base_url=self.url, headers=_authorization(key), timeout=_TIMEOUT_S, transport=transport,
            trust_env=address.host not in ("127.0.0.1", "localhost", "::1"),
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def automations(self) -> list[Any]:
        """Return all automations, by name."""
        return self._pages("/automations/filter", sort="NAME_ASC")

    def known(self, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Mapping[str, Any]]:
        """Return what the API tells about things named by collection and id; what it does not know is left out."""
        known: dict[tuple[str, str], Mapping[str, Any]] = {}
        from tocsin.cli.client import segment

        rest = list(wanted)
        if any(collection == "work_pools" for collection, _ in rest):
            known |= self._pools()
        for collection, identity in rest:
            if (collection, identity) in known or collection == "work_pools":
                continue
            found = self._call("GET", f"/{collection}/{segment(identity)}")
            if isinstance(found, dict):
                known[collection, identity] = found
                if queue := found.get("work_queue_id"):
                    rest.append(("work_queues", str(queue)))
        return known

    def _pools(self) -> dict[tuple[str, str], Mapping[str, Any]]:
        from tocsin.cli.client import segment

        known: dict[tuple[str, str], Mapping[str, Any]] = {}
        for pool in self._pages("/work_pools/filter"):
            queues = self._pages(f"/work_pools/{segment(pool['name'])}/queues/filter")
            known["work_pools", pool["id"]] = pool | {"queues": queues}
            known |= {("work_queues", queue["id"]): queue for queue in queues}
        return known

    def _pages(self, path: str, **asked: Any) -> list[Any]:
        found: list[Any] = []
        while True:
            page = self._call("POST", path, json={**asked, "limit": PAGE, "offset": len(found)})
            if not isinstance(page, list):
                raise Unavailable(f"there is no API of Prefect at {self.url}: write http://127.0.0.1:4200/api")
            found += page
            if len(page) < PAGE:
                return found

    def _call(self, method: str, path: str, **options: Any) -> Any:
        """Return an answer, or None for 404."""
        import httpx

        try:
            response = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            what = f"nothing answers at {self.url} ({type(error).__name__})"
            raise Unavailable(f"{what}: start Prefect's server, or correct the address") from None
        if response.status_code in (401, 403):
            raise Unauthorized(f"Prefect at {self.url} asks for a key: name its environment variable with --api-key")
        if response.status_code == 404:
            return None
        if not response.is_success:
            raise Unavailable(f"Prefect at {self.url} answered {response.status_code} to {path}")
        try:
            return response.json()
        except ValueError:
            return None


def _authorization(key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    if ":" in key:
        return {"Authorization": f"Basic {base64.b64encode(key.encode()).decode()}"}
    return {"Authorization": f"Bearer {key}"}
