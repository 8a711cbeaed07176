"""Webhook sources: who may send, and what becomes of what was sent."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.errors import InvalidEvent, NotJSON, TocsinError, TooLarge, Unauthorized
from tocsin.schemas.event import Event
from tocsin.schemas.source import WebhookSource
from tocsin.sources.limits import Limits
from tocsin.sources.native import NativeParser
from tocsin.sources.request import Request
from tocsin.sources.webhook import RECIPES, WebhookReceiver

PARSER = NativeParser(Limits())
SECRET = "correct horse"
ORDER = {"kind": "paid", "order": {"id": 7}, "customer": "ada", "event_id": "e1", "at": "2026-11-20T08:57:02Z"}
MAPPING = {
    "event": "join('.', ['shop', body.kind])",
    "resource": {"id": "join('/', ['order', to_string(body.order.id)])", "customer": "body.customer"},
    "related": [{"id": "body.shop", "role": "'shop'"}],
    "id": "body.event_id",
    "occurred": "body.at",
}


def receiver(*, verify: dict[str, Any] | None = None, event: dict[str, Any] | None = None) -> WebhookReceiver:
    spec = {"name": "shop", "type": "webhook", "verify": verify or {"type": "none"}, "event": event or MAPPING}
    return WebhookReceiver(WebhookSource.model_validate(spec), PARSER)


def request(body: object = ORDER, **parts: Any) -> Request:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request(source="shop", body=raw, **{"headers": {"content-type": "application/json"}, **parts})


def problems(source: WebhookReceiver, sent: Request) -> list[tuple[int | None, str, str]]:
    with pytest.raises(InvalidEvent) as refused:
        source.receive(sent, SECRET)
    return [(problem.index, problem.field, problem.message) for problem in refused.value.problems]


# What a mapping makes of a request


def test_a_mapping_fills_every_field_of_an_event() -> None:
    (event,) = receiver().receive(request({**ORDER, "shop": "berlin"}), SECRET)
    assert event == Event.model_validate_json(
        json.dumps(
            {
                "event": "shop.paid",
                "resource": {"id": "order/7", "customer": "ada"},
                "related": [{"id": "berlin", "role": "shop"}],
                "payload": {**ORDER, "shop": "berlin"},
                "occurred": "2026-11-20T08:57:02Z",
                "id": "e1",
                "source": "shop",
            }
        )
    )


def test_what_an_expression_does_not_find_is_left_out() -> None:
    (event,) = receiver().receive(request({"kind": "paid", "order": {"id": 7}}), SECRET)
    assert (event.resource, event.related, event.id, event.occurred) == ({"id": "order/7"}, [], None, None)


def test_each_item_of_a_list_becomes_an_event() -> None:
    mapping = {"each": "body.orders", "event": "body.kind", "resource": {"id": "item.id"}}
    sent = request({"kind": "paid", "orders": [{"id": 1}, {"id": 2}]})
    first, second = receiver(event=mapping).receive(sent, SECRET)
    assert [first.resource["id"], second.resource["id"]] == ["1", "2"]
    assert second.payload == {"id": 2}


def test_a_problem_of_one_item_names_its_index() -> None:
    mapping = {"each": "body", "event": "item.kind", "resource": {"id": "item.id"}}
    assert problems(receiver(event=mapping), request([{"kind": "a", "id": 1}, {"kind": "a"}])) == [
        (1, "resource.id", "`item.id` gave nothing: the id of the resource is needed")
    ]
    assert problems(receiver(event=mapping), request({}))[0] == (None, "each", "`body` gave {}: a list is needed")
    assert "at most 10000 items" in problems(receiver(event=mapping), request([0] * 10_001))[0][2]


def test_headers_query_method_and_source_can_be_read() -> None:
    mapping = {
        "event": 'headers."x-kind"',
        "resource": {"id": "query.id", "method": "method", "source": "source"},
        "payload": "`{}`",
    }
    sent = request(b"", headers={"x-kind": "ping"}, query={"id": "a"}, method="PUT")
    (event,) = receiver(event=mapping).receive(sent, SECRET)
    assert (event.event, event.resource) == ("ping", {"id": "a", "method": "PUT", "source": "shop"})


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("application/vnd.acme+json; charset=utf-8", b"[1]", [1]),
        ("application/x-www-form-urlencoded", b"a=1&b=2&b=3&b=4&c=", {"a": "1", "b": ["2", "3", "4"], "c": ""}),
        ("text/plain", b"backup done", "backup done"),
        ("text/plain", b'{"a": 1}', {"a": 1}),
        ("", "grüße".encode(), "grüße"),
        ("application/json", b" ", None),
    ],
)
def test_a_body_is_understood_as_what_it_is(content_type: str, body: bytes, expected: object) -> None:
    mapping = {"event": "'a'", "resource": {"id": "'b'"}}
    (event,) = receiver(event=mapping).receive(request(body, headers={"content-type": content_type}), SECRET)
    assert event.payload == expected


@pytest.mark.parametrize(("content_type", "body"), [("application/json", b"{"), ("text/plain", b"\xff\xfe")])
def test_a_body_that_is_neither_json_nor_text_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(NotJSON):
        receiver().receive(request(body, headers={"content-type": content_type}), SECRET)


def test_a_body_that_is_nested_too_deeply_to_be_kept_is_refused() -> None:
    """An event adds levels of its own around the body that the mapping puts into its payload."""
    mapping = {"event": "'a'", "resource": {"id": "'b'"}}
    refusals = []
    for levels in range(150, 260):
        with contextlib.suppress(InvalidEvent, NotJSON):
            receiver(event=mapping).receive(request(b"[" * levels + b"]" * levels), SECRET)
            continue
        refusals.append(levels)
    assert refusals == list(range(refusals[0], 260))


def test_a_form_with_too_many_fields_is_refused() -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    with pytest.raises(TooLarge, match="1000 fields"):
        receiver().receive(request(b"&".join([b"a=1"] * 1_001), headers=form), SECRET)


@pytest.mark.parametrize(
    ("moment", "iso"),
    [
        (1_763_629_022, "2025-11-20T08:57:02+00:00"),
        (1_763_629_022.5, "2025-11-20T08:57:02.500000+00:00"),
        (1_763_629_022_000, "2025-11-20T08:57:02+00:00"),
        ("2025-11-20T09:57:02+01:00", "2025-11-20T09:57:02+01:00"),
    ],
)
def test_times_are_taken_as_iso_8601_and_as_unix_time(moment: object, iso: str) -> None:
    (event,) = receiver().receive(request({**ORDER, "at": moment}), SECRET)
    assert event.occurred is not None
    assert event.occurred.isoformat() == iso


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"kind": None}, "event", "join()"),
        ({"order": 7}, "resource.id", ""),
        ({"customer": ["ada"]}, "resource.customer", "`body.customer` gave ['ada']: a string, a number or a boolean"),
        ({"event_id": {}}, "id", "`body.event_id` gave {}: a string or a number is needed"),
        ({"event_id": "x" * 256}, "id", "must not be longer than 255 characters"),
        ({"at": "2026-11-20 08:57:02"}, "occurred", "`body.at` gave '2026-11-20 08:57:02': a time as ISO 8601 with a"),
        ({"at": "x" * 500}, "occurred", "xx...: a time"),
        ({"at": 1e300}, "occurred", "Unix time"),
        ({"at": True}, "occurred", "Unix time"),
        ({"note": "a\0b"}, "payload.note", "NUL"),
    ],
)
def test_a_field_that_can_not_be_filled_is_named_with_its_expression(
    change: dict[str, Any], field: str, message: str
) -> None:
    mapping = {
        **MAPPING,
        "resource": {"id": "join('/', ['order', to_string(body.order.id)]) || ''", "customer": "body.customer"},
    }
    if change == {"order": 7}:
        mapping["resource"] = {"id": "body.order.id"}
    ((index, place, said),) = problems(receiver(event=mapping), request({**ORDER, **change}))
    assert (index, place) == (0, field)
    assert message in said


def test_a_name_has_to_be_a_string_and_not_the_engines() -> None:
    mapping = {**MAPPING, "event": "body.kind"}
    assert problems(receiver(event=mapping), request({**ORDER, "kind": 7}))[0][1:] == (
        "event",
        "`body.kind` gave 7: a string is needed",
    )
    assert "engine's own" in problems(receiver(event=mapping), request({**ORDER, "kind": "tocsin.x"}))[0][2]


# Who may send


def sign(body: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(SECRET.encode(), body, getattr(hashlib, algorithm)).digest()


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("prefix", ["", "v1="])
def test_a_right_signature_passes_and_any_other_does_not(algorithm: str, encoding: str, prefix: str) -> None:
    source = receiver(
        verify={
            "type": "hmac",
            "header": "X-Signature",
            "algorithm": algorithm,
            "encoding": encoding,
            "prefix": prefix,
            "secret": {"env": "SHOP"},
        }
    )
    assert str(source.secret) == "{env: SHOP}"
    body = json.dumps(ORDER).encode()
    digest = sign(body, algorithm)
    written = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
    assert source.receive(request(headers={"x-signature": prefix + written}), SECRET)
    others = ["", prefix, written[1:], prefix + written[:-2], prefix + "ü" + written]
    for other in others:
        with pytest.raises(Unauthorized, match="X-Signature"):
            source.receive(request(headers={"x-signature": other}), SECRET)
    with pytest.raises(Unauthorized):
        source.receive(request(body + b" ", headers={"x-signature": prefix + written}), SECRET)
    with pytest.raises(Unauthorized):
        source.receive(request(headers={"x-signature": prefix + written}), "another secret")


@pytest.mark.parametrize(
    ("place", "right", "wrong"),
    [
        ({"header": "X-Token"}, {"headers": {"x-token": SECRET}}, {"headers": {"x-token": "guess"}}),
        (
            {"header": "Authorization", "prefix": "Bearer "},
            {"headers": {"authorization": f"Bearer {SECRET}"}},
            {"headers": {"authorization": SECRET}},
        ),
        ({"query": "token"}, {"query": {"token": SECRET}}, {"query": {}}),
    ],
)
def test_a_token_is_looked_for_where_the_definition_says(
    place: dict[str, str], right: dict[str, Any], wrong: dict[str, Any]
) -> None:
    source = receiver(verify={"type": "token", "secret": {"env": "SHOP"}, **place})
    assert source.receive(request(**right), SECRET)
    with pytest.raises(Unauthorized, match=r"token|begin"):
        source.receive(request(**wrong), SECRET)


def test_a_refusal_tells_neither_the_secret_nor_the_right_signature() -> None:
    source = receiver(verify={"type": "hmac", "header": "X-Signature", "secret": {"env": "SHOP"}})
    with pytest.raises(Unauthorized) as refused:
        source.receive(request(headers={"x-signature": "0" * 64}), SECRET)
    assert SECRET not in str(refused.value)
    assert sign(json.dumps(ORDER).encode()).hex() not in str(refused.value)


def test_nobody_is_asked_for_a_secret_where_none_is_verified() -> None:
    assert receiver().secret is None


# Everything at once


def test_every_recipe_that_can_be_written_exists() -> None:
    annotation = WebhookSource.model_fields["recipe"].annotation
    declared = {name for part in get_args(annotation) for name in get_args(part)}
    assert set(RECIPES) == declared


@given(st.binary(), st.sampled_from(["application/json", "application/x-www-form-urlencoded", "text/plain", ""]))
def test_no_body_raises_anything_but_our_errors(body: bytes, content_type: str) -> None:
    with contextlib.suppress(TocsinError):
        receiver().receive(request(body, headers={"content-type": content_type}), SECRET)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(["kind", "order", "customer", "shop", "event_id", "at"], JSON)))
def test_no_json_raises_anything_but_our_errors(body: dict[str, Any]) -> None:
    mapping = {**MAPPING, "resource": {"id": "body.order", "customer": "body.customer"}, "event": "body.kind"}
    with contextlib.suppress(TocsinError):
        (event,) = receiver(event=mapping).receive(request(body), SECRET)
        assert event.source == "shop"
