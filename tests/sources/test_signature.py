"""HTTP Basic and Standard Webhooks, by their published examples: who may send, and that a replay is a duplicate."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tocsin.errors import Unauthorized, Unavailable
from tocsin.schemas.moments import MINUTE, SECOND
from tocsin.schemas.source import WebhookSource
from tocsin.sources.limits import Limits
from tocsin.sources.native import NativeParser
from tocsin.sources.request import Request
from tocsin.sources.webhook import WebhookReceiver

PARSER = NativeParser(Limits())
MAPPING = {"event": "'a'", "resource": {"id": "'b'"}}


def receiver(verify: dict[str, Any], event: dict[str, Any] | None = None) -> WebhookReceiver:
    spec = {"name": "shop", "type": "webhook", "verify": verify, "event": event or MAPPING}
    return WebhookReceiver(WebhookSource.model_validate(spec), PARSER)


# HTTP Basic: the example of RFC 7617, section 2

BASIC = {"type": "basic", "user": "Aladdin", "password": {"env": "SHOP"}}
PASSWORD = "open sesame"
CREDENTIALS = "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def asks(authorization: str) -> Request:
    return Request(source="shop", body=b"{}", headers={"authorization": authorization})


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC "])
def test_user_and_password_let_the_sender_in(scheme: str) -> None:
    source = receiver(BASIC)
    assert str(source.secret) == "{env: SHOP}"
    assert source.receive(asks(f"{scheme} {CREDENTIALS}"), PASSWORD)


def test_user_and_password_are_utf_8() -> None:
    """The second example of RFC 7617, section 2.1."""
    source = receiver(BASIC | {"user": "test"})
    assert source.receive(asks("Basic dGVzdDoxMjPCow=="), "123£")


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        f"Bearer {CREDENTIALS}",
        CREDENTIALS,
        "Basic §§§",
        "Basic " + base64.b64encode(b"Aladdin").decode(),
        "Basic " + base64.b64encode(b"Aladdin:open sesam").decode(),
        "Basic " + base64.b64encode(b"aladdin:open sesame").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe").decode(),
    ],
)
def test_any_other_is_asked_for_them(authorization: str) -> None:
    with pytest.raises(Unauthorized, match="Authorization") as refused:
        receiver(BASIC).receive(asks(authorization), PASSWORD)
    assert refused.value.challenge.startswith("Basic ")
    assert PASSWORD not in str(refused.value)


# Standard Webhooks: the example of its reference libraries

STANDARD = {"type": "standard-webhooks", "secret": {"env": "SHOP"}}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SENT_US = 1_614_265_330 * SECOND
BODY = b'{"test": 2432232314}'
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def signed(body: bytes = BODY, *, at_us: int = SENT_US, **headers: str) -> Request:
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(source="shop", body=body, headers=HEADERS | changed, received_us=at_us)


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_")])
@pytest.mark.parametrize("away_us", [-5 * MINUTE, 0, 5 * MINUTE])
def test_e2_a_signed_request_is_an_event_with_the_id_of_its_message(secret: str, away_us: int) -> None:
    (event,) = receiver(STANDARD).receive(signed(at_us=SENT_US + away_us), secret)
    assert (event.id, event.source) == ("msg_p5jXN8AQM9LWM0D4loKWxJek", "shop")


def test_one_right_signature_among_several_is_enough() -> None:
    """A sender that changes its secret signs with both."""
    several = f"v1a,whatever {HEADERS['webhook-signature']} v1,AAAA nonsense"
    assert receiver(STANDARD).receive(signed(webhook_signature=several), SECRET)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"body": BODY + b" "}, "wrong signature"),
        ({"webhook_id": "msg_other"}, "wrong signature"),
        ({"webhook_timestamp": "1614265331"}, "wrong signature"),
        ({"webhook_signature": "v1,AAAA"}, "wrong signature"),
        ({"webhook_signature": HEADERS["webhook-signature"].replace("v1", "v2")}, "wrong signature"),
        ({"webhook_signature": "v1,ü"}, "wrong signature"),
        ({"webhook_id": ""}, "webhook-id is missing"),
        ({"webhook_timestamp": ""}, "webhook-timestamp is missing"),
        ({"webhook_signature": ""}, "webhook-signature is missing"),
        ({"webhook_timestamp": "1614265330.0"}, "Unix time"),
        ({"webhook_timestamp": "-1"}, "Unix time"),
        ({"webhook_timestamp": "9" * 12}, "Standard Webhooks"),
        ({"webhook_timestamp": "9" * 400}, "Unix time"),
        ({"body": b"\xff"}, "UTF-8"),
        ({"at_us": SENT_US + 5 * MINUTE + 1}, "5 minutes away"),
        ({"at_us": SENT_US - 5 * MINUTE - 1}, "5 minutes away"),
    ],
)
def test_any_other_request_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(Unauthorized, match=says):
        receiver(STANDARD).receive(signed(**change), SECRET)


def test_e2_each_event_of_one_message_has_an_id_of_its_own() -> None:
    mapping = {"each": "`[1, 2]`", "event": "'a'", "resource": {"id": "to_string(item)"}}
    first, second = receiver(STANDARD, mapping).receive(signed(), SECRET)
    assert [first.id, second.id] == ["msg_p5jXN8AQM9LWM0D4loKWxJek/0", "msg_p5jXN8AQM9LWM0D4loKWxJek/1"]


def test_an_id_that_the_mapping_finds_comes_first() -> None:
    (event,) = receiver(STANDARD, MAPPING | {"id": "body.test"}).receive(signed(), SECRET)
    assert event.id == "2432232314"
    (event,) = receiver(STANDARD, MAPPING | {"id": "body.nothing"}).receive(signed(), SECRET)
    assert event.id == "msg_p5jXN8AQM9LWM0D4loKWxJek"


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_ü", "a"])
def test_a_secret_that_can_not_verify_is_our_fault(secret: str) -> None:
    with pytest.raises(Unavailable, match="not one of Standard Webhooks"):
        receiver(STANDARD).receive(signed(), secret)


# What a refusal asks for (RFC 9110, section 11.6.1)


@pytest.mark.parametrize(
    ("verify", "challenge"),
    [
        ({"type": "hmac", "header": "X-Sign"}, 'Signature realm="tocsin", header="X-Sign", algorithm="hmac-sha256"'),
        (
            {"type": "hmac", "header": 'X"Ü', "algorithm": "sha1"},
            'Signature realm="tocsin", header="X??", algorithm="hmac-sha1"',
        ),
        ({"type": "token", "header": "Authorization"}, "Bearer"),
        ({"type": "token", "header": "authorization", "prefix": "Bearer "}, "Bearer"),
        ({"type": "token", "header": "Authorization", "prefix": "GenieKey "}, "GenieKey"),
        ({"type": "token", "header": "X-Token"}, 'Token realm="tocsin", header="X-Token"'),
        ({"type": "token", "query": "token"}, 'Token realm="tocsin", query="token"'),
        ({"type": "standard-webhooks"}, 'Signature realm="tocsin", header="webhook-signature"'),
    ],
)
@pytest.mark.parametrize("headers", [{}, HEADERS | {"x-sign": "no", "x-token": "no", "authorization": "GenieKey no"}])
def test_a_refusal_names_the_scheme_that_would_be_right(
    verify: dict[str, Any], challenge: str, headers: dict[str, str]
) -> None:
    request = Request(source="shop", body=b"{}", headers=headers, received_us=SENT_US)
    with pytest.raises(Unauthorized) as refused:
        receiver(verify | {"secret": {"env": "SHOP"}}).receive(request, SECRET)
    assert refused.value.challenge == challenge
