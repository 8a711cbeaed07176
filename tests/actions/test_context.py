"""What templates, conditions and bodies see, and that secrets stay out of what is kept."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.actions.doubles import AUTOMATION, NOW, SECRETS, World, firing, placed
from tocsin.actions import context
from tocsin.actions.call import scrub
from tocsin.schemas.moments import SECOND
from tocsin.schemas.secret import SecretReference


def test_conditions_see_plain_json() -> None:
    facts = context.facts(firing(), {1: placed()}, AUTOMATION)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["firing"] == {
        "id": firing().id, "verdict": "missed", "at": "2026-05-28T20:26:40Z", "due": "2026-05-28T20:16:40Z",
        "window": None, "reason": "nothing came",
    }  # fmt: skip
    assert facts["automation"]["owner"] == "team/sales"
    assert facts["event"] == facts["events"][0]


def test_templates_see_times_in_the_triggers_zone() -> None:
    seen = context.Variables(firing(window_us=(NOW - SECOND, NOW)), {1: placed()}, AUTOMATION)
    assert seen["firing"]["due"].isoformat() == "2026-05-28T22:16:40+02:00"
    assert seen["firing"]["window"][1] == seen["firing"]["at"]
    assert seen["event"]["received"].utcoffset() == timedelta(hours=2)


def test_without_a_zone_times_are_in_utc() -> None:
    seen = context.Variables(firing(), {}, {})
    assert seen["firing"]["at"].isoformat() == "2026-05-28T20:26:40+00:00"
    assert (seen["event"], seen["events"], seen["automation"]["name"]) == (None, [], "late")


@pytest.mark.parametrize("edge", [-(10**18), 10**18])
def test_the_first_and_last_days_of_the_calendar_are_no_error(edge: int) -> None:
    seen = context.Variables(firing(due_us=edge), {}, {"trigger": {"timezone": "Pacific/Kiritimati"}})
    assert seen["firing"]["due"].year in (1, 9999)


def test_what_a_definition_leaves_out_has_its_default() -> None:
    assert context.facts(firing(), {}, {})["automation"] == {
        "name": "late", "description": "", "mode": "live", "severity": "medium", "owner": "", "runbook": "", "tags": [],
    }  # fmt: skip


def test_silence_has_events_but_none_that_decided() -> None:
    seen = context.facts(firing(trigger_event=None), {1: placed()}, AUTOMATION)
    assert (seen["event"], len(seen["events"])) == (None, 1)


def test_names_without_a_value_are_empty_and_noted() -> None:
    call = World().call()
    assert call.text("{{ labels.nothing }}") == ""
    assert call.noted() == {"missing": ["labels.nothing"]}


@pytest.mark.parametrize("form", ['a/b c"d', "a%2Fb%20c%22d", 'a/b c\\"d'])
def test_a_secret_is_scrubbed_however_it_is_spelled(form: str) -> None:
    record = {"error": [f"GET {form} failed"], "n": 1, "none": None}
    assert scrub(record, {'a/b c"d'}) == {"error": ["GET ••• failed"], "n": 1, "none": None}


def test_a_secret_is_scrubbed_without_its_prefix_too() -> None:
    call = World().call()
    call.reveal(SecretReference(env="TOKEN", prefix="Bearer "))
    assert call.excerpt("got t0p-secret-token") == "got •••"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("https://chat.example/hooks/s3cret-path-7", "no /hooks/s3cret-path-7 here"),
        ("https://chat.example/hooks/s3cret-path-7?key=another-secret", "/hooks/s3cret-path-7 is gone"),
        ("https://chat.example/hooks/s3cret-path-7?key=another-secret", "unknown key another-secret"),
        ("slack://token-a-long-one/s3cret-path-7/", "bad token-a-long-one"),
    ],
)
def test_a_part_of_a_secret_address_is_as_secret(address: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SECRETS, "CHAT_URL", address)
    call = World().call()
    call.reveal(SecretReference(env="CHAT_URL"))
    shown = call.excerpt(f"{said}, says chat.example")
    assert not any(part in shown for part in ("s3cret-path", "another-secret", "token-a-long-one"))
    assert shown.endswith(", says chat.example"), "the host is needed to mend it"
