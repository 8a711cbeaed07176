"""Which events a trigger means (laws E4, M1-M5, F5)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tocsin.schemas.event import Arrival, Event, arrival
from tocsin.schemas.expression import ExpressionFailed
from tocsin.schemas.trigger import DeadlineTrigger, EventTrigger, LeafTrigger, Trigger
from tocsin.triggers.match import AFTER, EXPECT, UNTIL, Facts, Matcher, explain, name_test

TRIGGERS: TypeAdapter[Any] = TypeAdapter(Trigger)


def trigger(**fields: Any) -> LeafTrigger:
    found = TRIGGERS.validate_python({"expect": "x"} | fields)
    assert isinstance(found, EventTrigger | DeadlineTrigger)
    return found


def event(
    name: str = "x", *, related: list[dict[str, str]] | None = None, payload: Any = None, **labels: Any
) -> Arrival:
    resource = {"id": "r"} | labels
    return arrival(
        Event.model_validate({"event": name, "resource": resource, "related": related or [], "payload": payload or {}}),
        seq=1,
        received_us=1_000_000,
    )


def roles(spec: LeafTrigger, seen: Arrival) -> int:
    return Matcher(spec).roles(Facts(seen))


def key(spec: LeafTrigger, seen: Arrival) -> tuple[str, ...]:
    return Matcher(spec).key(Facts(seen))


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("job.*", "job.a", True),
        ("job.*", "job.a.b", True),
        ("job.*", "job.", False),
        ("job.*", "Job.a", False),
        ("*.failed", "job.a.failed", True),
        ("*.failed", ".failed", False),
        ("job.*.failed", "job.a.b.failed", True),
        ("job.*.failed", "job..failed", False),
        ("a*b*c", "a1b2b3c", True),
        ("a*b*c", "abbc", False),
        ("a*b*c", "a1bc", False),
        ("**", "ab", True),
        ("**", "a", False),
        ("a?[b]", "a?[b]", True),
        ("a?[b]", "axb", False),
        ("x", "x", True),
        ("x", "xx", False),
        ("a*", "a\nb", True),
    ],
)
def test_m1_a_star_is_one_or_more_characters_and_nothing_else_is_special(
    pattern: str, name: str, matches: bool
) -> None:
    assert bool(name_test(pattern)(name)) is matches


def _glob(pattern: str, name: str) -> bool:
    """Match as slowly and plainly as the law is written."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(_glob(pattern[1:], name[taken:]) for taken in range(1, len(name) + 1))
    return name[:1] == pattern[0] and _glob(pattern[1:], name[1:])


@given(st.text("ab*", min_size=1, max_size=7), st.text("ab", min_size=1, max_size=9))
def test_m1_globs_agree_with_the_plain_definition(pattern: str, name: str) -> None:
    assert bool(name_test(pattern)(name)) == _glob(pattern, name)


def test_m1_a_pathological_glob_does_not_run_away() -> None:
    assert not name_test("*a*a*a*a*a*a*a*a*a*a*a*a*a*b")("a" * 1024)


def test_f5_a_bare_star_does_not_match_the_engines_own_events_and_a_written_prefix_does() -> None:
    own = "tocsin.automation.fired"
    assert not name_test("*")(own)
    assert name_test("*")("tocsinx.y")
    assert name_test("tocsin.*")(own)
    assert name_test(own)(own)
    assert roles(trigger(expect=[]), event(own)) == 0


def test_m1_an_event_can_have_several_roles() -> None:
    spec = trigger(type="absence", expect=["x", "y.*"], after=["x", "s"], until="*.end", within=5)

    assert roles(spec, event("x")) == EXPECT | AFTER
    assert roles(spec, event("y.end")) == EXPECT | UNTIL
    assert roles(spec, event("s")) == AFTER
    assert roles(spec, event("z")) == 0


def test_m1_many_names_are_alternatives() -> None:
    spec = trigger(expect=["a", "b", "c", "d", "e", "f.*"])

    assert [roles(spec, event(name)) for name in ("a", "e", "f.g", "g")] == [EXPECT, EXPECT, EXPECT, 0]


@pytest.mark.parametrize(
    ("match", "labels", "matches"),
    [
        ({"env": "prod"}, {"env": "prod"}, True),
        ({"env": "prod"}, {"env": "product"}, False),
        ({"env": "prod"}, {}, False),
        ({"env": "*"}, {"env": ""}, True),
        ({"env": "*"}, {}, False),
        ({"env": ["prod", "stag*"]}, {"env": "staging"}, True),
        ({"env": ["prod", "stag*"]}, {"env": "dev"}, False),
        ({"env": ["!dev", "!test*"]}, {}, True),
        ({"env": ["!dev", "!test*"]}, {"env": "test1"}, False),
        ({"env": ["!dev", "!test*"]}, {"env": "prod"}, True),
        ({"env": ["a*", "!ab"]}, {"env": "ab"}, False),
        ({"env": ["a*", "!ab"]}, {"env": "ac"}, True),
        ({"env": ["a*", "!ab"]}, {}, False),
        ({"env": "a?c"}, {"env": "abc"}, True),
        ({"env": "a?c"}, {"env": "ac"}, False),
        ({"env": "h[0-9]"}, {"env": "h7"}, True),
        ({"env": "h[!0-9]"}, {"env": "h7"}, False),
        ({"env": "h[0-9]*"}, {"env": "h7x"}, True),
        ({"env": ["ab?", "ab*"]}, {"env": "ab"}, True),
        ({"env": ["ab?", "a"]}, {"env": "ab"}, False),
        ({"env": "[[]x"}, {"env": "[x"}, True),
        ({"env": ["a", "b", "c", "d", "e"]}, {"env": "e"}, True),
        ({"env": "Prod"}, {"env": "prod"}, False),
        ({"env": "prod", "team": "!a"}, {"env": "prod", "team": "a"}, False),
        ({"attempt": 3, "last": True}, {"attempt": 3, "last": True}, True),
        ({"prefect.resource.id": "r"}, {}, True),
    ],
)
def test_m2_labels_are_and_ed_and_exclusions_come_after(match: Any, labels: Any, matches: bool) -> None:
    assert bool(roles(trigger(match=match), event(**labels))) is matches


OWNER_A = {"id": "a", "role": "owner"}
OWNER_B = {"id": "b", "role": "owner"}
GUEST_A = {"id": "a", "role": "guest"}


@pytest.mark.parametrize(
    ("specs", "related", "matches"),
    [
        ({"role": "owner", "id": "a"}, [OWNER_A], True),
        ({"role": "owner", "id": "a"}, [OWNER_B, GUEST_A], False),
        ({"role": "owner", "id": "a"}, [], False),
        ([{"id": "a"}, {"id": "b"}], [OWNER_A, OWNER_B], True),
        ([{"id": "a"}, {"id": "b"}], [OWNER_A], False),
        ({"id": "!a"}, [], True),
        ({"id": "!a"}, [OWNER_B], True),
        ({"id": "!a"}, [OWNER_B, GUEST_A], False),
        ({"role": "owner", "id": "!a"}, [GUEST_A, OWNER_B], True),
        ({"role": "owner", "id": "!a"}, [], False),
        ({}, [], True),
        ([{}, {"id": "a"}], [GUEST_A], True),
        ({"prefect.resource.role": "owner"}, [OWNER_A], True),
    ],
)
def test_m3_one_related_resource_satisfies_a_whole_spec(specs: Any, related: Any, matches: bool) -> None:
    assert bool(roles(trigger(match_related=specs), event(related=related))) is matches


@pytest.mark.parametrize(
    ("where", "payload", "matches"),
    [
        ("payload.n > `1`", {"n": 2}, True),
        ("payload.n > `1`", {"n": 1}, False),
        ("payload.n > `1`", {}, False),
        ("payload.n", {"n": 0}, True),
        ("payload.n", {"n": ""}, False),
        ("payload.n", {"n": []}, False),
        ("resource.id == 'r' && event == 'x'", {}, True),
    ],
)
def test_m4_truth_is_jmespaths(where: str, payload: Any, matches: bool) -> None:
    assert bool(roles(trigger(where=where), event(payload=payload))) is matches


def test_m4_an_expression_that_fails_says_so() -> None:
    with pytest.raises(ExpressionFailed, match="length"):
        roles(trigger(where="length(payload.n) > `1`"), event(payload={"n": 3}))


def test_m4_the_document_is_built_once_for_all_expressions() -> None:
    facts = Facts(event())

    assert facts.document() is facts.document()


@pytest.mark.parametrize(
    ("for_each", "expected"),
    [
        ([], ()),
        (["id"], ("r",)),
        (["id", "env"], ("r", "")),
        ({"host": "id"}, ("r",)),
        (["related:owner:id"], ("a",)),
        (["related:owner:prefect.resource.id", "id"], ("a", "r")),
        (["related:owner:team"], ("",)),
        (["related:nobody:id"], ("",)),
        (["payload:n"], ("1",)),
        (["payload:yes"], ("true",)),
        (["payload:text"], ("t",)),
        (["payload:list"], ("",)),
        (["payload:none"], ("",)),
        (["payload:length(n)"], ("",)),
        (["payload:list[0].deep"], ("1.5",)),
    ],
)
def test_m5_a_key_is_read_from_labels_related_resources_and_the_payload(
    for_each: Any, expected: tuple[str, ...]
) -> None:
    payload = {"n": 1, "yes": True, "text": "t", "list": [{"deep": 1.5}], "none": None}
    seen = event(related=[GUEST_A, OWNER_A, OWNER_B], payload=payload)

    assert key(trigger(for_each=for_each), seen) == expected


def test_m5_all_roles_share_the_other_predicates() -> None:
    spec = trigger(type="absence", after="s", until="u", within=5, match={"env": "prod"})

    assert [roles(spec, event(name, env="prod")) for name in "xsu"] == [EXPECT, AFTER, UNTIL]
    assert [roles(spec, event(name, env="dev")) for name in "xsu"] == [0, 0, 0]


def test_a_deadline_has_the_role_expect_only() -> None:
    spec = trigger(type="deadline", due="0 9 * * *", match={"env": "prod"})

    assert roles(spec, event(env="prod")) == EXPECT


def test_explain_shows_every_pattern_beside_its_value() -> None:
    spec = trigger(
        expect=["x", "y"], after="s", match={"env": "prod"}, match_related={"role": "owner"},
        where="payload.n > `1`", for_each=["id"],
    )  # fmt: skip

    found = explain(spec, event(env="dev", payload={"n": 2}, related=[GUEST_A]))

    assert [(p.name, p.pattern, p.value, p.passed) for p in found] == [
        ("expect", ("x", "y"), "x", True),
        ("after", ("s",), "x", False),
        ("match.env", ("prod",), "dev", False),
        ("match_related.0", {"role": ("owner",)}, [GUEST_A], False),
        ("where", "payload.n > `1`", True, True),
        ("for_each.id", "id", "r", True),
    ]


def test_m4_explain_shows_why_an_expression_failed() -> None:
    where = explain(trigger(where="length(payload.n) > `1`"), event(payload={"n": 3}))[-1]

    assert not where.passed
    assert str(where.value).startswith("failed: 'length(payload.n) > `1`'")


values = st.sampled_from(["a", "ab", "b", ""])
patterns = st.sampled_from(["a", "a*", "?b", "!a", "!*b", "*", "[ab]"])
specs = st.dictionaries(st.sampled_from(["env", "team"]), st.lists(patterns, min_size=1, max_size=3), max_size=2)


@given(
    expect=st.lists(st.sampled_from(["x", "y", "x*", "*"]), min_size=1, max_size=2),
    match=specs,
    related=st.lists(specs, max_size=2),
    where=st.sampled_from([None, "resource.env == 'a'", "length(payload.n) > `0`"]),
    labels=st.dictionaries(st.sampled_from(["env", "team"]), values, max_size=2),
    others=st.lists(st.dictionaries(st.sampled_from(["env", "team"]), values, max_size=2), max_size=2),
)
def test_explain_agrees_with_matching(
    *, expect: list[str], match: Any, related: Any, where: str | None, labels: Any, others: Any
) -> None:
    spec = trigger(expect=expect, match=match, match_related=related, where=where)
    seen = event("xa", related=[{"id": "o", "role": "o"} | other for other in others], **labels)
    try:
        matched = bool(roles(spec, seen))
    except ExpressionFailed:
        matched = False

    assert matched == all(predicate.passed for predicate in explain(spec, seen))
