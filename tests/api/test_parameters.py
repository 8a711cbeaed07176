"""Query parameters that a call does not have."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    flows = "".join(f"  - {{name: {name}, command: ['true'], queue: of-{name}}}\n" for name in "abc")
    queues = "".join(f"  - {{name: of-{name}, concurrency: 1}}\n" for name in "abc")
    (path := tmp_path / "flows.yaml").write_text(f"flows:\n{flows}queues:\n{queues}")
    return path


@pytest.mark.parametrize(
    ("address", "field", "mend"),
    [
        ("/api/events?resouce=a", "resouce", "did you mean `resource`?"),
        ("/api/events/count?event=a&form=hour", "form", "known here"),
        ("/api/firings?verdikt=missed", "verdikt", "did you mean `verdict`?"),
        ("/api/actions?sate=dead", "sate", "did you mean `state`?"),
        ("/api/runs?limit=5&que=a", "que", "did you mean `queue`?"),
        ("/api/events/x?before=1", "before", "known here: `source`"),
        ("/api/automations?Limit=1", "Limit", "did you mean `limit`?"),
        ("/api/queues?name=a", "name", "known here"),
    ],
)
async def test_a_misspelt_filter_is_refused_with_the_nearest_name(
    client: httpx.AsyncClient, address: str, field: str, mend: str
) -> None:
    answer = await client.get(address)
    assert answer.status_code == 422
    (problem,) = answer.json()["errors"]
    assert problem["field"] == field
    assert mend in problem["message"]


async def test_known_parameters_pass_and_probes_may_carry_anything(client: httpx.AsyncClient) -> None:
    for address in ("/api/events?event=a&since=7d&q=x&limit=3", "/api/definitions?kind=flow", "/healthz?probe=1"):
        assert (await client.get(address)).status_code == 200, address


async def test_every_list_goes_page_by_page(client: httpx.AsyncClient) -> None:
    for address in ("/api/flows", "/api/queues"):
        first = (await client.get(address, params={"limit": 2})).json()
        last = (await client.get(address, params={"limit": 2, "cursor": first["next"]})).json()
        assert [len(first["items"]), len(last["items"]), last["next"]] == [2, 1, None], address
        assert (await client.get(address, params={"cursor": "nonsense"})).status_code == 422
