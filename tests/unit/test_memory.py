"""What there is 60,000 times takes little room, and what is free is given back."""

from __future__ import annotations

import gc
import sys

import pytest

from enforcer.agent import memory
from enforcer.model import Rule

INGRESS = {"direction": "ingress", "protocol": "tcp", "multiport": "22"}


def test_objects_of_a_kind_share_the_names_of_their_fields_and_what_is_written():
    one, other = (Rule.model_validate({**INGRESS, "id": name}) for name in ("one", "other"))
    plain = dict(one.__dict__)
    assert sys.getsizeof(one.__dict__) < 0.7 * sys.getsizeof(plain)
    assert one.__dict__ == plain
    assert one.model_fields_set is other.model_fields_set
    assert (one, hash(one)) == (Rule.model_validate({**INGRESS, "id": "one"}), hash(one.model_copy()))


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
    assert told == {-8: 1, -3: 128 << 10, -1: 128 << 10}
