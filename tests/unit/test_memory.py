"""What there is 60,000 times takes little room, and what is free is given back."""

from __future__ import annotations

import gc
import sys

import pytest

from enforcer.agent import memory
from enforcer.model import Nic, Rule

INGRESS = {"direction": "ingress", "protocol": "tcp", "multiport": "22"}
MEMBER = {"subnet": "s", "addresses": ["10.0.0.7"]}


def test_objects_of_a_kind_share_the_names_of_their_fields_and_what_is_written():
    one, other, *_ = (Nic.model_validate({**MEMBER, "name": f"n-{number}"}) for number in range(40))
    plain = dict(one.__dict__)
    assert sys.getsizeof(one.__dict__) < 0.7 * sys.getsizeof(plain)
    assert one.__dict__ == plain
    assert one.model_fields_set is other.model_fields_set
    assert (one, hash(one)) == (Nic.model_validate({**MEMBER, "name": "n-0"}), hash(one.model_copy()))


def test_rules_have_no_dictionaries_and_are_copied_and_compared_like_the_rest():
    one = Rule.model_validate({**INGRESS, "id": "one"})
    assert not hasattr(one, "__dict__")
    assert (one, hash(one)) == (Rule.model_validate({**INGRESS, "id": "one"}), hash(one.model_copy(update={})))
    later = one.model_copy(update={"priority": 7})
    assert (one.priority, later.priority, later.ports) == (1, 7, one.ports)
    assert later == Rule.model_validate({**INGRESS, "id": "one", "priority": 7})
    with pytest.raises(AttributeError):
        one.priority = 7  # type: ignore[misc]


def test_what_malloc_keeps_is_given_back_once_the_collector_is_kept_away(monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    for trim in (asked.append, None):  # None: a C library that has nothing of the kind
        monkeypatch.setattr(memory, "_trim", trim)
        memory.keep_the_collector_away()
        gc.unfreeze()
    assert asked == [0]


def test_malloc_is_told_to_keep_little_where_it_can_be_told(monkeypatch: pytest.MonkeyPatch):
    told: dict[int, int] = {}
    for option in (told.__setitem__, None):
        monkeypatch.setattr(memory, "_option", option)
        memory.hold_little()
    assert told == {-8: 1, -3: 1 << 20, -1: 1 << 20}
