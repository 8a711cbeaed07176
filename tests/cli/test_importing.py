"""`tocsin import prefect`: from a file, from standard input, and from an API that answers as a server did."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.cli.conftest import Tocsin
from tests.review.exported import FOLDER, kept, known
from tocsin.cli.importing import PAGE, PrefectApi
from tocsin.errors import TocsinError, Unauthorized, Unavailable
from tocsin.review.prefect import references
from tocsin.schemas.document import load

ALONE = {"name": "alone", "trigger": {"expect": ["x"]}, "actions": [{"type": "do-nothing"}]}


class Prefect:
    """Answers from what was kept of a server; remembers what it was asked, and with which authorization."""

    def __init__(self, automations: list[Any] | None = None) -> None:
        self.automations = kept("automations") if automations is None else automations
        self.asked: list[str] = []
        self.authorization: str | None = None
        self.single = {f"/api/{'/'.join(name)}": one for name, one in known().items()}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        self.authorization = request.headers.get("authorization")
        lists = {
            "/api/automations/filter": self.automations,
            "/api/work_pools/filter": kept("work_pools"),
            "/api/work_pools/k8s/queues/filter": kept("work_queues"),
        }
        if request.url.path in lists:
            asked = json.loads(request.content)
            return httpx.Response(200, json=lists[request.url.path][asked["offset"] :][: asked["limit"]])
        found = self.single.get(request.url.path)
        return httpx.Response(200 if found else 404, json=found or {"detail": "Not Found"})


@contextmanager
def served(answer: Callable[[httpx.Request], httpx.Response]) -> Iterator[str]:
    """Answer over HTTP; return the address of the API."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            url = f"http://127.0.0.1{self.path}"
            response = answer(httpx.Request(self.command, url, headers=dict(self.headers), content=body))
            self.send_response(response.status_code)
            self.send_header("Content-Length", str(len(response.content)))
            self.end_headers()
            self.wfile.write(response.content)

        do_GET = do_POST  # noqa: N815 - the name is the library's

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api"
        finally:
            server.shutdown()
            thread.join()


def api(
    answer: Callable[[httpx.Request], httpx.Response], url: str = "http://prefect:4200/api", **more: Any
) -> PrefectApi:
    return PrefectApi(url, transport=httpx.MockTransport(answer), **more)


def test_a_file_becomes_definitions_that_pass_check(tocsin: Tocsin) -> None:
    done = tocsin("import", "prefect", FOLDER / "inspect.yaml", "--out", "a.yaml")
    assert (done.status, done.out) == (0, "")
    assert done.err == "1 automation imported into a.yaml\nto be set in the environment: BLOCK_15DCF8E7_URL\n"
    assert tocsin("check", "a.yaml").status == 0


def test_what_has_no_equivalent_is_listed_and_the_rest_passes_check(tocsin: Tocsin) -> None:
    done = tocsin("import", "prefect", FOLDER / "automations.json", "--out", "a.yaml")
    assert done.status == 1
    first, *rest = done.err.splitlines()[2:]
    assert first == f"tocsin: {len(rest)} things have no equivalent; comments stand in their places:"
    assert "every third: trigger: counts 3 events however far apart" in rest[0]
    assert tocsin("check", "a.yaml").status == 0


def test_without_a_file_to_write_it_is_printed(tocsin: Tocsin, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(ALONE))
    done = tocsin("import", "prefect", "x.json")
    assert done.out.endswith("automations:\n  - name: alone\n    trigger: {expect: x}\n")
    assert done.err == "1 automation imported\n"


def test_a_file_that_is_there_is_not_overwritten(tocsin: Tocsin, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("queues: []\n")
    done = tocsin("import", "prefect", FOLDER / "inspect.yaml", "--out", "mine.yaml")
    assert (done.status, done.err) == (1, "tocsin: mine.yaml: File exists\n")
    assert (tmp_path / "mine.yaml").read_text() == "queues: []\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nope.json"], "nope.json: No such file or directory"),
        (["bytes.json"], "bytes.json is not UTF-8: save it as UTF-8"),
        (["list.json"], "list.json:1:1: this is no export of automations"),
        (
            ["http://127.0.0.1:9/api"],
            "nothing answers at http://127.0.0.1:9/api (ConnectError): start Prefect's server",
        ),
        (["http://127.0.0.1:9", "--api-key", "NOPE"], "the environment variable NOPE is not set"),
        (["http://me:secret@127.0.0.1:9"], "give user:password by --api-key ENV"),
        (["http://[::1"], "is not an address"),
    ],
)
def test_what_can_not_be_read_is_explained(tocsin: Tocsin, tmp_path: Path, arguments: list[str], says: str) -> None:
    (tmp_path / "bytes.json").write_bytes(b"\xff")
    (tmp_path / "list.json").write_text("[1]")
    done = tocsin("import", "prefect", *arguments)
    assert (done.status, done.out) == (1, "")
    assert says in done.err
    assert "secret" not in done.err


REMARKS = """\
# Write the address from Prefect's block 'incident': it is not told, and this one leads nowhere.
# NOT IMPORTED: every third
# trigger: counts 3 events however far apart (within: 0), which would never forget: choose a `within`
# NOT IMPORTED: pause-work-pool: what it acts on is inferred from the event: name it
# Called "three failures / an hour" in Prefect.
# No equivalent, written as text: `flow|ui_url`
# An Apprise URL: pagerduty://INTEGRATION_KEY@API_KEY
# Starts the deployment on the Prefect server, through Prefect's command line and PREFECT_API_URL.
# Prefect sets no limit, or did not tell it: choose one.
"""
"""In the order in which they stand: of an automation, an action, a channel, a flow and a queue."""


def test_a_server_s_automations_become_a_file_with_what_they_name_and_remarks(tocsin: Tocsin, tmp_path: Path) -> None:
    server = Prefect()
    with served(server) as url:
        done = tocsin("import", "prefect", url, "--out", "a.yaml", "--api-key", "KEY", env={"KEY": "pnu_token"})
    said = done.err.splitlines()
    assert (done.status, done.out, server.authorization) == (1, "", "Bearer pnu_token")
    assert said[0] == "22 automations imported into a.yaml"
    assert said[2] == f"tocsin: {len(said[3:])} things have no equivalent; comments stand in their places:"
    assert tocsin("check", "a.yaml").status == 0

    text = (tmp_path / "a.yaml").read_text()
    document = load({"a.yaml": text})
    assert len(document.automations) == 22
    assert sorted(channel.name for channel in document.channels) == [
        "custom",
        "mattermost",
        "oncall",
        "pager",
        "team-sales",
    ]
    assert {queue.name: queue.concurrency for queue in document.queues} == {"k8s.default": 10, "k8s.nightly": 3}
    assert {flow.name: flow.queue for flow in document.flows} == {"backfill-sales": "k8s.nightly"}
    lines = [line.strip() for line in text.splitlines()]
    places = [lines.index(remark) for remark in REMARKS.splitlines()]
    assert places == sorted(places)
    assert lines[places[-1] + 1] == "- name: k8s.default"  # a remark stands before what it is about


def test_the_api_is_read_page_by_page() -> None:
    many = [{**ALONE, "name": f"a{number}"} for number in range(2 * PAGE + 1)]
    server = Prefect(many)
    with api(server) as prefect:
        assert prefect.automations() == many
    assert server.asked == ["/api/automations/filter"] * 3


def test_everything_that_actions_name_is_looked_up_once() -> None:
    server = Prefect()
    with api(server, "http://prefect:4200/") as prefect:
        found = prefect.known([*references(prefect.automations()), ("deployments", "gone")])
    assert found == known()
    assert len(server.asked) == len(set(server.asked))


@pytest.mark.parametrize(
    ("key", "sent"),
    [(None, None), ("pnu_token", "Bearer pnu_token"), ("admin:pass", "Basic YWRtaW46cGFzcw==")],
)
def test_a_key_is_sent_as_a_token_and_a_user_with_a_password_as_such(key: str | None, sent: str | None) -> None:
    server = Prefect()
    with api(server, key=key) as prefect:
        prefect.automations()
    assert server.authorization == sent


@pytest.mark.parametrize(
    ("response", "error", "says"),
    [
        (httpx.Response(401), Unauthorized, "asks for a key"),
        (httpx.Response(404), Unavailable, "there is no API of Prefect at http://prefect:4200/api"),
        (httpx.Response(200, text="<html>"), Unavailable, "there is no API of Prefect"),
        (httpx.Response(302, headers={"location": "http://elsewhere"}), Unavailable, "answered 302"),
        (httpx.Response(500, text="secret"), Unavailable, "answered 500 to /automations/filter"),
    ],
)
def test_an_api_that_does_not_answer_as_prefects_is_explained(
    response: httpx.Response, error: type[TocsinError], says: str
) -> None:
    with api(lambda request: response) as prefect, pytest.raises(error, match=says):
        prefect.automations()
