"""Who may call what: tokens, and web pages that a browser on this machine shows."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tocsin.settings import Settings

EVENT = {"event": "a", "resource": {"id": "b"}}
ADMIN, EMITTER = "administrator's", "emitter's"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


class TestWithTokens:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(home=tmp_path / "home", token=ADMIN, emit_token=EMITTER, host="0.0.0.0")  # noqa: S104

    async def test_an_administrator_may_do_everything(self, client: httpx.AsyncClient) -> None:
        assert (await client.post("/api/events", json=EVENT, headers=bearer(ADMIN))).status_code == 202
        assert (await client.get("/api/events", headers=bearer(ADMIN))).status_code == 200
        assert (await client.get("/api/events", headers={"authorization": f"bearer  {ADMIN}"})).status_code == 200

    async def test_an_emitter_may_only_post_events(self, client: httpx.AsyncClient) -> None:
        assert (await client.post("/api/events", json=EVENT, headers=bearer(EMITTER))).status_code == 202
        for method, path in [("GET", "/api/events"), ("PUT", "/api/automations/a"), ("POST", "/api/queues/a/pause")]:
            answer = await client.request(method, path, headers=bearer(EMITTER))
            assert (answer.status_code, "administrator" in answer.json()["error"]) == (403, True)

    @pytest.mark.parametrize(
        "headers", [{}, bearer(""), bearer("guess"), bearer("ü"), {"authorization": f"Basic {ADMIN}"}]
    )
    async def test_nobody_else_may_do_anything(self, client: httpx.AsyncClient, headers: dict[str, str]) -> None:
        for method, path in [
            ("POST", "/api/events"),
            ("GET", "/api/events"),
            ("GET", "/api/nothing"),
            ("GET", "//api/events"),
        ]:
            raw = [(name.encode(), value.encode()) for name, value in headers.items()]
            answer = await client.request(method, path, headers=raw)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert ADMIN not in answer.text

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json"])
    async def test_what_says_nothing_about_events_is_open(self, client: httpx.AsyncClient, path: str) -> None:
        assert (await client.get(path)).status_code == 200

    async def test_hooks_and_pings_prove_themselves_in_another_way(self, client: httpx.AsyncClient) -> None:
        assert (await client.post("/hooks/nobody")).status_code == 404
        assert (await client.get("/ping/nobody")).status_code == 404

    async def test_a_page_or_a_proxy_may_call_with_a_token(self, client: httpx.AsyncClient) -> None:
        headers = {**bearer(ADMIN), "host": "tocsin.example", "origin": "https://elsewhere.example"}
        assert (await client.get("/api/events", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8710", "127.9.9.9", "localhost", "LOCALHOST:1", "localhost.", "[::1]:8710", "[::1]"]
)
async def test_without_a_token_this_machine_may_call(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/api/events", headers={"host": host})).status_code == 200
    assert (await client.get("/docs", headers={"host": host, "origin": f"http://{host}"})).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8710", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil.example", "[::2]", "["],
)
async def test_a_name_that_was_made_to_point_here_is_refused(client: httpx.AsyncClient, host: str) -> None:
    """DNS rebinding: the browser sends the name that it believes to talk to."""
    for method, path in [("GET", "/api/events"), ("POST", "/api/events"), ("GET", "/docs")]:
        answer = await client.request(method, path, headers={"host": host})
        assert (answer.status_code, "TOCSIN_TOKEN" in answer.json()["error"]) == (403, True)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:3000", "http://localhost:8710"])
async def test_a_page_of_another_site_is_refused(client: httpx.AsyncClient, origin: str) -> None:
    answer = await client.post("/api/events", json=EVENT, headers={"origin": origin})
    assert (answer.status_code, origin in answer.json()["error"]) == (403, True)


async def test_a_page_of_the_server_itself_may_call(client: httpx.AsyncClient) -> None:
    headers = {"origin": "http://127.0.0.1:8710", "host": "127.0.0.1:8710"}
    assert (await client.post("/api/events", json=EVENT, headers=headers)).status_code == 202
