"""YAML with comments reads back as what was written, whatever the texts in it are."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tocsin.review.commented import Entry, written
from tocsin.schemas.yaml_text import read_yaml

TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t:#'\"{}[]|>-!&*%@`,?\\ "), max_size=30
)
SCALAR = TEXT | st.booleans() | st.integers(-1_000, 1_000) | st.none() | st.sampled_from(["1e3", "0o17", "1.5e3", "~"])
KEY = st.text("abcdefgh_-", min_size=1, max_size=8)
VALUE = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=3))


@given(st.lists(st.dictionaries(KEY, VALUE, min_size=1, max_size=4), min_size=1, max_size=4), st.lists(TEXT))
def test_what_is_written_reads_back(items: list[dict[str, Any]], remarks: list[str]) -> None:
    entries = [Entry(item, tuple(remarks)) for item in items]
    assert read_yaml(written(remarks, {"items": entries})) == {"items": items}


@given(st.lists(st.text(), max_size=3))
def test_no_remark_ends_its_comment(remarks: list[str]) -> None:
    nested = {"name": "a", "actions": [Entry({"type": "log"}, tuple(remarks)), Entry(None, tuple(remarks))]}
    text = written(remarks, {"automations": [Entry(None, tuple(remarks)), Entry(nested)], "flows": []})
    assert read_yaml(text) == {"automations": [{"name": "a", "actions": [{"type": "log"}]}]}


def test_a_list_of_which_only_remarks_are_left_is_empty() -> None:
    text = written(["Above."], {"flows": [Entry({"name": "f", "steps": [Entry(None, ("Gone.",))]}, ("Here.",))]})
    assert text == "# Above.\n\nflows:\n  # Here.\n  - name: f\n    steps: []\n      # Gone.\n"
