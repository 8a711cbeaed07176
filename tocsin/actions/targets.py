"""What an action's effect meets: what can hang or refuse by itself has a lane of its own in the dispatcher."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from tocsin.actions.call import Call
from tocsin.schemas.action import AnyAction, CallWebhook, SendNotification

_TEMPLATE = re.compile(r"\{[{%#]")
_HOST = re.compile(r"https?://[^/?#]", re.IGNORECASE)
_HOST_AND_MORE = re.compile(r"https?://[^/?#]+[/?#]", re.IGNORECASE)

OWN = "own"
"""The target of effects inside our own database."""


def target(spec: AnyAction, call: Call) -> str:
    """Return `host/NAME:PORT`, `channel/NAME` or `own`."""
    match spec:
        case CallWebhook():
            parts = urlsplit(call.text(spec.url))
            return f"host/{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        case SendNotification():
            return f"channel/{spec.channel}"
        case _:
            return OWN


def host_is_written(url: str) -> bool:
    """Return whether scheme, host and port of a URL template are written out, so that no event data can change them."""
    written = _TEMPLATE.split(url, maxsplit=1)[0]
    return (_HOST if written == url else _HOST_AND_MORE).match(written) is not None
