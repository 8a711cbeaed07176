"""`/docs` is a page of its own."""

from __future__ import annotations

import re

import httpx

from tocsin.api.reference import page


async def test_the_page_names_every_call_and_loads_nothing(client: httpx.AsyncClient) -> None:
    answer = await client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    for path, methods in (await client.get("/openapi.json")).json()["paths"].items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in answer.text
    assert re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s>)]+)""", answer.text) == ["openapi.json"]
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_what_a_description_says_is_text() -> None:
    call = {"description": "<b>x</b>", "responses": {"200": {}}}
    html = page({"info": {"title": "<i>", "version": "1"}, "paths": {"/<a>": {"get": call}}})
    assert "<b>" not in html
    assert "<i>" not in html
    assert "/&lt;a&gt;" in html
