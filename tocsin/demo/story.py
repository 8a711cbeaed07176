"""The story: what is sent, what is judged and why, what is done. Every `saw` is a condition that has to hold."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import httpx
from rich.console import Console
from rich.text import Text
from standardwebhooks.webhooks import Webhook

from tocsin.demo.neighbours import Call, Neighbours, NotSeen, Server, awaited
from tocsin.schemas.moments import to_micros

T = TypeVar("T")
_DELIVERY = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
_LOOKS_PER_BEAT = 25
_INDENT = 11
_COLOURS = {"fired": "yellow", "missed": "bold red", "resolved": "bold green"}


class Story:
    """Tells the story to a console while it happens to a server; `seen` counts what had to be seen and was."""

    def __init__(self, server: Server, neighbours: Neighbours, *, folder: Path, secrets: dict[str, str],
                 screen: Console) -> None:  # fmt: skip
        self.seen = 0
        self._neighbours = neighbours
        self._folder = folder
        self._secrets = secrets
        self._screen = screen
        self._http = httpx.Client(base_url=server.url, timeout=5, trust_env=False)

    def tell(self) -> None:
        """Tell all of it.

        Raises:
            NotSeen: something that had to happen did not.
        """
        with self._http:
            self._a_build_breaks()
            self._payments_fail()
            self._a_shop_falls_silent()

    def _a_build_breaks(self) -> None:
        self._chapter("A build breaks", "GitHub's webhook becomes a call to the incident service, and a paused queue")
        body = (Path(__file__).parent / "workflow_run.json").read_bytes()
        forged = self._deliver(body, signature="sha256=" + "0" * 64)
        self._sent("workflow_run completed: failure, with a forged signature", forged.status_code)
        self._check("the forged webhook is refused", forged.status_code == 401)
        signature = hmac.new(self._secrets["GITHUB_SECRET"].encode(), body, hashlib.sha256).hexdigest()
        genuine = self._deliver(body, signature=f"sha256={signature}")
        self._sent("the same with GitHub's signature in X-Hub-Signature-256", genuine.status_code)
        self._check("the genuine webhook is accepted", genuine.status_code == 202)
        self._judged("build-is-broken", "fired")
        call = self._await("the incident service is called", lambda: self._neighbours.call("/incidents"))
        Webhook(self._secrets["INCIDENT_SECRET"]).verify(call.raw, dict(call.headers))
        self._check("the call carries an idempotency key", bool(call.headers.get("idempotency-key")))
        self._done("call-webhook", f'the incident service got "{call.body["title"]}", signed, signature verified')
        self._await("the queue is paused", lambda: self._queue("deployments")["paused"])
        self._done("pause-queue", f"deployments is paused by {self._queue('deployments').get('paused_by')}")
        again = self._deliver(body, signature=f"sha256={signature}")
        self._sent("the same delivery once more, as senders do", again.status_code)
        duplicates = self._get("/api/events/count", event="github.*")["count"]
        self._check("a repeated delivery counts once", again.status_code == 202 and duplicates == 1)
        self._done("nothing", "it is known: accepted, and judged only once")

    def _payments_fail(self) -> None:
        self._chapter("Payments fail", "three of one shop within a minute start a flow; two shops are two counts")
        ids = {}
        for number, shop in enumerate(["berlin", "oslo", "berlin", "berlin"], 1):
            resource = {"id": f"payment/{number}", "shop": shop}
            ids[number] = self._emit("payment.failed", resource)
        self._sent("payment.failed four times: three of berlin, one of oslo", 202)
        self._judged("payments-fail", "fired")
        explained = self._get(f"/api/events/{ids[2]}/explain")
        why_not = next(one for one in explained["items"] if one["automation"] == "payments-fail")
        self._line("explain", f"the one of oslo: {why_not['summary']}", "magenta")
        fired = [one["labels"]["shop"] for one in self._firings("payments-fail")]
        self._check("berlin fires once, and oslo does not", fired == ["berlin"])
        self._await("the run is completed", lambda: self._get("/api/runs", state="completed")["items"])
        evidence = json.loads((self._folder / "evidence.json").read_text())
        expected = {"shop": "berlin", "payments": ["payment/1", "payment/3", "payment/4"]}
        self._check("the flow left its output", evidence == expected)
        self._done("run-flow", f"collect-evidence wrote evidence.json: {json.dumps(evidence)}")

    def _a_shop_falls_silent(self) -> None:
        self._chapter("A shop falls silent", "an event that does not come is judged, too; each shop has 3 s")
        self._heartbeats("berlin", "oslo")
        self._sent("shop.heartbeat of berlin and oslo; from now on only berlin goes on", 202)
        alert = self._await("the missed heartbeat is alerted", self._while_berlin_beats("is silent"))
        due_us = to_micros(datetime.fromisoformat(self._judged("shop-is-silent", "missed")["due"]))
        self._check("the alert names the shop", "oslo" in alert.body["title"])
        after = f"{(alert.received_us - due_us) / 1000:.0f} ms after the deadline"
        self._done("send-notification", f'on call got "{alert.body["title"]}", {after}')
        self._check("it is an open miss", len(self._get("/api/firings", state="open")["items"]) == 1)
        self._heartbeats("berlin", "oslo")
        self._sent("shop.heartbeat of oslo: it is back", 202)
        relief = self._await("the resolve is told", lambda: self._neighbours.call("/oncall", "is back"))
        self._judged("shop-is-silent", "resolved")
        self._done("send-notification", f'on call got "{relief.body["title"]}"')
        self._check("nothing is open any more", not self._get("/api/firings", state="open")["items"])
        self._check("on call was told twice", self._neighbours.count("/oncall") == 2)
        silent = [one for one in self._firings("shop-is-silent") if one["labels"]["shop"] != "shop/oslo"]
        self._check("nobody was called about berlin", not silent)

    def _while_berlin_beats(self, wanted: str) -> Callable[[], Call | None]:
        looks = count()

        def look() -> Call | None:
            if next(looks) % _LOOKS_PER_BEAT == 0:
                self._heartbeats("berlin")
            return self._neighbours.call("/oncall", wanted)

        return look

    # What is sent

    def _heartbeats(self, *shops: str) -> None:
        for shop in shops:
            self._emit("shop.heartbeat", {"id": f"shop/{shop}"})

    def _emit(self, event: str, resource: dict[str, str]) -> str:
        response = self._http.post("/api/events", json={"event": event, "resource": resource})
        self._check(f"{event} is accepted", response.status_code == 202)
        return str(response.json()["ids"][0])

    def _deliver(self, body: bytes, *, signature: str) -> httpx.Response:
        headers = {
            "Content-Type": "application/json", "X-GitHub-Event": "workflow_run", "X-GitHub-Delivery": _DELIVERY,
            "X-Hub-Signature-256": signature, "User-Agent": "GitHub-Hookshot/demo",
        }  # fmt: skip
        return self._http.post("/hooks/github", content=body, headers=headers)

    # What can be seen

    def _get(self, path: str, **parameters: str) -> Any:
        response = self._http.get(path, params=parameters)
        response.raise_for_status()
        return response.json()

    def _firings(self, automation: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self._get("/api/firings", automation=automation)["items"]
        return items

    def _queue(self, name: str) -> dict[str, Any]:
        return next(one for one in self._get("/api/queues")["items"] if one["name"] == name)

    def _await(self, what: str, look: Callable[[], T | None]) -> T:
        seen = awaited(what, look)
        self.seen += 1
        return seen

    def _check(self, what: str, holds: object) -> None:
        if not holds:
            raise NotSeen(what)
        self.seen += 1

    # What is told

    def _chapter(self, title: str, about: str) -> None:
        self._screen.print()
        self._screen.print(Text.assemble((title, "bold"), (f" - {about}", "dim")))

    def _sent(self, what: str, status: int) -> None:
        self._line("sent", f"{what} ({status})", "cyan")

    def _judged(self, automation: str, verdict: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            return next((one for one in self._firings(automation) if one["verdict"] == verdict), None)

        firing = self._await(f"{automation} is {verdict}", look)
        self._line("judged", f"{automation} {verdict}: {firing['reason']}", _COLOURS[verdict])
        return firing

    def _done(self, action: str, what: str) -> None:
        self._line("done", f"{action}: {what}", "green")

    def _line(self, word: str, what: str, style: str) -> None:
        lines = Text(what).wrap(self._screen, self._screen.width - _INDENT)
        for number, text in enumerate(lines):
            margin = f"  {word:<{_INDENT - 2}}" if number == 0 else " " * _INDENT
            self._screen.print(Text.assemble((margin, style), text), no_wrap=True)
