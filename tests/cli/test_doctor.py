"""`tocsin doctor`: what is configured, and what is wrong with the processes that run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cli.invoke import invoke
from tests.cli.served import serving
from tests.flows.opened import Opened
from tocsin.clock import SystemClock
from tocsin.store import processes
from tocsin.store.database import Database
from tocsin.store.processes import Process
from tocsin.store.writer import Writer

NOWHERE = "http://127.0.0.1:9"


def findings(**env: str) -> tuple[object, list[dict[str, Any]]]:
    done = invoke("doctor", "--json", env=env)
    return done.status, [json.loads(line) for line in done.out.splitlines()]


def wrong(found: list[dict[str, Any]]) -> list[str]:
    return [one["finding"] for one in found if not one["ok"]]


def test_a_server_that_is_well_is_said_to_be(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        status, found = findings(TOCSIN_URL=server.url, TOCSIN_HOME=str(tmp_path / "home"))
    assert (status, wrong(found)) == (0, [])
    said = {one["what"]: one["finding"] for one in found}
    assert said["server"].startswith(f"{server.url} is ready")
    assert "api, recorder, evaluator, dispatcher, worker" in said["process"]


def test_roles_that_nobody_has_are_named_with_what_to_start(tmp_path: Path, postgres_url: str) -> None:
    with serving(tmp_path, TOCSIN_DATABASE=postgres_url, TOCSIN_ROLES="api,evaluator") as server:
        status, found = findings(TOCSIN_URL=server.url, TOCSIN_DATABASE=postgres_url)
    assert status == 1
    assert wrong(found) == ["no process dispatches: start `tocsin serve --roles dispatcher`"]


def test_without_a_server_the_database_is_asked(postgres_url: str) -> None:
    store = Opened(postgres_url)
    store.close()
    clock, database = SystemClock(), Database(postgres_url)
    writer = Writer(database, clock)
    writer.start()
    try:
        for name, version in (("a", "1.0.0"), ("b", "2.0.0")):
            one = Process(f"h:1:{name}", ("api", "evaluator", "dispatcher"), "h", 1, version)
            writer.submit(lambda tx, one=one: processes.register(tx, one)).result(10)  # type: ignore[misc]
        status, found = findings(TOCSIN_URL=NOWHERE, TOCSIN_DATABASE=postgres_url)
    finally:
        writer.close()
        database.close()
    assert status == 1
    assert "2 versions run (1.0.0, 2.0.0): finish the upgrade" in wrong(found)


def test_a_bus_that_is_away_is_named_without_its_password(postgres_url: str) -> None:
    env = {"TOCSIN_BUS": "redis://:hunter2@127.0.0.1:9/0", "TOCSIN_DATABASE": postgres_url, "TOCSIN_URL": NOWHERE}
    status, found = findings(**env, TOCSIN_HEARTBEAT_URL="https://checks.example/s3cret")
    assert status == 1
    assert any(said.startswith("the bus at redis://127.0.0.1:9 does not answer") for said in wrong(found))
    assert "hunter2" not in json.dumps(found)
    assert "s3cret" not in json.dumps(found)
