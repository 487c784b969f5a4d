"""The copy of what is in force: whole or not there, and no older than it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from enforcer.agent.store import StoreFailed
from enforcer.agent.store.copying import Copy, Copying, place, read, write

ONE, TWO = Copy(1, {"ecs/a": "{}"}), Copy(2, {"ecs/a": "{}", "ecs/b": "{}"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return place(tmp_path / "store.db")


def test_what_is_written_is_read_and_nobody_else_reads_it(path: Path):
    write(path, ONE)
    write(path, TWO)
    assert read(path) == TWO
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"revision": 1}', '{"revision": "x", "resources": {}}', "\udcff"])
def test_what_is_not_whole_is_no_copy(path: Path, text: str):
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(StoreFailed, match="no whole copy"):
        read(path)


def test_it_is_written_at_the_beginning_and_at_the_end_and_only_when_it_has_changed(path: Path):
    now, said = [ONE], []
    copying = Copying(path, lambda: now[0], lambda *words: said.append(words))
    copying.copy()
    first = path.stat().st_ino
    copying.copy()
    assert path.stat().st_ino == first
    copying.start()
    now[0] = TWO
    copying.end()
    assert read(path) == TWO
    assert said == []


def test_what_cannot_be_written_is_said_and_the_earlier_copy_stays(path: Path):
    write(path, ONE)
    path.with_name(path.name + ".new").mkdir()
    said: list[tuple[str, str]] = []
    Copying(path, lambda: TWO, lambda *words: said.append(words)).copy()
    assert [what for what, _ in said] == ["copying"]
    assert read(path) == ONE
