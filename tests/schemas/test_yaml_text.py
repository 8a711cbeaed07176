"""YAML is read as it looks: YAML 1.2's core schema, bounded, with places."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tocsin.errors import InvalidDefinition
from tocsin.schemas.yaml_text import ALIASED_MAX, DEPTH_MAX, Place, places_of, read_yaml


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("on", "on"), ("off", "off"), ("no", "no"), ("yes", "yes"), ("y", "y"),
        ("9:00", "9:00"), ("12:30:45", "12:30:45"), ("2026-03-02", "2026-03-02"),
        ("2026-03-02T09:00:00+01:00", "2026-03-02T09:00:00+01:00"),
        ("007", "007"), ("1_000", "1_000"), ("0b11", "0b11"), ("1e3", "1e3"), ("12345e7", "12345e7"),
        (".inf", ".inf"), (".nan", ".nan"), ("1.2.3", "1.2.3"), ("+", "+"),
        ("true", True), ("True", True), ("false", False), ("FALSE", False),
        ("null", None), ("~", None), ("", None),
        ("0", 0), ("12", 12), ("-5", -5), ("+5", 5), ("0x1F", 31), ("0o17", 15),
        ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("-1.5e-3", -0.0015),
        ("'12'", "12"), ('"true"', "true"), ("!!str 12", "12"), ("9" * 400, "9" * 400),
    ],
)  # fmt: skip
def test_a_scalar_means_what_it_looks_like(written: str, meant: Any) -> None:
    found = read_yaml(f"key: {written}")["key"]
    assert found == meant
    assert type(found) is type(meant)


def test_keys_are_text() -> None:
    assert read_yaml("on: 1\n1: 2\ntrue: 3\nnull: 4") == {"on": 1, "1": 2, "true": 3, "null": 4}


def test_an_empty_file_has_no_data() -> None:
    assert read_yaml("") is None
    assert read_yaml("# only a comment\n") is None


def test_anchors_repeat_and_merge_keys_give_way_to_what_is_written_out() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {y: 5, <<: *a}\nd: {<<: [*a, *b]}\ne: *a\nf: &n 7\ng: *n"
    assert read_yaml(text) == {
        "a": {"x": 1, "y": 2}, "b": {"y": 3, "z": 4}, "c": {"x": 1, "y": 5}, "d": {"x": 1, "y": 2, "z": 4},
        "e": {"x": 1, "y": 2}, "f": 7, "g": 7,
    }  # fmt: skip


def test_a_quoted_merge_key_is_a_key() -> None:
    assert read_yaml("'<<': 1") == {"<<": 1}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3:1: the key `a` stands twice in this mapping: remove one of them"),
        ("a: [1, 2\nb: 3", "f.yaml:2:2: this is not YAML: did not find expected ',' or ']'"),
        ("a:\n\t- b", "f.yaml:2:1: this is not YAML: found character that cannot start any token"),
        ("a: \x07", "f.yaml:1:4: this is not YAML: control characters are not allowed"),
        ("a: '\ud800'", "f.yaml:1:5: this is not Unicode: surrogates not allowed"),
        ("? {a: b}\n: c", "f.yaml:1:3: a key is text, not a mapping or a list: put it in quotes"),
        ("a: &x b\n*x : c", "f.yaml:2:1: a key is text, not an alias: write it out"),
        ("a: !!python/object:os.system x", "f.yaml:1:4: tags are not used here: remove `!!python/object:os.system`"),
        ("a: !!int 5", "f.yaml:1:4: tags are not used here: remove `!!int`"),
        ("a: !secret {b: c}", "f.yaml:1:4: tags are not used here: remove `!secret`"),
        ("---\na: 1\n---\nb: 2", "f.yaml:3:1: a file holds one document: remove `---`, or write two files"),
        ("a: *x", "f.yaml:1:4: `*x` repeats what is not defined before it: write `&x` there"),
        ("a: &a [*a]", "f.yaml:1:8: `*a` repeats what is not defined before it: write `&a` there"),
        ("a: {<<: 5}", "f.yaml:1:9: `<<` merges mappings: give it an alias of a mapping, or a list of them"),
        ("[" * 65 + "]" * 65, f"f.yaml:1:65: this is nested more than {DEPTH_MAX} deep: flatten it"),
    ],
)
def test_what_definitions_do_not_use_is_refused_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        read_yaml(text, file="f.yaml")
    assert str(refused.value).startswith(complaint)


def test_aliases_can_not_blow_a_file_up() -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(InvalidDefinition, match=f"aliases repeat more than {ALIASED_MAX:,} values"):
        read_yaml("\n".join(["a0: &a0 [x, x, x, x]", *levels]))


def test_aliases_can_not_nest_deeper_than_what_is_written_out() -> None:
    levels = [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 100)]
    with pytest.raises(InvalidDefinition, match=f"nested more than {DEPTH_MAX} deep"):
        read_yaml("\n".join(["a0: &a0 [x]", *levels]))


def test_places_are_those_of_keys_and_values() -> None:
    text = "a:\n  - b: 1\n    c: {d: 2}\n  - &x {b: 5}\n  - *x\n"
    wanted = [(), ("a",), ("a", 0), ("a", 0, "b"), ("a", 0, "c", "d"), ("a", 2), ("a", 2, "b"), ("nowhere",)]
    assert places_of(text, wanted) == {
        (): (Place(1, 1), Place(1, 1)),
        ("a",): (Place(1, 1), Place(2, 3)),
        ("a", 0): (Place(2, 5), Place(2, 5)),
        ("a", 0, "b"): (Place(2, 5), Place(2, 8)),
        ("a", 0, "c", "d"): (Place(3, 9), Place(3, 12)),
        ("a", 2): (Place(5, 5), Place(5, 5)),
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc<~ :-", max_size=5), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@given(st.dictionaries(st.text("abc", max_size=3), JSON, max_size=3))
def test_what_yaml_writes_is_read_back(data: dict[str, Any]) -> None:
    assert read_yaml(yaml.safe_dump(data)) == data


@given(st.dictionaries(st.text("abc", max_size=3), st.text("abc019.-+e:~ {}", max_size=8), max_size=3))
def test_json_is_yaml(data: dict[str, Any]) -> None:
    assert read_yaml(json.dumps(data)) == data


@given(st.text("ab:-[]{}&*!|>'\"%@`?,# \n\t<~\x00\x85\ufeff", max_size=40))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    try:
        read_yaml(text, file="f.yaml")
        problems = []
    except InvalidDefinition as refused:
        problems = refused.problems
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)
