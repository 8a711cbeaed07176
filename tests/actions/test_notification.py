"""send-notification: one function for each type of channel."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from tests.actions.doubles import AUTOMATION, SECRETS, World, firing
from tocsin.actions.notification import SENDERS
from tocsin.actions.ports import Response
from tocsin.errors import ActionFailed, NotFound
from tocsin.schemas.channel import AnyChannel, Channel
from tocsin.schemas.firing import Verdict

TOLD = {"type": "send-notification", "channel": "oncall", "title": "{{ labels.id }}\nis late", "body": "since <noon>"}
URL = {"env": "CHAT_URL"}


def world(**spec: Any) -> World:
    made = World()
    channel: AnyChannel = TypeAdapter(Channel).validate_python({"name": "oncall"} | spec)
    made.declared.specs["oncall"] = channel
    return made


def test_every_type_of_channel_has_a_sender() -> None:
    assert set(SENDERS) == set(get_args(AnyChannel))


async def test_a_log_channel_writes_one_line_as_urgent_as_the_automation_is() -> None:
    there = world(type="log")
    details = await there.act(TOLD | {"body": "a\nb"})
    ((level, message, fields),) = there.diary.lines
    assert (level, message, fields["channel"]) == ("error", "table/sales is late - a b", "oncall")
    assert details == {"channel": "oncall", "type": "log"}


@pytest.mark.parametrize(("severity", "level"), [("critical", "error"), ("medium", "warning"), ("low", "info")])
async def test_the_level_follows_the_severity(severity: str, level: str) -> None:
    there = world(type="log")
    await there.act(TOLD, there.call(automation=lambda: dict(AUTOMATION) | {"severity": severity}))
    assert there.diary.lines[0][0] == level


async def test_slack_gets_text_in_which_nothing_is_a_mention() -> None:
    there = world(type="slack", url=URL)
    details = await there.act(TOLD)
    (request,) = there.web.requests
    assert request.url == SECRETS["CHAT_URL"]
    assert request.trusted
    assert json.loads(request.body or b"") == {"text": "*table/sales is late*\nsince &lt;noon&gt;"}
    assert details["status"] == 200
    assert "s3cret" not in json.dumps(details)


async def test_teams_gets_an_adaptive_card() -> None:
    there = world(type="teams", url=URL)
    await there.act(TOLD)
    (request,) = there.web.requests
    card = json.loads(request.body or b"")["attachments"][0]["content"]
    assert [block["text"] for block in card["body"]] == ["table/sales is late", "since <noon>"]


async def test_a_webhook_channel_gets_the_firings_too_and_a_signature() -> None:
    token = {"env": "TOKEN", "prefix": "Bearer "}
    there = world(type="webhook", url="https://a.example/", headers={"X-Token": token}, secret={"env": "SIGNING"})
    await there.act(TOLD)
    (request,) = there.web.requests
    body = json.loads(request.body or b"")
    assert (body["title"], [one["id"] for one in body["firings"]]) == ("table/sales is late", [firing().id])
    assert request.headers["X-Token"] == "Bearer t0p-secret-token"
    assert request.headers["webhook-signature"].startswith("v1,")


async def test_mail_is_the_same_on_every_attempt_and_can_not_grow_headers() -> None:
    login = {"username": "u", "password": {"env": "MAIL"}}
    there = world(type="email", host="mail.example", **{"from": "tocsin@a.example", "to": ["x@a.example"]}, **login)
    call = there.call()
    details = await there.act(TOLD | {"title": "{{ labels.id }}\r\nBcc: all@a.example"}, call)
    ((message, channel, password),) = there.post.mails
    assert message["Subject"] == "table/sales Bcc: all@a.example"
    assert "Bcc" not in message
    assert message["Message-ID"] == f"<{call.key}@tocsin>"
    assert (message["To"], message.get_content().strip(), password) == ("x@a.example", "since <noon>", "pa55word")
    assert channel.name == "oncall"
    assert details == {"channel": "oncall", "type": "email", "recipients": 1, "refused": []}


async def test_alert_repeat_and_resolve_are_one_thread_of_mail() -> None:
    there = world(type="email", host="mail.example", **{"from": "tocsin@a.example", "to": ["x@a.example"]})
    first = firing()
    repeat = firing(1, repeat=1, first=first.id)
    resolved = firing(2, verdict=Verdict.RESOLVED, resolves=(first.id,))
    for one in (first, repeat, resolved, firing(3)):
        await there.act(TOLD, there.call(firing=one, key=f"key-of-{one.id}"))
    mails = [message for message, _, _ in there.post.mails]
    *together, other = [message["References"] for message in mails]
    assert len(set(together)) == 1
    assert other not in together
    assert len({message["Message-ID"] for message in mails}) == 4


async def test_a_webhook_says_which_incident_it_is_about() -> None:
    there = world(type="webhook", url="https://a.example/")
    resolved = firing(2, verdict=Verdict.RESOLVED, resolves=(firing().id,))
    await there.act(TOLD, there.call(firing=resolved))
    (request,) = there.web.requests
    assert [one["incident"] for one in json.loads(request.body or b"")["firings"]] == [firing().id]


async def test_without_a_title_and_a_text_there_are_usual_ones() -> None:
    there = world(type="apprise", url=URL)
    await there.act({"type": "send-notification", "channel": "oncall"})
    await there.act(TOLD | {"title": "{{ labels.nothing }}", "body": ""})
    (_, title, body), (_, second_title, second_body) = there.post.notes
    assert title == second_title == "late: table/sales missed"
    assert body.startswith("nothing came\nWhat for: Too late.")
    assert second_body == ""


async def test_apprise_gets_its_url_title_and_body() -> None:
    there = world(type="apprise", url=URL)
    await there.act(TOLD)
    assert there.post.notes == [(SECRETS["CHAT_URL"], "table/sales is late", "since <noon>")]


async def test_a_channel_that_is_gone_is_said_to_be() -> None:
    with pytest.raises(NotFound, match="no channel 'oncall'"):
        await World().act(TOLD)


async def test_a_refusal_names_the_host_and_not_the_secret_address() -> None:
    there = world(type="slack", url=URL)
    there.web.answer = lambda request: Response(403, {}, f"no such hook: {request.url}")
    with pytest.raises(ActionFailed, match=r"chat\.example answered 403 Forbidden: no such hook: •••"):
        await there.act(TOLD)
