"""A forking dict is a dict; its copies do not see each other's changes, and are cheap."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule

from tocsin.triggers import forking
from tocsin.triggers.forking import ForkingDict

keys = st.integers(0, 3_000).map(str)


class Forks(RuleBasedStateMachine):
    """Copies of copies, each changed beside a dict of its own."""

    pairs = Bundle("pairs")

    @rule(target=pairs, size=st.sampled_from([0, 1, 300, 2_500]))
    def begin(self, size: int) -> tuple[ForkingDict[int], dict[str, int]]:
        items = [(str(number), number) for number in range(size)]
        return ForkingDict(items), dict(items)

    @rule(target=pairs, pair=pairs)
    def fork(self, pair: tuple[ForkingDict[int], dict[str, int]]) -> tuple[ForkingDict[int], dict[str, int]]:
        return pair[0].copy(), dict(pair[1])

    @rule(pair=pairs, some=st.dictionaries(keys, st.integers(), max_size=20))
    def put(self, pair: tuple[ForkingDict[int], dict[str, int]], some: dict[str, int]) -> None:
        for one in pair:
            one.update(some)

    @rule(pair=pairs, some=st.sets(keys, max_size=20))
    def drop(self, pair: tuple[ForkingDict[int], dict[str, int]], some: set[str]) -> None:
        for key in some:
            assert pair[0].pop(key, None) == pair[1].pop(key, None)

    @rule(pair=pairs, key=keys)
    def look(self, pair: tuple[ForkingDict[int], dict[str, int]], key: str) -> None:
        forking_dict, plain = pair
        assert (key in forking_dict, forking_dict.get(key), len(forking_dict)) == (
            key in plain,
            plain.get(key),
            len(plain),
        )

    @rule(pair=pairs)
    def compare(self, pair: tuple[ForkingDict[int], dict[str, int]]) -> None:
        assert dict(pair[0]) == pair[1]


TestForks = Forks.TestCase
TestForks.settings = settings(deadline=None, max_examples=60)


@given(st.lists(keys, min_size=1, max_size=5))
def test_a_change_of_a_copy_copies_only_the_parts_that_change(changed: list[str]) -> None:
    original = ForkingDict((str(number), number) for number in range(3_000))
    twin = original.copy()
    for key in changed:
        twin[key] = -1
    shared = sum(one is other for one, other in zip(original._parts, twin._parts, strict=True))
    assert shared >= len(original._parts) - len(changed)
    assert len(original._parts) > 3_000 // forking._FILL
