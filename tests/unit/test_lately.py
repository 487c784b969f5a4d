"""A mapping that changes a little is at every moment what a dictionary would be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.agent import lately
from enforcer.agent.lately import Lately

KEYS = st.sampled_from("abcdefgh")
CHANGES = st.lists(st.dictionaries(KEYS, st.one_of(st.none(), st.integers(0, 3)), max_size=4), max_size=12)


def changed(before: dict[str, int], changes: dict[str, int | None]) -> dict[str, int]:
    return {key: value for key, value in {**before, **changes}.items() if value is not None}


@pytest.mark.parametrize("most", [0, 3, 256], ids="the large one made anew after {} changes".format)
@given(st.dictionaries(KEYS, st.integers(0, 3)), CHANGES)
def test_after_changes_it_is_what_a_dictionary_would_be(
    most: int, base: dict[str, int], all_changes: list[dict[str, int | None]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lately, "MOST_LATELY", most)
        found, wanted = Lately(base), dict(base)
        for changes in all_changes:
            before, earlier = found, dict(found)
            found, wanted = found.after(changes), changed(wanted, changes)
            assert dict(before.items()) == earlier, "the earlier one is as it was"
            assert (dict(found.items()), len(found), set(found)) == (wanted, len(wanted), set(wanted))
            assert sorted(found.values()) == sorted(wanted.values())
            for key in "abcdefgh":
                assert (key in found) == (key in wanted)
                assert found.get(key, -1) == wanted.get(key, -1)
            assert found == wanted


def test_what_is_not_there_or_gone_is_no_key() -> None:
    found = Lately({"a": 1}).after({"a": None})
    for key in ("a", "b"):
        with pytest.raises(KeyError):
            found[key]


def test_what_stays_keeps_its_place() -> None:
    assert list(Lately({"b": 1, "a": 2, "c": 3}).after({"a": 4, "d": 5})) == ["b", "a", "c", "d"]
