"""What is printed for people."""

from __future__ import annotations

import sys
from unittest.mock import Mock

import pytest

from enforcer.cli import output


def test_a_very_long_table_is_laid_out_as_a_short_one_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    rows = [(f"g[{n}]/r", n, "allow tcp 22" if n % 2 else "deny") for n in range(50)]
    for name, value in (("TERM", "dumb"), ("COLUMNS", "200")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(output, "_plain", by_hand := Mock(wraps=output._plain))
    output.table("title", ("rule", "hits", "what it says"), rows)
    by_rich = capsys.readouterr().out
    assert not by_hand.called
    monkeypatch.setattr(output, "MOST_COLOURED", 10)
    output.table("title", ("rule", "hits", "what it says"), iter(rows))
    assert by_hand.called
    assert [line.rstrip() for line in by_rich.splitlines()] == capsys.readouterr().out.splitlines()
