"""Notifications: one function for each type of channel, reached through a table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from types import MappingProxyType
from typing import Any, TypeAlias

from tocsin.actions.call import Call, as_json
from tocsin.actions.ports import Details, Ports, Request
from tocsin.actions.webhook import send
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


@dataclass(frozen=True, slots=True)
class Notification:
    """What people are told: one line, and the text below it."""

    title: str
    body: str


Sender: TypeAlias = Callable[[Any, Notification, Call, Ports], Awaitable[Details]]


async def send_notification(spec: SendNotification, call: Call, ports: Ports) -> Details:
    """Tell people through the channel."""
    channel = ports.channels.channel(spec.channel)
    if channel is None:
        raise NotFound(f"there is no channel {spec.channel!r} any more")
    notification = Notification(title=" ".join(call.text(spec.title).split()), body=call.text(spec.body))
    details = await SENDERS[type(channel)](channel, notification, call, ports)
    return {"channel": channel.name, "type": channel.type, **details}


async def to_log(channel: LogChannel, notification: Notification, call: Call, ports: Ports) -> Details:
    """Write the notification to the server's log, as one line; the level follows the automation's severity."""
    message = " - ".join(filter(None, [notification.title, " ".join(notification.body.splitlines())]))
    level = _LEVELS.get(call.facts()["automation"]["severity"], "info")
    ports.log.write(level, message, {"channel": channel.name, "firing": call.firing.id})
    return {}


async def to_slack(channel: SlackChannel, notification: Notification, call: Call, ports: Ports) -> Details:
    """Post Slack's `text` message; what its markup would read as mentions and links is escaped."""
    title, body = (_slack(text) for text in (notification.title, notification.body))
    return await _post(channel.url, {"text": f"*{title}*\n{body}" if body else f"*{title}*"}, call, ports)


def _slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


async def to_teams(channel: TeamsChannel, notification: Notification, call: Call, ports: Ports) -> Details:
    """Post an Adaptive Card, as a Teams workflow takes it."""
    blocks = [
        {"type": "TextBlock", "text": notification.title, "weight": "bolder", "wrap": True},
        {"type": "TextBlock", "text": notification.body, "wrap": True},
    ]
    card = {"type": "AdaptiveCard", "version": "1.4", "body": blocks,
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json"}  # fmt: skip
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return await _post(channel.url, {"type": "message", "attachments": [attachment]}, call, ports)


async def to_webhook(channel: WebhookChannel, notification: Notification, call: Call, ports: Ports) -> Details:
    """Post title, body and the firing as JSON."""
    message = {"title": notification.title, "body": notification.body, "firing": call.body()}
    headers = dict(_JSON) | {name: call.reveal(value) for name, value in channel.headers.items()}
    url = channel.url if isinstance(channel.url, str) else call.reveal(channel.url)
    request = Request("POST", url, headers, as_json(message).encode(), trusted=True)
    return await send(request, call, ports, secret=channel.secret)


async def to_email(channel: EmailChannel, notification: Notification, call: Call, ports: Ports) -> Details:
    """Send mail; its Message-ID is made of the idempotency key, so that mailboxes can drop a repeated one."""
    message = EmailMessage()
    try:
        message["From"], message["To"] = channel.sender, ", ".join(channel.to)
        message["Subject"] = notification.title[:_SUBJECT_CHARS]
        message["Date"] = format_datetime(from_micros(call.now_us))
        message["Message-ID"] = f"<{call.key}@tocsin>"
    except ValueError as error:
        raise ActionFailed(f"the mail can not be written: {error}", permanent=True) from None
    message.set_content(notification.body.encode(errors="replace").decode())
    password = None if channel.password is None else call.reveal(channel.password)
    refused = await ports.mail.send(message, channel, password)
    return {"recipients": len(channel.to), "refused": refused}


async def to_apprise(channel: AppriseChannel, notification: Notification, call: Call, ports: Ports) -> Details:
    """Hand the notification to Apprise."""
    await ports.services.notify(call.reveal(channel.url), title=notification.title, body=notification.body)
    return {}


async def _post(url: SecretReference, message: Mapping[str, Any], call: Call, ports: Ports) -> Details:
    request = Request("POST", call.reveal(url), _JSON, as_json(message).encode(), trusted=True)
    return await send(request, call, ports)


SENDERS: Mapping[type, Sender] = MappingProxyType({
    LogChannel: to_log,
    SlackChannel: to_slack,
    TeamsChannel: to_teams,
    WebhookChannel: to_webhook,
    EmailChannel: to_email,
    AppriseChannel: to_apprise,
})  # fmt: skip
"""What sends to each type of channel."""
