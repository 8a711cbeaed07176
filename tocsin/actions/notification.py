"""Notifications: one function for each type of channel, reached through a table."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from types import MappingProxyType
from typing import Any, TypeAlias

from tocsin.actions.call import Call, as_json
from tocsin.actions.ports import Details, Request
from tocsin.actions.webhook import send
from tocsin.actions.wording import usual_body, usual_title
from tocsin.errors import ActionFailed, NotFound
from tocsin.schemas.action import SendNotification
from tocsin.schemas.channel import (
    AppriseChannel,
    EmailChannel,
    LogChannel,
    SlackChannel,
    TeamsChannel,
    WebhookChannel,
)
from tocsin.schemas.moments import from_micros
from tocsin.schemas.secret import SecretReference

_JSON: Mapping[str, str] = MappingProxyType({"Content-Type": "application/json"})
_LEVELS: Mapping[str | None, str] = MappingProxyType({"critical": "error", "high": "error", "medium": "warning"})
_SUBJECT_CHARS = 200
_LINES = 100  # of notifications that are sent as one


@dataclass(frozen=True, slots=True)
class Notification:
    """What people are told: one line, the text below it, and what it is about.

    That is one incident, or none of its own when it is about `count` firings, of which `firings` are the first.
    """

    title: str
    body: str
    firings: tuple[Mapping[str, Any], ...] = ()
    incident: str = ""
    count: int = 1


Sender: TypeAlias = Callable[[Any, Notification, Call], Awaitable[Details]]


async def send_notification(spec: SendNotification, call: Call) -> Details:
    """Tell people through the channel."""
    return await _send(spec.channel, _filled(spec, call), call)


async def send_together(told: Sequence[tuple[SendNotification, Call]], leader: Call) -> Details:
    """Send several notifications of one channel as one (law S2), under the idempotency key of their leader."""
    if len(told) == 1:
        spec, call = told[0]
        filled = _filled(spec, call)
        return await _send(spec.channel, filled, leader)
    shown = [_filled(spec, call) for spec, call in told[:_LINES]]
    more = [f"- and {len(told) - _LINES} more"] if len(told) > _LINES else []
    together = Notification(
        title=f"{len(told)} notifications at once, the first: {shown[0].title}",
        body="\n".join([told[0][1].firing.reason, "", *(f"- {one.title}" for one in shown), *more]),
        firings=tuple(firing for one in shown for firing in one.firings),
        count=len(told),
    )
    details = await _send(told[0][0].channel, together, leader)
    return {**details, "together": len(told)}


def _filled(spec: SendNotification, call: Call) -> Notification:
    title = " ".join(call.text(spec.title or "").split()) or usual_title(call.firing)
    body = usual_body(call) if spec.body is None else call.text(spec.body)
    return Notification(title=title, body=body, firings=(call.body(),), incident=call.firing.incident)


async def _send(name: str, notification: Notification, call: Call) -> Details:
    channel = call.ports.channels.channel(name)
    if channel is None:
        raise NotFound(f"there is no channel {name!r} any more")
    details = await SENDERS[type(channel)](channel, notification, call)
    return {"channel": channel.name, "type": channel.type, **details}


async def to_log(channel: LogChannel, notification: Notification, call: Call) -> Details:
    """Write the notification to the server's log, as one line; the level follows the automation's severity."""
    message = " - ".join(filter(None, [notification.title, " ".join(notification.body.splitlines())]))
    level = _LEVELS.get(call.variables["automation"]["severity"], "info")
    call.ports.log.write(level, message, {"channel": channel.name, "firing": call.firing.id})
    return {}


async def to_slack(channel: SlackChannel, notification: Notification, call: Call) -> Details:
    """Post Slack's `text` message; what its markup would read as mentions and links is escaped."""
    title, body = (_slack(text) for text in (notification.title, notification.body))
    return await _post(channel.url, {"text": f"*{title}*\n{body}" if body else f"*{title}*"}, call)


def _slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


async def to_teams(channel: TeamsChannel, notification: Notification, call: Call) -> Details:
    """Post an Adaptive Card, as a Teams workflow takes it."""
    blocks = [
        {"type": "TextBlock", "text": notification.title, "weight": "bolder", "wrap": True},
        {"type": "TextBlock", "text": notification.body, "wrap": True},
    ]
    card = {"type": "AdaptiveCard", "version": "1.4", "body": blocks,
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json"}  # fmt: skip
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return await _post(channel.url, {"type": "message", "attachments": [attachment]}, call)


async def to_webhook(channel: WebhookChannel, notification: Notification, call: Call) -> Details:
    """Post title, body and the firings (100 at most, and how many there are) as JSON."""
    message = {"title": notification.title, "body": notification.body, "count": notification.count,
               "firings": notification.firings}  # fmt: skip
    headers = dict(_JSON) | {name: call.reveal(value) for name, value in channel.headers.items()}
    url = channel.url if isinstance(channel.url, str) else call.reveal(channel.url)
    request = Request("POST", url, headers, as_json(message).encode(), trusted=True)
    return await send(request, call, secret=channel.secret)


async def to_email(channel: EmailChannel, notification: Notification, call: Call) -> Details:
    """Send mail; its Message-ID is made of the idempotency key, so that mailboxes can drop a repeated one.

    Alert, repeats and resolve of one incident are one thread (RFC 5322, section 3.6.4).
    """
    message = EmailMessage()
    try:
        message["From"], message["To"] = channel.sender, ", ".join(channel.to)
        message["Subject"] = notification.title[:_SUBJECT_CHARS]
        message["Date"] = format_datetime(from_micros(call.now_us))
        message["Message-ID"] = f"<{call.key}@tocsin>"
        if notification.incident:  # what belongs together hangs below one root, which was never sent itself
            root = f"<{uuid.uuid5(uuid.UUID(notification.incident), channel.name)}@tocsin>"
            message["References"] = message["In-Reply-To"] = root
    except ValueError as error:
        raise ActionFailed(f"the mail can not be written: {error}", permanent=True) from None
    message.set_content(notification.body.encode(errors="replace").decode())
    password = None if channel.password is None else call.reveal(channel.password)
    refused = await call.ports.mail.send(message, channel, password)
    return {"recipients": len(channel.to), "refused": refused}


async def to_apprise(channel: AppriseChannel, notification: Notification, call: Call) -> Details:
    """Hand the notification to Apprise."""
    await call.ports.services.notify(call.reveal(channel.url), title=notification.title, body=notification.body)
    return {}


async def _post(url: SecretReference, message: Mapping[str, Any], call: Call) -> Details:
    request = Request("POST", call.reveal(url), _JSON, as_json(message).encode(), trusted=True)
    return await send(request, call)


SENDERS: Mapping[type, Sender] = MappingProxyType({
    LogChannel: to_log,
    SlackChannel: to_slack,
    TeamsChannel: to_teams,
    WebhookChannel: to_webhook,
    EmailChannel: to_email,
    AppriseChannel: to_apprise,
})  # fmt: skip
"""What sends to each type of channel."""
