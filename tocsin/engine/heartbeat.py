"""A heartbeat to an outside check: it is sent while this process does its work, and stops when it does not.

Whoever watches must be watched from outside: a check that expects the heartbeat (a dead man's switch) raises the alarm
when the process is gone, cut off, or late. So nothing is ever sent about being unwell: silence says it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from tocsin.actions.ports import AddressRefused, Http, Request
from tocsin.engine.readiness import Readiness
from tocsin.engine.repeating import Repeating
from tocsin.errors import ActionFailed, TocsinError

log = logging.getLogger(__name__)

ANSWER_S = 10.0
"""How long the check may take to answer, in seconds."""


class Heartbeat:
    """Calls an address every `every_s` seconds while `ready` says so; `sent` counts the calls that were answered."""

    def __init__(self, http: Http, url: str, *, every_s: float, ready: Callable[[], Awaitable[Readiness]]) -> None:
        """Prepare; path and query of the address are secret, its host is not."""
        self._http = http
        self._url = url
        self._host = urlsplit(url).hostname
        self._ready = ready
        self._beating = Repeating(self.beat, every_s=every_s, first_s=0, trouble="the heartbeat failed")
        self._unwell = self._unheard = ""
        self.sent = 0

    def start(self) -> None:
        """Begin."""
        self._beating.start()

    async def close(self) -> None:
        """Stop; the check will notice, unless the process is back before."""
        await self._beating.close()

    async def beat(self) -> bool:
        """Send one heartbeat, if the process does its work; return whether it was sent, and taken."""
        try:
            readiness = await self._ready()
            unwell = "" if readiness.ready else readiness.reason
        except TocsinError as error:
            unwell = str(error)
        if unwell:
            if not self._unwell:
                log.error("the heartbeat to %s stops: %s", self._host, unwell)
            self._unwell = unwell
            return False
        if self._unwell:
            log.info("the heartbeat to %s goes on", self._host)
            self._unwell = ""
        return await self._send()

    async def _send(self) -> bool:
        request = Request(method="GET", url=self._url, headers={}, body=None, trusted=True)
        try:
            async with asyncio.timeout(ANSWER_S):
                status = (await self._http.request(request)).status
            unheard = "" if status < 400 else f"it answers {status}"
        except TimeoutError:
            unheard = f"no answer within {ANSWER_S:g} s"
        except (ActionFailed, AddressRefused) as error:
            unheard = str(error)
        if unheard and not self._unheard:
            log.warning("the heartbeat does not reach %s: %s", self._host, unheard)
        if self._unheard and not unheard:
            log.info("the heartbeat reaches %s again", self._host)
        self._unheard = unheard
        self.sent += not unheard
        return not unheard
