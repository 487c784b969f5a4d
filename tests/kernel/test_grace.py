"""A packet in flight is waited for, by the kernel's own measure or by a longer one."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from enforcer.dataplane import grace

pytestmark = pytest.mark.kernel


def test_the_kernel_grants_a_grace_period():
    assert grace.period()


def test_where_the_kernel_grants_none_the_wait_is_by_the_clock(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="vax"))
    assert not grace.period()
