"""Webhook sources: verify, then turn what was sent into events, by a recipe or by a mapping of one's own.

A recipe knows one sender. It is one file, and one line in `RECIPES`.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as ReadOnly
from typing import Any

from pydantic_core import to_json

from tocsin.errors import InvalidEvent, NotJSON, Problem
from tocsin.schemas.event import Event
from tocsin.schemas.secret import SecretReference
from tocsin.schemas.source import BasicVerification, NoVerification, Verification, WebhookSource
from tocsin.sources import github
from tocsin.sources.mapping import Mapping
from tocsin.sources.native import NativeParser
from tocsin.sources.recipe import Recipe
from tocsin.sources.request import Request
from tocsin.sources.signature import message_id, verify

RECIPES: ReadOnly[str, Recipe] = {"github": github.RECIPE}
"""The senders that are known, by the name that stands in a definition."""


class WebhookReceiver:
    """One webhook source at work. `secret` says where its secret is found; it is looked up for each request."""

    def __init__(self, spec: WebhookSource, parser: NativeParser) -> None:
        """Compile what the definition says."""
        self.name = spec.name
        self._parser = parser
        self._verification: Verification
        self._events: Callable[[Request], list[dict[str, Any]]]
        if spec.event is not None and spec.verify is not None:
            self._verification = spec.verify
            self._events = Mapping(spec.event).events
        else:
            assert spec.recipe is not None, "the spec asks for a recipe, or for both of the others"
            assert spec.secret is not None, "the spec asks for the secret of a recipe"
            recipe = RECIPES[spec.recipe]
            self._verification = recipe.verification(spec.secret)
            self._events = recipe.events

    @property
    def secret(self) -> SecretReference | None:
        """Where the secret is found, None when nothing is verified."""
        match self._verification:
            case NoVerification():
                return None
            case BasicVerification(password=password):
                return password
            case signed_or_token:
                return signed_or_token.secret

    def receive(self, request: Request, secret: str) -> list[Event]:
        """Return the events of a request.

        Raises:
            Unauthorized: the sender does not know the secret.
            Unavailable: the secret is not one that can verify.
            NotJSON, TooLarge: the body can not be read.
            InvalidEvent: what came of it is not an event.
        """
        verify(request, self._verification, secret)
        events = [{**event, "source": self.name} for event in self._events(request)]
        if (identity := message_id(request, self._verification)) is not None:
            _identify(events, identity)
        try:
            return self._parser.parse(to_json(events, inf_nan_mode="constants"))
        except NotJSON as error:
            raise InvalidEvent([Problem(f"what came of the request can not be kept: {error}")]) from None


def _identify(events: list[dict[str, Any]], identity: str) -> None:
    """Give events the identity of their request, so that a request that is sent again is a duplicate (law E2)."""
    for index, event in enumerate(events):
        event.setdefault("id", identity if len(events) == 1 else f"{identity}/{index}")
