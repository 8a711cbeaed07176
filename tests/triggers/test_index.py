"""The index finds exactly what a linear scan finds, whatever was put in and taken out before."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.schemas.event import Arrival, Event, arrival
from tocsin.schemas.expression import ExpressionFailed
from tocsin.schemas.trigger import EventTrigger
from tocsin.triggers.index import Index, Match
from tocsin.triggers.match import AFTER, EXPECT, Facts, Matcher
from tocsin.triggers.tables import SPLIT_AT, Tables

Leaves = dict[str, EventTrigger]


def trigger(**fields: Any) -> EventTrigger:
    return EventTrigger.model_validate({"expect": "x"} | fields)


def event(name: str = "x", **labels: str) -> Arrival:
    return arrival(Event(event=name, resource={"id": "r"} | labels), seq=1, received_us=1_000_000)


def scan(leaves: Leaves, seen: Arrival) -> list[Match]:
    facts, found = Facts(seen), []
    for leaf_id, spec in leaves.items():
        matcher = Matcher(spec)
        try:
            roles = matcher.roles(facts)
        except ExpressionFailed:
            continue
        if roles:
            found.append((leaf_id, roles, matcher.key(facts)))
    return sorted(found)


names = st.sampled_from(["a", "a.b", "a.bc", "a.b.c", "b", "tocsin.x", "a.", "ab"])
globs = st.sampled_from(["a", "a.b", "a.*", "a.b*", "a.b.*", "a*", "*", "*.c", "a.*.c", "tocsin.*", "ab", "a."])
values = st.sampled_from(["p", "q", "r", ""])
value_patterns = st.lists(st.sampled_from(["p", "q", "r", "", "p*", "!p", "!q*"]), min_size=1, max_size=2)
triggers = st.builds(
    lambda expect, after, match, where: trigger(expect=expect, after=after, match=match, where=where, for_each=["env"]),
    expect=st.lists(globs, min_size=1, max_size=3),
    after=st.lists(globs, max_size=2),
    match=st.dictionaries(st.sampled_from(["id", "env", "team"]), value_patterns, max_size=3),
    where=st.sampled_from([None, None, None, "length(payload.n) > `0`", "resource.id == 'p'"]),
)
events = st.builds(
    lambda name, labels: event(name, **labels),
    name=names,
    labels=st.dictionaries(st.sampled_from(["id", "env", "team"]), values, max_size=3).map(
        lambda labels: {label: value for label, value in labels.items() if value or label != "id"}
    ),
)
steps = st.lists(st.tuples(st.dictionaries(st.integers(0, 30).map(str), triggers, max_size=12),
                           st.sets(st.integers(0, 30).map(str), max_size=12)), min_size=1, max_size=4)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(steps, st.lists(events, min_size=1, max_size=6))
def test_the_index_finds_what_a_linear_scan_finds_and_older_ones_never_change(steps: Any, seen: list[Arrival]) -> None:
    index = Index()
    leaves: Leaves = {}
    history = [(index, leaves)]
    for added, removed in steps:
        leaves = {k: v for k, v in leaves.items() if k not in removed} | added
        index = index.replace(added, removed)
        history.append((index, leaves))

    for index, leaves in history:
        assert len(index) == len(leaves)
        for one in seen:
            assert sorted(index.match(one)) == scan(leaves, one)


def is_empty(tables: Tables) -> bool:
    tables_left = (tables.leaves, tables.names, tables.prefixes.children, tables.prefixes.stubs)
    return not any(tables_left) and not tables.unnamed.rest and not tables.unnamed.labels


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 40).map(str), triggers, max_size=40))
def test_an_index_from_which_all_is_taken_has_nothing_left(leaves: Leaves) -> None:
    index = Index().replace(leaves)

    assert is_empty(index.replace(removed=list(leaves))._tables)


def test_removing_what_is_not_there_is_no_error() -> None:
    assert len(Index().replace(removed=["a"])) == 0


def test_an_added_leaf_takes_the_place_of_one_of_the_same_id() -> None:
    index = Index().replace({"a": trigger(expect="x")})

    changed = index.replace({"a": trigger(expect="y")})

    assert changed.match(event("x")) == []
    assert changed.match(event("y")) == [("a", EXPECT, ())]
    assert index.match(event("x")) == [("a", EXPECT, ())]


def test_a_match_carries_roles_and_key() -> None:
    index = Index().replace({"a": trigger(after=["s", "x"], for_each=["id", "env"])})

    assert index.match(event("x", env="p")) == [("a", EXPECT | AFTER, ("r", "p"))]
    assert index.match(event("s")) == [("a", AFTER, ("r", ""))]


def test_m4_a_leaf_whose_expression_fails_does_not_match_and_is_counted() -> None:
    index = Index().replace({"a": trigger(where="length(event.n) > `0`"), "b": trigger()})
    failed: list[str] = []

    assert index.match(event(), failed) == [("b", EXPECT, ())]
    assert failed == ["a"]
    assert index.match(event()) == [("b", EXPECT, ())]


def test_a_crowd_is_divided_by_its_most_selective_label() -> None:
    leaves = {str(n): trigger(match={"env": "prod", "table": f"t{n}"}) for n in range(10 * SPLIT_AT)}
    bucket = Index().replace(leaves)._tables.names["x"]

    assert len(bucket.labels["table"]) > 8 * SPLIT_AT
    assert len(bucket.candidates({"env": "prod", "table": "t7"})) <= 2 * SPLIT_AT


def test_an_index_hands_out_its_matchers() -> None:
    index = Index().replace({"a": trigger()})

    assert "a" in index
    assert "b" not in index
    assert index.matcher("a").roles(Facts(event())) == EXPECT
    with pytest.raises(KeyError):
        index.matcher("b")
