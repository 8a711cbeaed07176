"""No secret leaves its place: a server that uses every kind of secret, and everything that it says and keeps.

Whoever a secret is sent to may send it back, so the neighbours here repeat all that they get.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.cli.invoke import invoke
from tests.cli.served import Server, serving

PLANTED = {
    "GITHUB_SECRET": "planted-github-7f31",
    "SHOP_SECRET": "planted-shop-4c2a",
    "PUSH_TOKEN": "planted-push-93bd",
    "SIGNING": f"whsec_{b64encode(b'planted-signing-key-0b5e').decode()}",
    "BEARER": "planted-bearer-d81c",
    "MAIL_PASSWORD": "planted-mail-6e02",
    "CHANNEL_HEADER": "planted-header-a94f",
    "FLOW_ENV": "planted-flow-15c8",
    "TOCSIN_TOKEN": "planted-admin-e77a",
    "TOCSIN_EMIT_TOKEN": "planted-emit-208b",
}
URLS = {"SLACK_URL": "planted-slack-path-5d19", "APPRISE_URL": "planted-apprise-path-c3f6"}
SECRETS = [*PLANTED.values(), *URLS.values(), PLANTED["SIGNING"].removeprefix("whsec_"), "planted-signing-key-0b5e"]
TALKS = "import os, sys; print('here it is', os.environ['SECRET']); sys.exit('and again ' + os.environ['SECRET'])"
ONCE = {"attempts": 2, "delay": "10ms", "max_delay": "10ms"}


class Echo(BaseHTTPRequestHandler):
    """Sends everything back that it was sent, as an error."""

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = f"{self.path} {dict(self.headers)} ".encode() + sent
        self.send_response(500, "no")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def echoing() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def definitions(echo: str) -> dict[str, Any]:
    notify = [
        {"type": "send-notification", "channel": name, "retry": ONCE} for name in ("slack", "hook", "mail", "any")
    ]
    call = {"type": "call-webhook", "url": f"http://{echo}/call", "secret": {"env": "SIGNING"}, "retry": ONCE,
            "headers": {"Authorization": {"env": "BEARER", "prefix": "Bearer "}}}  # fmt: skip
    event = {"event": "'shop.said'", "resource": {"id": "'order/1'"}}
    verifications = {
        "shop": {"type": "hmac", "header": "X-Signature", "secret": {"env": "SHOP_SECRET"}},
        "push": {"type": "token", "header": "X-Token", "secret": {"env": "PUSH_TOKEN"}},
    }
    return {
        "automations": [{"name": "tells", "trigger": {"expect": "tell.all"},
                         "actions": [call, *notify, {"type": "run-flow", "flow": "talks"}]}],
        "sources": [
            {"name": "github", "type": "webhook", "recipe": "github", "secret": {"env": "GITHUB_SECRET"}},
            *({"name": name, "type": "webhook", "verify": verify, "event": event}
              for name, verify in verifications.items()),
        ],
        "channels": [
            {"name": "slack", "type": "slack", "url": {"env": "SLACK_URL"}},
            {"name": "hook", "type": "webhook", "url": f"http://{echo}/hook",
             "headers": {"X-Api-Key": {"env": "CHANNEL_HEADER"}}, "secret": {"env": "SIGNING"}},
            {"name": "mail", "type": "email", "host": "127.0.0.1", "port": int(echo.rpartition(":")[2]),
             "username": "tocsin", "password": {"env": "MAIL_PASSWORD"}, "from": "a@example.org",
             "to": ["b@example.org"]},
            {"name": "any", "type": "apprise", "url": {"env": "APPRISE_URL"}},
        ],
        "flows": [{"name": "talks", "command": [sys.executable, "-c", TALKS], "env": {"SECRET": {"env": "FLOW_ENV"}}}],
    }  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Everything that the server has said and kept, by where it was found."""
    folder = tmp_path_factory.mktemp("served")
    with echoing() as echo:
        urls = {
            "SLACK_URL": f"http://{echo}/{URLS['SLACK_URL']}",
            "APPRISE_URL": f"json://{echo}/{URLS['APPRISE_URL']}",
        }
        environment = PLANTED | urls | {"TOCSIN_LOG_LEVEL": "debug"}
        with serving(folder, definitions=json.dumps(definitions(echo)), **environment) as server:
            receive(server)
            found = spoken(server) | answered(server)
            found["doctor"] = run(server, "doctor", str(folder / "definitions.yaml"), **environment)
    kept = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return found | kept


def receive(server: Server) -> None:
    """Send events through every door, rightly and wrongly, and wait until all that follows has ended."""
    body = b'{"action": "opened", "zen": "z"}'
    signature = hmac.new(PLANTED["SHOP_SECRET"].encode(), body, hashlib.sha256).hexdigest()
    github = hmac.new(PLANTED["GITHUB_SECRET"].encode(), body, hashlib.sha256).hexdigest()
    ping = {"X-GitHub-Event": "ping", "X-GitHub-Delivery": "1"}
    sent = [
        ("shop", {"X-Signature": signature}, 202), ("shop", {"X-Signature": PLANTED["SHOP_SECRET"]}, 401),
        ("push", {"X-Token": PLANTED["PUSH_TOKEN"]}, 202), ("push", {"X-Token": PLANTED["PUSH_TOKEN"] + "x"}, 401),
        ("github", ping | {"X-Hub-Signature-256": f"sha256={github}"}, 202),
        ("github", ping | {"X-Hub-Signature-256": PLANTED["GITHUB_SECRET"]}, 401),
    ]  # fmt: skip
    for source, headers, status in sent:
        assert httpx.post(f"{server.url}/hooks/{source}", content=body, headers=headers).status_code == status
    bearer = {"Authorization": f"Bearer {PLANTED['TOCSIN_EMIT_TOKEN']}"}
    event = {"event": "tell.all", "resource": {"id": "r"}, "id": "e1"}
    assert httpx.post(f"{server.url}/api/events", json=event, headers=bearer).status_code == 202
    assert httpx.get(f"{server.url}/api/events", headers=bearer).status_code == 403
    token = PLANTED["TOCSIN_TOKEN"]
    for what, state, count in (("actions", "dead", 5), ("runs", "failed", 1)):
        server.until(
            lambda what=what, state=state, count=count: _enough(  # type: ignore[misc]
                [json.loads(line) for line in server.run(what, "--state", state, "--json", token=token).splitlines()],
                count,
            )
        )


def _enough(items: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    return items if len(items) == count else []


def run(server: Server, *arguments: str, **environment: str) -> bytes:
    done = invoke(*arguments, env={"TOCSIN_URL": server.url, "TOCSIN_TOKEN": PLANTED["TOCSIN_TOKEN"], **environment})
    return (done.out + done.err).encode()


def spoken(server: Server) -> dict[str, bytes]:
    """Return what the commands print, for people and for programs."""
    commands = ["status", "events", "firings", "actions", "automations", "flows", "runs", "queues", "sources",
                "channels", "events show e1", "explain e1", "automations show tells", "flows show talks"]  # fmt: skip
    for what in ("actions", "runs", "firings"):
        for item in run(server, what, "--json").splitlines():
            commands.append(f"{what} show {json.loads(item)['id']}")
            commands += [f"runs logs {json.loads(item)['id']}"] if what == "runs" else []
    found = {command: run(server, *command.split()) for command in commands}
    return found | {f"{command} --json": run(server, *command.split(), "--json") for command in commands}


def answered(server: Server) -> dict[str, bytes]:
    """Return what every call without effects answers."""
    headers = {"Authorization": f"Bearer {PLANTED['TOCSIN_TOKEN']}"}
    with httpx.Client(base_url=server.url, headers=headers) as client:
        found: dict[str, bytes] = {}
        calls = client.get("/openapi.json").json()["paths"]
        for path in [path for path, methods in calls.items() if "get" in methods and "stream" not in path]:
            for address in _addresses(client, path):
                answer = client.get(address)
                found[f"GET {address}"] = str(dict(answer.headers)).encode() + answer.content
    assert len(found) > 30
    return found


def _addresses(client: httpx.Client, path: str) -> list[str]:
    """Return the addresses that a path of the description stands for."""
    if "{" not in path:
        return [path]
    listed, _, rest = path.partition("/{")
    rest = rest.partition("}")[2]
    if not listed.startswith("/api/"):
        return []
    items = client.get(listed).json()["items"]
    names = [item.get("id") or item.get("name") or item["definition"]["name"] for item in items]
    return [f"{listed}/{quote(name, safe='')}{rest}" for name in names]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_found_nowhere(told: dict[str, bytes], secret: str) -> None:
    assert [place for place, text in told.items() if secret.encode() in text] == []


def test_what_was_looked_through_is_what_there_is(told: dict[str, bytes]) -> None:
    """The search would find a secret: what surrounds them is found."""
    everywhere = b"".join(told.values())
    for trace in (b"here it is ***", b"and again ***", b"/call", b"shop.said", b"github.ping", b"{env: SLACK_URL}"):
        assert trace in everywhere, trace
    assert any(place.endswith("tocsin.db") for place in told)
    assert any(place.endswith(".log") and "runs" in place for place in told)
    assert b"tocsin" in next(text for place, text in told.items() if place.endswith("server.log"))
