"""The heartbeat to an outside check: sent while the process does its work, silent when it does not, said once."""

from __future__ import annotations

import logging

import pytest

from tests.actions.doubles import Web
from tests.engine.live import Live, until
from tests.engine.sink import serving
from tocsin.actions.ports import Response
from tocsin.engine.heartbeat import Heartbeat
from tocsin.engine.readiness import Readiness
from tocsin.errors import ActionFailed, Unavailable

URL = "https://checks.example/ping/s3cret-uuid?k=v3ry"
READY = Readiness(ready=True, lag_s=0.0, unjudged=0, waiting=0)
LATE = Readiness(ready=False, lag_s=31.0, unjudged=9, waiting=0, reason="judgement is 31 s late")


class Patient:
    """A process whose readiness a test sets."""

    def __init__(self) -> None:
        self.now: Readiness | Exception = READY
        self.web = Web()
        self.heart = Heartbeat(self.web, URL, every_s=30, ready=self.readiness)

    async def readiness(self) -> Readiness:
        if isinstance(self.now, Exception):
            raise self.now
        return self.now


async def test_a_process_that_does_its_work_is_heard() -> None:
    patient = Patient()
    assert await patient.heart.beat()
    (request,) = patient.web.requests
    assert (request.method, request.url, request.body) == ("GET", URL, None)
    assert patient.heart.sent == 1


@pytest.mark.parametrize("state", [LATE, Unavailable("the database refused: it is away")])
async def test_a_process_that_does_not_falls_silent_and_says_so_once(
    caplog: pytest.LogCaptureFixture, state: Readiness | Exception
) -> None:
    patient = Patient()
    patient.now = state
    assert not any([await patient.heart.beat() for _ in range(3)])
    assert patient.web.requests == []
    (line,) = caplog.records
    assert line.levelno == logging.ERROR
    assert "checks.example stops: " in line.getMessage()
    patient.now = READY
    with caplog.at_level(logging.INFO):
        assert await patient.heart.beat()
    assert caplog.records[-1].getMessage() == "the heartbeat to checks.example goes on"


def refuse(_request: object) -> Response:
    raise ActionFailed("checks.example:443: can not be reached")


async def test_a_check_that_does_not_answer_is_told_once_and_without_its_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    patient = Patient()
    for answer in (refuse, lambda _request: Response(404, {}, "no such check")):
        patient.web.answer = answer
        assert not await patient.heart.beat()
    assert len(caplog.records) == 1
    assert "s3cret" not in caplog.text
    assert "v3ry" not in caplog.text
    patient.web.answer = lambda _request: Response(200, {}, "OK")
    assert await patient.heart.beat()
    assert patient.heart.sent == 1


async def test_a_server_that_is_given_an_address_is_heard_there_while_it_runs(live: Live) -> None:
    async with serving() as sink:
        live.settings |= {"heartbeat_url": f"{sink.url}/ping/s3cret?k=v3ry", "heartbeat_every": "1s"}
        app = await live.start()
        assert app.heartbeat is not None
        heart = app.heartbeat
        await until(lambda: heart.sent >= 2 and heart.sent == len(sink.requests))
        assert {(one.method, one.path_qs) for one in sink.requests} == {("GET", "/ping/s3cret?k=v3ry")}
        await live.stop()
        del live.settings["heartbeat_url"]
        assert (await live.start()).heartbeat is None
