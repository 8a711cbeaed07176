"""What a Prefect 3.8 server answered, kept beside the tests: automations of all kinds and what they name.

Of the blocks only the schemas are left out. The histories are automations, the events that were sent to the server in
real time, and what it fired.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "prefect"


def kept(name: str) -> Any:
    """Return one of the server's answers."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def known() -> dict[tuple[str, str], Any]:
    """Return everything that the automations name, as an import from the API has it."""
    found = {
        (collection, one["id"]): one
        for collection in ("block_documents", "deployments", "work_queues")
        for one in kept(collection)
    }
    pools = {("work_pools", one["id"]): one | {"queues": kept("work_queues")} for one in kept("work_pools")}
    return found | pools
